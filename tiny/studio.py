"""Makes clips of scenes with the tiny models, through the pack's own nodes, many scenes at once.

What is made here is what the shipped graphs make: the loader, the LoRA node, Image to Video Latent and the rCM Sampler
run, and ComfyUI decodes. Only the batches differ: a graph makes one clip.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import folder_paths
import numpy as np
import torch

from ..nodes.loader import Loader
from ..nodes.lora import Lora
from ..nodes.picture import ImageToVideo
from ..nodes.sampling import Sampler
from .files import NAMES
from .latents import Size
from .scenes import FPS, Scene, draw, random_scene

RCM = ("rcm_high", "rcm_low")
BATCH = 8  # clips that are sampled at once


@dataclass(frozen=True)
class Way:
    """How a clip is made: the settings of the sampler, what is loaded, and what somebody does wrong.

    Args:
        steps: As the sampler's, like the next six.
        schedule: Of `samplers.rcm.SCHEDULES`.
        mode: ode or sde.
        cfg: Above 1 the empty caption is the negative prompt.
        sigma_max: Of the schedule rcm.
        shift: Of the schedule shifted.
        boundary: Where the experts change places.
        loras: Keys of `files.NAMES` for high and low, and the strength, one after the other.
        words: Before the caption.
        swapped: Whether the experts stand in each other's slot.
        picture: Whether the model is given the start picture.
    """

    steps: int = 4
    schedule: str = "rcm"
    mode: str = "ode"
    cfg: float = 1.0
    sigma_max: float = 200.0
    shift: float = 5.0
    boundary: float = 0.9
    loras: tuple[tuple[str, str, float], ...] = ((*RCM, 1.0),)
    words: str = ""
    swapped: bool = False
    picture: bool = True


TEACHER = Way(steps=20, schedule="shifted", cfg=3.0, loras=())


class Given(NamedTuple):
    """What the sampler gets of a batch of scenes: two conditionings and an empty latent."""

    positive: list
    negative: list
    latent: dict[str, torch.Tensor]


class Studio:
    """The models of a folder in this process's ComfyUI.

    Args:
        models: A folder as `make tiny` writes it.
        size: Of the clips.
    """

    def __init__(self, models: Path, size: Size) -> None:
        for folder in sorted({name.split("/")[0] for name in NAMES.values()}):
            folder_paths.add_model_folder_path(folder, str(models / folder), is_default=True)
        self.size = size
        names = (Path(NAMES[name]).name for name in ("expert_high", "expert_low", "text", "vae"))
        self.high, self.low, self.clip, self.vae = Loader.execute(*names, "default").args
        self.given: dict[tuple, Given] = {}

    def clips(self, scenes: Iterable[Scene], way: Way, seed: int = 1) -> Iterator[np.ndarray]:
        """Makes a clip of each scene: uint8[F, H, W, 3].

        Args:
            scenes: Their first frames and captions are given to the model.
            way: How.
            seed: Of the first batch; the next one has the next.
        """
        scenes = list(scenes)
        high, low = (self.low, self.high) if way.swapped else (self.high, self.low)
        for lora_high, lora_low, strength in way.loras:
            files = (Path(NAMES[name]).name if name else "none" for name in (lora_high, lora_low))
            high, low, *_ = Lora.execute(high, low, *files, strength, strength, "", "prepend", "a caption").args
        for start in range(0, len(scenes), BATCH):
            positive, negative, latent = self._given(scenes[start : start + BATCH], way.words, way.picture)
            sampled, *_ = Sampler.execute(
                high, low, positive, latent, seed + start // BATCH, way.steps, way.schedule, way.mode, way.cfg,
                way.sigma_max, way.shift, way.boundary, negative if way.cfg != 1 else None,
            ).args  # fmt: skip
            yield from self.decoded(sampled["samples"])

    def decoded(self, latents: torch.Tensor) -> Iterator[np.ndarray]:
        """Decodes latents [B, 16, T, h, w], as ComfyUI's VAE Decode does."""
        for latent in latents:
            yield as_bytes(self.vae.decode(latent[None]))

    def through_vae(self, scene: Scene) -> np.ndarray:
        """Returns what the VAE makes of a scene itself: the most that a model can reach. uint8[F, H, W, 3]."""
        clip = torch.from_numpy(draw(scene, *self.size)).float() / 255
        return next(self.decoded(self.vae.encode(clip)))

    def scenes(self, seeds: Iterable[int], kinds: Iterable[str]) -> list[Scene]:
        """Returns a scene for each seed, of the kinds in turn. No seed below a million was trained on."""
        kinds = list(kinds)
        seconds = (self.size.frames - 1) / FPS
        aspect = self.size.width / self.size.height
        return [random_scene(seed, aspect, seconds, kinds[place % len(kinds)]) for place, seed in enumerate(seeds)]

    def _given(self, scenes: list[Scene], words: str, picture: bool) -> Given:
        key = (*(replace(scene, things=()) for scene in scenes), words, picture)
        if key not in self.given:
            self.given[key] = joined([self._one(scene, words, picture) for scene in scenes])
        return self.given[key]

    def _one(self, scene: Scene, words: str, picture: bool) -> Given:
        positive, negative = (self._encoded(text) for text in (f"{words} {scene.caption}".strip(), ""))
        first = torch.from_numpy(draw(scene, self.size.width, self.size.height, 1)).float() / 255
        made = ImageToVideo.execute(positive, self.vae, first, (self.size.frames - 1) / FPS, negative).args
        given = Given(*made[:3])
        if picture:
            return given
        grey = ImageToVideo.execute(positive, self.vae, torch.full_like(first, 0.5), self.size.frames / FPS, negative)
        return Given(*(without_mask(conds) for conds in grey.args[:2]), given.latent)

    def _encoded(self, text: str) -> list:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))


def without_mask(conds: list) -> list:
    """Returns conditioning in which no frame is said to be known."""
    return [[words, {**more, "concat_mask": torch.ones_like(more["concat_mask"])}] for words, more in conds]


def joined(given: list[Given]) -> Given:
    """Returns many as one batch."""

    def conds(which: str) -> list:
        each = [getattr(one, which)[0] for one in given]
        more: dict[str, Any] = dict(each[0][1])
        more |= {key: torch.cat([one[1][key] for one in each]) for key in ("concat_latent_image", "concat_mask")}
        return [[torch.cat([one[0] for one in each]), more]]

    samples = torch.cat([one.latent["samples"] for one in given])
    return Given(conds("positive"), conds("negative"), {**given[0].latent, "samples": samples})


def as_bytes(frames: torch.Tensor) -> np.ndarray:
    """Returns frames [.., H, W, 3] in 0 to 1 as uint8[F, H, W, 3]."""
    return np.rint(frames.flatten(0, -4).clamp(0, 1).float().numpy() * 255).astype(np.uint8)
