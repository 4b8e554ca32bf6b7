"""Trains the VAE on windows of scenes, drawn at the size at which they will be seen."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import vae
from .course import Course, Row
from .drawing import Window, draw
from .optimiser import Learner, swapped_in
from .quick import DEVICE, half_precision, lay_out
from .scenes import FPS, Scene, random_scene

ASPECT = 16 / 9
HEIGHTS = (112, 144, 176, 208, 240, 240, 240, 240, 320)  # of the whole pictures
UNSEEN = 1_000_000  # seeds of scenes below it are never trained on
STYLES = ("plain",) * 10 + ("striped", "dotted")
CHANGES = 0.5  # weight of the differences of neighbouring frames, without which all of a latent frame look alike
# Frames, windows in a batch, their size in pixels, and how often: from this step on.
PICTURES, CLIPS, LONG = (1, 24, 64), (9, 4, 64), (17, 2, 64)
PHASES = (
    (0, (PICTURES,)),
    (480, ((5, 6, 64), CLIPS, PICTURES)),
    (1600, (CLIPS, CLIPS, LONG, PICTURES)),
    (3200, ((9, 2, 96), (9, 1, 128), (17, 1, 96), (1, 8, 128), CLIPS)),
)


def course(folder: Path, steps: int, dim: int, seed: int) -> Course:
    """Returns the course of a VAE.

    Args:
        folder: Where its files are kept.
        steps: How many there are in all.
        dim: Channels at full size.
        seed: Of the start and of the scenes.
    """
    model = vae.new_vae(dim, seed).to(DEVICE)
    lay_out(model)
    learner = Learner(model, 0.02, 2e-3, steps, plain=("encoder.conv1", "decoder.head"))

    def step(number: int) -> Row:
        clips = batch(number, seed)
        noise = torch.Generator().manual_seed(seed * 1_000_003 + number)
        with half_precision(clips.device):
            losses = losses_of(model, clips, noise)
        learner.learn(losses["loss"], number)
        return {name: value.item() for name, value in losses.items()}

    def judge() -> Row:
        with swapped_in(learner):
            return judged(model)

    return Course(f"vae{dim}", folder, steps, {"model": model, "learner": learner}, step, judge)


def losses_of(model: vae.WanVAE, clips: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
    """Returns the losses of clips [B, 3, F, H, W] in -1 to 1: `loss` is what is to be made small.

    The others are its parts: `l1`, `l2`, `kl` a value of the latent, and `changes`, L1 of the differences of
    neighbouring frames; the last is 0 for pictures.
    """
    mean, log_variance = vae.encode(model, clips)
    mean, log_variance = mean.float(), log_variance.float().clamp(-12, 6)
    drawn = torch.randn(mean.shape, generator=noise, device=noise.device).to(mean.device)
    seen = vae.decode(model, mean + (0.5 * log_variance).exp() * drawn).float()
    error = seen - clips
    changes = error.diff(dim=2).abs().mean() if clips.shape[2] > 1 else error.new_zeros(())
    l1, l2 = error.abs().mean(), error.square().mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return {"loss": l1 + 2 * l2 + CHANGES * changes + vae.KL * kl, "l1": l1, "l2": l2, "changes": changes, "kl": kl}


def batch(step: int, seed: int) -> Tensor:
    """Returns the clips of a step, [B, 3, F, H, W] in -1 to 1.

    Args:
        step: Its number.
        seed: Of the course.
    """
    random = np.random.default_rng((seed, step, 577))
    kinds = next(kinds for start, kinds in reversed(PHASES) if step >= start)
    frames, count, size = kinds[step % len(kinds)]
    return as_tensor(np.stack([_window(random, frames, size) for _ in range(count)]))


def as_tensor(clips: np.ndarray) -> Tensor:
    """Returns uint8[B, F, H, W, 3] as float32[B, 3, F, H, W] in -1 to 1 on the device, channels last in memory."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).to(DEVICE).float() / 127.5 - 1


def _window(random: np.random.Generator, frames: int, size: int) -> np.ndarray:
    height = int(random.choice(HEIGHTS))
    width = round(height * ASPECT)
    scene = random_scene(int(random.integers(UNSEEN, 2**31)), ASPECT, (frames - 1) / FPS)
    left, top = _place(random, scene, frames, width, height, size)
    style = str(random.choice(STYLES))
    return draw(scene, width, height, frames, style, Window(left, top, size, size))


def _place(
    random: np.random.Generator, scene: Scene, frames: int, width: int, height: int, size: int
) -> tuple[int, int]:
    """Returns where a window lies: mostly about a point of a shape's edge at some time, for grounds are easy."""
    thing = scene.things[random.integers(len(scene.things))]
    centre, radius = scene.seen_at(thing, random.uniform(0, frames / FPS))
    angle, far = random.uniform(0, 2 * np.pi), radius * random.choice([1.0, 1.0, 1.0, 3.0])
    x, y = centre.x + far * np.cos(angle), centre.y + far * np.sin(angle)
    shift = random.uniform(-0.25, 0.25, 2) * size
    left = np.clip(x * height + shift[0] - size / 2, 0, max(0, width - size))
    top = np.clip(y * height + shift[1] - size / 2, 0, max(0, height - size))
    return int(left), int(top)


def judged(model: vae.WanVAE, scenes: int = 6, width: int = 416, height: int = 240, frames: int = 9) -> Row:
    """Returns how well unseen scenes come back at 240p.

    `db` is of all frames, `first db` of the first, `worst db` of the worst scene. Most of a picture is ground, which is
    easy: `moved db` is of those pixels alone that differ from the first frame by a twentieth. `apart` is the share of
    decoded frames that are nearer to their own true frame than to the others of their latent frame, where something
    moves.
    """
    whole, first, moved, apart = [], [], [], []
    for seed in range(scenes):
        scene = random_scene(seed, width / height, (frames - 1) / FPS, "moves" if seed % 2 else None)
        clip = as_tensor(draw(scene, width, height, frames)[None])
        with torch.no_grad(), half_precision(clip.device):
            seen = vae.decode(model, vae.encode(model, clip)[0]).float().clamp(-1, 1)
        error = (seen - clip).square().mean(1) / 4
        whole.append(_decibels(error))
        first.append(_decibels(error[:, 0]))
        differs = (clip - clip[:, :, :1]).abs().amax(1) > 0.1
        if differs.any():
            moved.append(_decibels(error[differs]))
            apart += told_apart(seen[0], clip[0])
    return {
        "db": float(np.mean(whole)), "first db": float(np.mean(first)), "worst db": min(whole),
        "moved db": float(np.mean(moved)), "apart": float(np.mean(apart)),
    }  # fmt: skip


def told_apart(seen: Tensor, true: Tensor) -> list[bool]:
    """Returns for each frame after the first whether its own true frame is the nearest of the four of its latent frame.

    Args:
        seen: What came back, [3, F, H, W].
        true: What was shown.
    """
    own = []
    for start in range(1, true.shape[1], 4):
        for index in range(start, start + 4):
            errors = [(seen[:, index] - true[:, other]).square().mean() for other in range(start, start + 4)]
            own.append(int(torch.stack(errors).argmin()) == index - start)
    return own


def _decibels(errors: Tensor) -> float:
    return float(-10 * torch.log10(errors.mean() + 1e-10))
