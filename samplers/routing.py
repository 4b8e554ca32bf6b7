"""Which expert of Wan 2.2 A14B runs which step: `guider.py` asks here at each evaluation, and changes the experts.

The reference switches by value: a step runs on the high-noise expert while the sigma it starts at is at or above the
boundary, never by counting steps.
"""

from collections.abc import Sequence
from typing import Literal

Expert = Literal["high", "low"]

I2V_BOUNDARY = 0.9  # Wan 2.2's own value for image to video
ROUNDING = 1e-6  # a sigma meant to lie on the boundary misses it by this much in float32


def expert_at(sigma: float, boundary: float = I2V_BOUNDARY) -> Expert:
    """Returns the expert for one model evaluation at flow sigma `sigma`; on the boundary it is the high-noise one."""
    return "high" if sigma >= boundary - ROUNDING else "low"


def experts(sigmas: Sequence[float], boundary: float = I2V_BOUNDARY) -> list[Expert]:
    """Returns the expert of each step, len(sigmas) - 1 of them, by the sigma that the step starts at."""
    return [expert_at(float(sigma), boundary) for sigma in sigmas[:-1]]


def plan(sigmas: Sequence[float], boundary: float = I2V_BOUNDARY) -> str:
    """Returns in one line what will run: `2 high + 2 low | .9950 .9338 | .8529 .6090`."""
    by_expert: dict[Expert, list[float]] = {"high": [], "low": []}
    for sigma, expert in zip(sigmas, experts(sigmas, boundary), strict=False):
        by_expert[expert].append(float(sigma))
    runs = {expert: starts for expert, starts in by_expert.items() if starts}
    counts = " + ".join(f"{len(starts)} {expert}" for expert, starts in runs.items())
    return " | ".join([counts, *(" ".join(map(short, starts)) for starts in runs.values())])


def short(sigma: float) -> str:
    """Writes a sigma to four decimals, without the leading zero."""
    return f"{sigma:.4f}".removeprefix("0")
