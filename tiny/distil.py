"""The few-step LoRA pair: the guided teacher's trajectories, each point of which is to lead to the same end.

Consistency in small steps: from a noisy latent the teacher, with guidance, goes a little down; what the student says of
the end from there is what it is to say from here. The low-noise LoRA learns first. The high-noise expert has no
zero noise to hold on to: its last step leads below the boundary, where the low-noise student knows the end.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from comfy.ldm.wan.model import WanModel
from torch import Tensor, nn

from .course import Course, Row
from .experts import BATCH, BOUNDARY, SHIFT, Draw, drawn, held_out, learning, side, sigmas_of, velocity
from .latents import Latents, Sample, Size, padded
from .lora import adapt
from .optimiser import Learner, swapped_in
from .quick import half_precision

GUIDANCE = 3.0
STEPS = (8, 64)  # in the whole of shift-5 time, how many steps the teacher would take: at first, at last


def lower(sigma: Tensor, share: float) -> Tensor:
    """Returns where the teacher's step from each noise level ends, for how much of the course is done, 0 to 1."""
    time = sigma / (SHIFT - (SHIFT - 1) * sigma)
    count = STEPS[0] * (STEPS[1] / STEPS[0]) ** share
    time = (time - 1 / count).clamp(min=0)
    return SHIFT * time / (1 + (SHIFT - 1) * time)


def guided(teacher: nn.Module, x: Tensor, sigma: Tensor, given: Sample, empty: Tensor) -> Tensor:
    """Returns the teacher's velocity with guidance; `empty` is the context of no caption, like the captions'."""
    said = velocity(teacher, x, sigma, given)
    bare = velocity(teacher, x, sigma, given._replace(context=empty))
    return bare + GUIDANCE * (said - bare)


def end_of(student: nn.Module, x: Tensor, sigma: Tensor, given: Sample) -> Tensor:
    """Returns the latent to which the student says that a noisy one leads."""
    return x - sigma.view(-1, 1, 1, 1, 1) * velocity(student, x, sigma, given)


def consistency_loss(student: nn.Module, x: Tensor, sigma: Tensor, given: Sample, end: Tensor) -> Tensor:
    """Returns the mean square error of the velocity that leads to `end`."""
    wanted = (x - end) / sigma.view(-1, 1, 1, 1, 1)
    return (velocity(student, x, sigma, given) - wanted.detach()).square().mean()


def student_course(
    folder: Path,
    steps: int,
    seed: int,
    teacher: WanModel,
    student: WanModel,
    low: WanModel | None,
    latents: Callable[[Size], Latents],
) -> Course:
    """Returns the course of one of the pair.

    Args:
        folder: Where its files are kept.
        steps: How many there are in all.
        seed: Of the LoRA's start, the order of scenes, and the noise.
        teacher: The expert.
        student: The same expert again, which gets the LoRA.
        low: The low-noise student, for the high-noise one; None for the low-noise one itself.
        latents: Gives the scenes of a size.
    """
    high = low is not None
    adapt(student, seed + high)
    learner = Learner(student, 0.005, 1e-3, steps)
    scenes = {size: latents(size) for size in BATCH}

    def loss_of(draw: Draw, share: float) -> Tensor:
        sigma = sigmas_of(draw.spread, high).clamp(1e-3)
        s = sigma.view(-1, 1, 1, 1, 1)
        x = (1 - s) * draw.sample.latent + s * draw.noise
        empty = padded(next(iter(scenes.values())).empty()).expand_as(draw.sample.context)
        with learning(), half_precision(x.device):
            end = wanted_end(teacher, student, low, x, sigma, draw.sample, empty, share)
            return consistency_loss(student, x, sigma, draw.sample, end)

    def step(number: int) -> Row:
        loss = loss_of(drawn(scenes, number, steps, seed + high, dropped=0), number / steps)
        learner.learn(loss, number)
        return {"loss": loss.item()}

    def judge() -> Row:
        with swapped_in(learner), torch.no_grad():
            return {"unseen loss": loss_of(held_out(scenes), 1.0).item()}

    return Course(f"rcm_{side(high)}", folder, steps, {"model": student, "learner": learner}, step, judge)


@torch.no_grad()
def wanted_end(
    teacher: nn.Module,
    student: nn.Module,
    low: nn.Module | None,
    x: Tensor,
    sigma: Tensor,
    given: Sample,
    empty: Tensor,
    share: float,
) -> Tensor:
    """Returns where the teacher's small step and the student's great one from there lead, from x at sigma.

    At no noise that is the point itself; below the boundary, what `low` says, if it is given.
    """
    after = lower(sigma, share)
    x = x + (after - sigma).view(-1, 1, 1, 1, 1) * guided(teacher, x, sigma, given, empty)
    end = end_of(student, x, after, given)
    if low is not None:
        beyond = (after < BOUNDARY).view(-1, 1, 1, 1, 1)
        end = torch.where(beyond, end_of(low, x, after, given), end)
    return end
