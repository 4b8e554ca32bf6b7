"""The two experts: ComfyUI's own class, small, and rectified flow on latents of scenes.

`expert_course` trains one on its part of the noise levels; `sample` is the teacher's way, with guidance.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import comfy.model_management
import comfy.ops
import numpy as np
import torch
from comfy.ldm.wan.model import WanModel
from torch import Tensor, nn

from .course import Course, Row
from .latents import FULL, SMALL, Latents, Sample, Size
from .optimiser import Learner, swapped_in
from .quick import DEVICE, half_precision

DIM, FEED, LAYERS = 128, 256, 6
BOUNDARY = 0.9  # the high-noise expert has the sigmas from here on
SHIFT = 5.0
DROPPED = 0.1  # of the captions
BATCH = {SMALL: 16, FULL: 3}
FULL_FROM = 3 / 4  # of the course: rotary places do not carry over from one size to the other by themselves
SCENES = {SMALL: 4096, FULL: 256}  # that are drawn from; the noise is new each time
HELD_OUT = 32  # the first ones are for judging


def new_expert(seed: int) -> WanModel:
    """Returns an expert at its start: every block passes on what it gets, and the velocity is 0."""
    model = WanModel(
        model_type="t2v", in_dim=36, out_dim=16, dim=DIM, ffn_dim=FEED, num_heads=1, num_layers=LAYERS,
        dtype=torch.float32, operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    random = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        value.data.copy_(_start(name, value, random))
    return model


def _start(name: str, value: Tensor, random: torch.Generator) -> Tensor:
    if name.endswith("modulation"):
        gates = torch.zeros_like(value)
        if value.shape[1] == 6:
            gates[:, (2, 5)] = 1.0  # the gates are open, and what they let pass is zero at first
        return gates
    if "norm" in name and name.endswith("weight"):
        return torch.ones_like(value)
    if value.ndim == 1 or name == "head.head.weight" or name.endswith(("attn.o.weight", "ffn.2.weight")):
        return torch.zeros_like(value)
    if name == "time_projection.1.weight":
        return 0.2 * torch.randn(value.shape, generator=random) / value[0].numel() ** 0.5
    return torch.randn(value.shape, generator=random) / value[0].numel() ** 0.5


@contextmanager
def learning() -> Iterator[None]:
    """Lets experts have gradients: ComfyUI's fused rotary embedding has none unless it is told of the training."""
    before = comfy.model_management.in_training
    comfy.model_management.in_training = True
    try:
        yield
    finally:
        comfy.model_management.in_training = before


def velocity(model: nn.Module, x: Tensor, sigma: Tensor, sample: Sample) -> Tensor:
    """Returns what the expert says of noisy latents: noise less latent.

    All padding of a caption is alike: one token stands for the whole of it, with the same result at half the cost.

    Args:
        model: The expert.
        x: [B, 16, T, h, w].
        sigma: [B], 0 to 1.
        sample: Its conditioning and captions.
    """
    tokens, used = x[0, 0].numel() // 4, int((sample.context != 0).any(-1).any(0).sum())
    few = used + 1 + (used + 1 == tokens)  # cross attention is told from self attention by its length
    bias = x.new_zeros(few)
    bias[used:] = math.log((sample.context.shape[1] - used) / (few - used))

    def attention(_: object, q: Tensor, k: Tensor, v: Tensor, heads: int, **more: Any) -> Tensor:
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        looks = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)  # torch's fused attention learns more slowly on a CPU
        looks = looks + bias.to(q.dtype) if k.shape[2] == few else looks
        return (looks.softmax(-1) @ v).transpose(1, 2).flatten(2)

    return model(
        torch.cat([x, sample.known], 1),
        1000 * sigma,
        sample.context[:, :few],
        transformer_options={"optimized_attention_override": attention},
    )


def sigmas_of(random: Tensor, high: bool) -> Tensor:
    """Returns noise levels of an expert for uniform numbers in 0 to 1: uniform in the times of shift 5."""
    edge = BOUNDARY / (SHIFT - (SHIFT - 1) * BOUNDARY)
    time = edge + (1 - edge) * random if high else edge * random
    return SHIFT * time / (1 + (SHIFT - 1) * time)


def flow_loss(model: WanModel, sample: Sample, noise: Tensor, sigma: Tensor) -> Tensor:
    """Returns the mean square error of the velocity at x = (1 - sigma) latent + sigma noise."""
    s = sigma.view(-1, 1, 1, 1, 1)
    said = velocity(model, (1 - s) * sample.latent + s * noise, sigma, sample)
    return (said.float() - (noise - sample.latent)).square().mean()


