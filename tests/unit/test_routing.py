"""Routing against the rule: an evaluation runs on the high-noise expert while its sigma is at or above the boundary."""

from fractions import Fraction

import pytest
from pack.samplers import routing, schedules


@pytest.mark.parametrize(("steps", "trace"), [(1, "H"), (2, "HH"), (3, "HHL"), (4, "HHLL"), (8, "HHHLLLLL")])
def test_rcm_experts(steps, trace):
    assert letters(schedules.rcm_sigmas(steps)) == trace


@pytest.mark.parametrize("shift", [3, 5, 8])
@pytest.mark.parametrize("steps", range(1, 31))
def test_shifted_experts_follow_the_rule_in_exact_arithmetic(steps, shift):
    times = [Fraction(steps - i, steps) for i in range(steps)]
    sigmas = [shift * u / (1 + (shift - 1) * u) for u in times]
    expected = "".join("H" if sigma >= Fraction(9, 10) else "L" for sigma in sigmas)
    assert letters(schedules.shifted_sigmas(steps, shift)) == expected


def test_a_sigma_on_the_boundary_is_high():
    # shift 3 puts the time 3/4 exactly on 0.9, which float32 rounds down
    assert letters(schedules.shifted_sigmas(4, 3.0)) == "HHLL"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (4, "2 high + 2 low | .9950 .9338 | .8529 .6090"),
        (3, "2 high + 1 low | .9950 .9338 | .8529"),
        (1, "1 high | .9950"),
    ],
)
def test_plan_names_every_step(steps, expected):
    assert routing.plan(schedules.rcm_sigmas(steps).tolist()) == expected


def test_plan_of_a_run_on_the_low_expert_alone():
    assert routing.plan([1.0, 0.5, 0.0], boundary=1.1) == "2 low | 1.0000 .5000"


def letters(sigmas) -> str:
    return "".join(expert[0].upper() for expert in routing.experts(sigmas.tolist()))
