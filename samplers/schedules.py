"""Noise schedules of the few-step Wan 2.2 models, as flow sigmas.

rCM (Zheng et al., "Large Scale Diffusion Distillation via Score-Regularized Continuous-Time Consistency", 2025) is
defined on TrigFlow angles t in [0, pi/2]; the reference inference code of NVlabs/rcm and thu-ml/TurboDiffusion (both
Apache-2.0) converts each angle to the flow time that Wan, and ComfyUI, call sigma: sigma = tan t / (1 + tan t). The
numbers below are theirs; the 5 to 8 step lists are ours.
"""

import math

import torch

ANGLES = (1.5, 1.4, 1.0)  # radians, after atan(sigma_max): the reference's "better visual quality" setting
OFFICIAL_STEPS = len(ANGLES) + 1
MAX_STEPS = 2 * OFFICIAL_STEPS
# Gaps of the official list that the 5th, 6th, 7th and 8th step halve: the widest first, measured in the shift-5 time
# that the experts were trained on. The lists are nested, so each step count refines the one before.
HALVED_GAPS = (2, 3, 0, 1)

SIGMA_MAX = 200.0  # the reference's value for image to video
LIGHTNING_SHIFT = 5.0  # what the official 4-step LoRAs were trained with
AUTO = "auto"  # the one that a model was trained with, rcm where its file does not tell
SCHEDULES = ("rcm", "lightning", "shifted", AUTO)


def flow_sigma(tangent: float) -> float:
    """Converts an EDM sigma, the tangent of a TrigFlow angle, to a flow sigma in [0, 1)."""
    return tangent / (1.0 + tangent)


def shift_time(u: float, shift: float) -> float:
    """Moves a uniform flow time u in [0, 1] towards high noise: shift u / (1 + (shift - 1) u)."""
    return shift * u / (1.0 + (shift - 1.0) * u)


def unshift_time(sigma: float, shift: float) -> float:
    """Inverts `shift_time`."""
    return sigma / (shift - (shift - 1.0) * sigma)


def rcm_sigmas(steps: int, sigma_max: float = SIGMA_MAX) -> torch.Tensor:
    """Returns the rCM schedule. Shift plays no part in it.

    Args:
        steps: Model evaluations, 1 to 8. Up to 4 the list is the reference's; above, it is nested into it, unofficial.
        sigma_max: EDM sigma of the first step. Higher values vary less between seeds and may look better.

    Returns:
        Tensor[steps + 1], float32: strictly decreasing from sigma_max / (1 + sigma_max), last exactly 0.

    Raises:
        ValueError: `steps` is out of range, or `sigma_max` would not keep the list decreasing.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(
            f"rCM takes 1 to {MAX_STEPS} steps, got {steps}. "
            "For more, use the shifted schedule with an undistilled model."
        )
    if not math.isfinite(sigma_max) or sigma_max <= 0:
        raise ValueError(f"sigma_max must be a positive number, got {sigma_max}. The reference uses {SIGMA_MAX:.0f}.")
    knots = [flow_sigma(tangent) for tangent in (sigma_max, *map(math.tan, ANGLES[: steps - 1]))] + [0.0]
    halves = [middle(knots[gap], knots[gap + 1]) for gap in HALVED_GAPS[: max(0, steps - OFFICIAL_STEPS)]]
    sigmas = torch.tensor(sorted(knots + halves, reverse=True), dtype=torch.float32)
    falls = (sigmas.diff() < 0).all()  # in the precision that the sampler will see
    if not falls or knots != sorted(knots, reverse=True):
        raise ValueError(
            f"sigma_max must be above {math.tan(ANGLES[0]):.1f} for the noise to fall at each step, "
            f"got {sigma_max:g}. The reference uses {SIGMA_MAX:.0f}."
        )
    return sigmas


def middle(sigma: float, sigma_next: float) -> float:
    """Returns the sigma halfway between two in shift-5 time."""
    u = (unshift_time(sigma, LIGHTNING_SHIFT) + unshift_time(sigma_next, LIGHTNING_SHIFT)) / 2
    return shift_time(u, LIGHTNING_SHIFT)


def shifted_sigmas(steps: int, shift: float) -> torch.Tensor:
    """Returns the flow schedule of the undistilled model: uniform times, shifted.

    Args:
        steps: Model evaluations, at least 1.
        shift: At least 0.01; 1 is uniform, 5 is Wan's own at 720p.

    Returns:
        Tensor[steps + 1], float32: strictly decreasing from 1, last exactly 0.

    Raises:
        ValueError: `steps` or `shift` is out of range.
    """
    if steps < 1:
        raise ValueError(f"A schedule takes at least 1 step, got {steps}.")
    if not math.isfinite(shift) or shift < 0.01:
        raise ValueError(f"shift must be at least 0.01, got {shift}. Wan 2.2 was trained with 5.")
    return torch.tensor([shift_time(1.0 - i / steps, shift) for i in range(steps + 1)], dtype=torch.float32)


def schedule_sigmas(schedule: str, steps: int, sigma_max: float = SIGMA_MAX, shift: float = 5.0) -> torch.Tensor:
    """Returns the sigmas of a schedule by its name.

    Args:
        schedule: "rcm", "lightning" (the shift-5 list of the official 4-step LoRAs), "shifted", or "auto" of a model of
            which nothing is known.
        steps: Model evaluations.
        sigma_max: Read by rcm only.
        shift: Read by shifted only.

    Returns:
        Tensor[steps + 1], float32: strictly decreasing, last exactly 0.

    Raises:
        ValueError: The schedule is unknown, or one of its numbers is out of range.
    """
    if schedule in ("rcm", AUTO):
        return rcm_sigmas(steps, sigma_max)
    if schedule == "lightning":
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(
                f"The lightning schedule takes 1 to {MAX_STEPS} steps, got {steps}. "
                "The LoRAs were distilled for 4; for more steps use the shifted schedule without them."
            )
        return shifted_sigmas(steps, LIGHTNING_SHIFT)
    if schedule == "shifted":
        return shifted_sigmas(steps, shift)
    raise ValueError(f"The schedule must be one of {', '.join(SCHEDULES)}, got '{schedule}'.")