class Draw(NamedTuple):
    """What a step is about: scenes, noise like their latents, and numbers from 0 to 1, spread evenly, for sigmas."""

    sample: Sample
    noise: Tensor
    spread: Tensor


def drawn(
    scenes: dict[Size, Latents],
    number: int,
    steps: int,
    seed: int,
    dropped: float = DROPPED,
    most: Mapping[Size, int] | None = None,
    batch: Mapping[Size, int] | None = None,
) -> Draw:
    """Returns what a step of a course is about.

    Args:
        scenes: Of both sizes.
        number: Of the step.
        steps: Of the whole course: in the last quarter two steps of four are at full size.
        seed: Of the course.
        dropped: The share of captions that are left out.
        most: How many scenes of each size are drawn from; `SCENES` if None.
        batch: How many there are in a step; `BATCH` if None.
    """
    size = FULL if number >= FULL_FROM * steps and number % 4 > 1 else SMALL
    random = np.random.default_rng((seed, number))
    count = (batch or BATCH)[size]
    chosen = random.integers(HELD_OUT, (most or SCENES)[size], count)
    sample = scenes[size].batch(chosen.tolist(), (random.random(count) < dropped).tolist())
    return _with_noise(sample, int(random.integers(2**31)))


def held_out(scenes: dict[Size, Latents]) -> Draw:
    """Returns scenes that no step is about, always with the same noise."""
    return _with_noise(scenes[SMALL].batch(list(range(HELD_OUT)), [False] * HELD_OUT), 1)


def _with_noise(sample: Sample, seed: int) -> Draw:
    random = torch.Generator().manual_seed(seed)
    count = len(sample.latent)
    spread = (torch.arange(count) + torch.rand(1, generator=random)) / count
    noise = torch.randn(sample.latent.shape, generator=random)
    return Draw(sample, noise.to(DEVICE), spread.to(DEVICE))


def loss_of(model: WanModel, draw: Draw, high: bool) -> Tensor:
    """Returns the flow loss of an expert in a step."""
    with learning(), half_precision(draw.noise.device):
        return flow_loss(model, draw.sample, draw.noise, sigmas_of(draw.spread, high))


def side(high: bool) -> str:
    """Returns what the files of an expert's courses end in."""
    return "high" if high else "low"


def expert_course(
    folder: Path, steps: int, seed: int, high: bool, latents: Callable[[Size], Latents], start: WanModel | None = None
) -> Course:
    """Returns the course of one expert.

    Args:
        folder: Where its files are kept.
        steps: How many there are in all.
        seed: Of the start, the order of scenes, and the noise.
        high: Which of the two.
        latents: Gives the scenes of a size.
        start: What the expert is at first; one that knows nothing if None.
    """
    model = start or new_expert(seed + high).to(DEVICE)
    plain = ("patch_embedding", "text_embedding", "time_embedding", "time_projection", "head")
    learner = Learner(model, 0.01, 1e-3, steps, plain)
    scenes = {size: latents(size) for size in BATCH}

    def step(number: int) -> Row:
        loss = loss_of(model, drawn(scenes, number, steps, seed + high), high)
        learner.learn(loss, number)
        return {"loss": loss.item()}

    def judge() -> Row:
        with swapped_in(learner), torch.no_grad():
            return {"unseen loss": loss_of(model, held_out(scenes), high).item()}

    return Course(f"expert_{side(high)}", folder, steps, {"model": model, "learner": learner}, step, judge)


def sample(
    experts: tuple[nn.Module, nn.Module], given: Sample, empty: Sample | None, sigmas: Tensor, noise: Tensor,
    guidance: float = 1.0,
) -> Tensor:  # fmt: skip
    """Returns latents, sampled by Euler's method.

    Args:
        experts: High and low.
        given: Conditioning and captions; its latents are not looked at.
        empty: The same with empty captions, for a guidance other than 1.
        sigmas: Falling, the last 0.
        noise: Like the latents.
        guidance: cfg.
    """
    x = noise * sigmas[0]
    for now, after in pairwise(sigmas):
        expert = experts[0] if now >= BOUNDARY else experts[1]
        with torch.no_grad():
            said = velocity(expert, x, now.expand(len(x)), given)
            if empty and guidance != 1:
                bare = velocity(expert, x, now.expand(len(x)), empty)
                said = bare + guidance * (said - bare)
        x = x + (after - now) * said
    return x
