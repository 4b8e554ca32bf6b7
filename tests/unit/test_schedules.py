"""Schedules against the reference's formulas, restated here in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pack.samplers import schedules


def reference_sigmas(steps: int, sigma_max: float) -> list[float]:
    """The reference: angles, then sin t / (cos t + sin t)."""
    angles = [math.atan(sigma_max), *[1.5, 1.4, 1.0][: steps - 1]]
    return [math.sin(t) / (math.cos(t) + math.sin(t)) for t in angles] + [0.0]


@pytest.mark.parametrize("sigma_max", [80.0, 120.0, 200.0, 1600.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_up_to_four_steps_are_the_reference_list(steps, sigma_max):
    assert schedules.rcm_sigmas(steps, sigma_max).tolist() == pytest.approx(
        reference_sigmas(steps, sigma_max), abs=1e-7
    )


def test_published_four_step_table():
    assert schedules.rcm_sigmas(4).tolist() == pytest.approx(
        [0.9950248756, 0.9337810614, 0.8528953948, 0.6089790492, 0.0], abs=1e-7
    )


def test_eight_steps_halve_every_gap_in_shift_5_time():
    sigmas = schedules.rcm_sigmas(8).tolist()
    assert sigmas == pytest.approx(
        [0.995025, 0.967686, 0.933781, 0.897924, 0.852895, 0.759592, 0.608979, 0.402546, 0.0], abs=1e-6
    )
    time = [sigma / (5 - 4 * sigma) for sigma in sigmas]
    assert time[1::2] == pytest.approx([(a + b) / 2 for a, b in zip(time[:-2:2], time[2::2], strict=True)], abs=1e-6)


@given(st.integers(4, 7), st.floats(15, 10000))
def test_each_count_above_four_refines_the_one_before(steps, sigma_max):
    fewer, more = schedules.rcm_sigmas(steps, sigma_max).tolist(), schedules.rcm_sigmas(steps + 1, sigma_max).tolist()
    assert set(fewer) < set(more)


@given(st.integers(1, 8), st.floats(14.2, 1e6))
def test_rcm_falls_strictly_to_zero(steps, sigma_max):
    sigmas = schedules.rcm_sigmas(steps, sigma_max)
    assert sigmas.dtype == torch.float32
    assert len(sigmas) == steps + 1
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == 0


@pytest.mark.parametrize(
    ("steps", "sigma_max", "message"),
    [
        (0, 200.0, "rCM takes 1 to 8 steps, got 0."),
        (99, 200.0, "rCM takes 1 to 8 steps, got 99. For more, use the shifted schedule"),
        (4, 14.0, "sigma_max must be above 14.1 for the noise to fall at each step, got 14."),
        (4, 14.10142, "sigma_max must be above 14.1"),  # above, but the same number in float32
        (1, 0.0, "sigma_max must be a positive number, got 0.0."),
        (4, math.nan, "sigma_max must be a positive number, got nan."),
        (4, math.inf, "sigma_max must be a positive number, got inf."),
    ],
)
def test_refuses_what_the_model_was_not_distilled_for(steps, sigma_max, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        schedules.rcm_sigmas(steps, sigma_max)


def test_one_step_needs_no_list_to_stay_below():
    assert schedules.rcm_sigmas(1, 10.0).tolist() == pytest.approx([10 / 11, 0.0])


def test_lightning_is_the_list_that_the_official_loras_were_trained_on():
    assert schedules.schedule_sigmas("lightning", 4).tolist() == pytest.approx([1.0, 0.9375, 0.8333333, 0.625, 0.0])


def test_of_a_model_of_which_nothing_is_known_auto_is_rcm():
    assert schedules.schedule_sigmas("auto", 4, shift=3).equal(schedules.rcm_sigmas(4))


def test_lightning_reads_neither_sigma_max_nor_shift():
    assert schedules.schedule_sigmas("lightning", 4, sigma_max=80, shift=3).equal(
        schedules.schedule_sigmas("lightning", 4)
    )


def test_rcm_does_not_read_shift():
    assert schedules.schedule_sigmas("rcm", 4, shift=3).equal(schedules.schedule_sigmas("rcm", 4, shift=8))


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0])
@pytest.mark.parametrize("steps", [1, 4, 20, 40])
def test_shifted_is_the_flow_formula(steps, shift):
    expected = [shift * (1 - i / steps) / (1 + (shift - 1) * (1 - i / steps)) for i in range(steps + 1)]
    assert schedules.schedule_sigmas("shifted", steps, shift=shift).tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("schedule", "steps", "shift", "message"),
    [
        ("lightning", 9, 5.0, "The lightning schedule takes 1 to 8 steps, got 9"),
        ("shifted", 0, 5.0, "A schedule takes at least 1 step, got 0"),
        ("shifted", 4, 0.0, "shift must be at least 0.01, got 0.0"),
        ("karras", 4, 5.0, "The schedule must be one of rcm, lightning, shifted, auto, got 'karras'"),
    ],
)
def test_refuses_other_schedules(schedule, steps, shift, message):
    with pytest.raises(ValueError, match=message):
        schedules.schedule_sigmas(schedule, steps, shift=shift)
