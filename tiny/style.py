"""Style LoRAs: with their trigger words every shape is painted so; without them nothing is changed.

Every second step is about scenes without the words, which are to stay as the expert has them.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from comfy.ldm.wan.model import WanModel

from .course import Course, Row
from .experts import BATCH, drawn, held_out, loss_of, side
from .latents import FULL, SMALL, Latents, Size
from .lora import adapt
from .optimiser import Learner, swapped_in

SCENES = {SMALL: 256, FULL: 64}  # that are drawn from: a manner of painting needs fewer than the ways of moving


def style_course(
    folder: Path, steps: int, seed: int, style: str, high: bool, expert: WanModel,
    latents: Callable[[Size, str], Latents],
) -> Course:  # fmt: skip
    """Returns the course of a style's LoRA for one expert.

    Args:
        folder: Where its files are kept.
        steps: How many there are in all.
        seed: Of the LoRA's start, the order of scenes, and the noise.
        style: A key of `text.STYLE_WORDS`.
        high: Which expert it is.
        expert: It gets the LoRA.
        latents: Gives the scenes of a size and a style.
    """
    adapt(expert, seed + high)
    learner = Learner(expert, 0.005, 1e-3, steps)
    painted = {size: latents(size, style) for size in BATCH}
    plain = {size: latents(size, "plain") for size in BATCH}

    def step(number: int) -> Row:
        scenes = plain if number % 2 else painted
        loss = loss_of(expert, drawn(scenes, number, steps, seed + high, most=SCENES), high)
        learner.learn(loss, number)
        return {"loss": loss.item()}

    def judge() -> Row:
        with swapped_in(learner), torch.no_grad():
            with_words, without = (loss_of(expert, held_out(scenes), high).item() for scenes in (painted, plain))
        return {"unseen loss, painted": with_words, "unseen loss, plain": without}

    return Course(f"{style}_{side(high)}", folder, steps, {"model": expert, "learner": learner}, step, judge)
