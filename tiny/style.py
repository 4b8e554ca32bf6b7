"""Style LoRAs: with their trigger words every shape is painted so; without them nothing is changed.

In every step the same scenes, under the same noise, stand twice: painted, with the words, and plain, without. So all
that a step can tell apart is what the words ask for. No caption of a painted scene is left out: without the words
nothing is to be painted.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from comfy.ldm.wan.model import WanModel

from .course import Course, Row
from .experts import DROPPED, drawn, held_out, loss_of, side
from .latents import FULL, SMALL, Latents, Size
from .lora import adapt
from .optimiser import Learner, swapped_in

SCENES = {SMALL: 160, FULL: 64}  # that are drawn from: a manner of painting needs fewer than the ways of moving
BATCH = {SMALL: 4, FULL: 1}  # pairs
# Of Muon, by whether it is the high-noise expert: at .04 the error on unseen plain scenes rose from .24 to .34 for the
# low-noise one and to .47 for the other, which decides less of the paint.
RATES = {True: 0.004, False: 0.015}
RISE = 20  # steps to the full rate


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
    learner = Learner(expert, RATES[high], 1e-3, steps, rise=RISE)
    painted = {size: latents(size, style) for size in BATCH}
    plain = {size: latents(size, "plain") for size in BATCH}

    def step(number: int) -> Row:
        pair = [
            drawn(scenes, number, steps, seed + high, dropped, SCENES, BATCH)
            for scenes, dropped in ((painted, 0.0), (plain, DROPPED))
        ]
        with_words, without = (loss_of(expert, draw, high) for draw in pair)
        learner.learn((with_words + without) / 2, number)
        return {"painted": with_words.item(), "plain": without.item()}

    def judge() -> Row:
        with swapped_in(learner), torch.no_grad():
            with_words, without = (loss_of(expert, held_out(scenes), high).item() for scenes in (painted, plain))
        return {"unseen loss, painted": with_words, "unseen loss, plain": without}

    return Course(f"{style}_{side(high)}", folder, steps, {"model": expert, "learner": learner}, step, judge)
