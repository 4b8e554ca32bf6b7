"""Makes clips of scenes with the tiny models, through the pack's own nodes, many scenes at once.

The loader, the LoRA node and the rCM Sampler run as in the shipped graphs. Two things differ, to save hours: a graph
makes one clip and here are batches, and the VAE takes a clip in one piece, as in training. `vae` says why both give the
same; a test holds it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import folder_paths
import numpy as np
import torch
from comfy.latent_formats import Wan21
from comfy.samplers import CFGGuider, sampler_object
from comfy_extras.nodes_custom_sampler import DisableNoise, RandomNoise, SamplerCustomAdvanced, SplitSigmas
from torch import Tensor

from ..attention.session import Settings
from ..media.motion import livelier
from ..nodes.loader import Loader
from ..nodes.lora import Lora
from ..nodes.picture import blank_in, with_motion
from ..nodes.sampling import Sampler, make_guider
from ..nodes.sparse import KEY, SparseAttention, session_of
from ..samplers.schedules import rcm_sigmas
from .drawing import draw
from .files import NAMES, read_vae
from .latents import Size, conditioning, normal_latent, shown
from .quick import DEVICE, quicken
from .scenes import FPS, Scene, random_scene
from .vae_training import as_tensor

RCM = ("rcm_high", "rcm_low")
SETTINGS = ("steps", "schedule", "mode", "cfg", "sigma_max", "shift", "boundary")  # of the sampler
BATCH = 8  # clips that are sampled at once


@dataclass(frozen=True)
class Way:
    """How a clip is made: the settings of the sampler, what is loaded, and what somebody does wrong.

    Args:
        steps: As the sampler's, like the next six.
        schedule: Of `samplers.schedules.SCHEDULES`.
        mode: ode or sde.
        cfg: Above 1 the empty caption is the negative prompt.
        sigma_max: Of the schedule rcm.
        shift: Of the schedule shifted.
        boundary: Where the experts change places.
        loras: Keys of `files.NAMES` for high and low, and the strength, one after the other.
        words: Before the caption.
        swapped: Whether the experts stand in each other's slot.
        picture: Whether the model is given the start picture.
        motion: As that of Image to Video Latent.
        by_channel: Whether it keeps the mean of each channel, and not one mean of all.
        first_cfg: If not 0, the first of the rcm steps runs without LoRAs at this guidance, as docs/motion.md wires it.
        sparse: Of Sparse Attention, training-free; None is dense.
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
    motion: float = 1.0
    by_channel: bool = False
    first_cfg: float = 0.0
    sparse: Settings | None = None


TEACHER = Way(steps=20, schedule="shifted", cfg=3.0, loras=())


class Given(NamedTuple):
    """What the sampler gets of a batch of scenes: two conditionings and an empty latent, [B, 16, T, h, w]."""

    positive: list
    negative: list
    latent: Tensor


class Sampled(NamedTuple):
    """What the sampler makes of a batch: latents [B, 16, T, h, w], and the rows of Sparse Attention's receipt."""

    latents: Tensor
    receipt: list[dict[str, Any]]


class Studio:
    """The models of a folder in this process's ComfyUI.

    Args:
        models: A folder as `make tiny` writes it.
        size: Of the clips.
    """

    @torch.inference_mode()
    def __init__(self, models: Path, size: Size) -> None:
        for folder in sorted({name.split("/")[0] for name in NAMES.values()}):
            folder_paths.add_model_folder_path(folder, str(models / folder), is_default=True)
        self.size = size
        high, low, text, vae = (Path(NAMES[name]).name for name in ("expert_high", "expert_low", "text", "vae"))
        self.high, self.low, self.clip, self.vae = Loader.execute(high, low, text, vae, "default").args
        quicken(self.vae)
        self.fast = read_vae(models)
        self.given: dict[tuple, Given] = {}
        self.patched: dict[tuple, tuple[Any, Any]] = {}

    def experts(self, way: Way) -> tuple[Any, Any]:
        """Returns ComfyUI's MODEL of the high-noise and the low-noise expert, with the LoRAs of a way."""
        if (way.swapped, way.loras) not in self.patched:
            high, low = self._bare(way)
            for lora_high, lora_low, strength in way.loras:
                one, other = (Path(NAMES[name]).name if name else "none" for name in (lora_high, lora_low))
                high, low, *_ = Lora.execute(high, low, one, other, strength, strength, "", "prepend", "a caption").args
            self.patched[way.swapped, way.loras] = high, low
        return self.patched[way.swapped, way.loras]

    def _bare(self, way: Way) -> tuple[Any, Any]:
        return (self.low, self.high) if way.swapped else (self.high, self.low)

    @torch.inference_mode()
    def clips(self, scenes: Iterable[Scene], way: Way, seed: int = 1) -> Iterator[np.ndarray]:
        """Makes a clip of each scene: uint8[F, H, W, 3].

        Args:
            scenes: Their first frames and captions are given to the model.
            way: How.
            seed: Of the first batch; the next one has the next.
        """
        for batch in self.sampled(scenes, way, seed):
            yield from self.decoded(batch.latents)

    @torch.inference_mode()
    def sampled(self, scenes: Iterable[Scene], way: Way, seed: int = 1) -> Iterator[Sampled]:
        """Makes the latents of clips, batch by batch; its arguments are those of `clips`."""
        scenes = list(scenes)
        high, low = self.experts(way)
        if way.sparse:
            high, low = with_sparse_attention(high, low, way.sparse)
        for start in range(0, len(scenes), BATCH):
            positive, negative, latent = self._given(scenes[start : start + BATCH], way.words, way.picture)
            move = with_motion_by_channel if way.by_channel else with_motion
            moving = Given(move(positive, way.motion), move(negative, way.motion), latent)
            first = way.first_cfg and make_guider(*self._bare(way), *moving[:2], way.first_cfg, way.boundary)
            latents = self._sampled(high, low, first, moving, way, seed + start // BATCH)["samples"]
            session = session_of(high)
            yield Sampled(latents, session.rows if session else [])

    def _sampled(self, high: Any, low: Any, first: Any, given: Given, way: Way, seed: int) -> dict[str, Tensor]:
        """Returns the latents of a batch; `first` is the guider of the first step, where that is another one."""
        latent = {"samples": given.latent}
        if first:
            rest = make_guider(high, low, given.positive, None, way.cfg, way.boundary)
            return in_two_runs(first, rest, rcm_sigmas(way.steps, way.sigma_max), seed, latent)
        settings = {name: getattr(way, name) for name in SETTINGS}
        if way.cfg != 1:
            settings["negative"] = given.negative
        return Sampler.execute(high, low, given.positive, latent, seed, **settings)[0]

    def decoded(self, latents: Tensor) -> list[np.ndarray]:
        """Returns the clips of latents [B, 16, T, h, w] as VAE Decode gives them, each uint8[F, H, W, 3]."""
        clips = shown(self.fast, Wan21().process_in(latents.to(DEVICE)))
        return [as_bytes(clip) for clip in clips]

    @torch.inference_mode()
    def through_vae(self, scenes: list[Scene], style: str = "plain") -> list[np.ndarray]:
        """Returns what the VAE makes of scenes themselves, the most that a model can reach; each uint8[F, H, W, 3].

        Args:
            scenes: To be drawn.
            style: Of `drawing.STYLES`.
        """
        clips = (as_tensor(draw(scene, *self.size, style)[None]) for scene in scenes)
        return [as_bytes(shown(self.fast, normal_latent(self.fast, clip))[0]) for clip in clips]

    def scenes(self, seeds: Iterable[int], kinds: Iterable[str]) -> list[Scene]:
        """Returns a scene for each seed, of the kinds in turn. No seed below a million was trained on."""
        kinds = list(kinds)
        seconds = (self.size.frames - 1) / FPS
        aspect = self.size.width / self.size.height
        return [random_scene(seed, aspect, seconds, kinds[place % len(kinds)]) for place, seed in enumerate(seeds)]

    def _given(self, scenes: list[Scene], words: str, picture: bool) -> Given:
        """Returns what CLIP Text Encode and Image to Video Latent make of scenes, as one batch."""
        key = (tuple(scenes), words, picture)  # a seed alone is that of a scene of every kind
        if key not in self.given:
            first = as_tensor(np.stack([draw(scene, self.size.width, self.size.height, 1) for scene in scenes]))[
                :, :, 0
            ]
            known = conditioning(self.fast, first if picture else torch.zeros_like(first), self.size.frames)
            mask = 1 - known[:, :1] if picture else torch.ones_like(known[:, :1])
            more = {"concat_latent_image": Wan21().process_out(known[:, 4:]).cpu(), "concat_mask": mask.cpu()}
            captions = (f"{words} {scene.caption}".strip() for scene in scenes)
            positive, negative = (
                torch.cat([self._encoded(text) for text in texts]) for texts in (captions, [""] * len(scenes))
            )
            self.given[key] = Given(
                [[positive, more]], [[negative, more]], torch.zeros_like(more["concat_latent_image"])
            )
        return self.given[key]

    def _encoded(self, text: str) -> Tensor:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))[0][0]


def with_sparse_attention(high: Any, low: Any, settings: Settings) -> tuple[Any, Any]:
    """Puts Sparse Attention on both experts, training-free, also with settings that the node does not offer."""
    limit = min(1.0, settings.error_limit)  # the node has none above
    offered = settings.density, settings.dense_steps, limit, settings.kernel
    high, low, _ = SparseAttention.execute(high, low, "training-free", *offered).args
    high.get_attachment(KEY).settings = settings
    return high, low


def with_motion_by_channel(conds: list, motion: float) -> list:
    """Returns what `with_motion` does where each channel is taken for a latent of its own, with a mean of its own."""
    changed = []
    for words, more in conds:
        latent, blank = more["concat_latent_image"], blank_in(more)
        alone = Wan21().process_in(latent).flatten(0, 1)[:, None].clone()
        alone[:, :, blank] = livelier(alone[:, :, :1], alone[:, :, blank], motion)
        moved = Wan21().process_out(alone.view_as(latent))
        changed.append([words, {**more, "concat_latent_image": moved}])
    return changed


def in_two_runs(first: CFGGuider, rest: CFGGuider, sigmas: Tensor, seed: int, latent: dict[str, Tensor]) -> Any:
    """Runs the first step with one guider and the others with another one, in ComfyUI's nodes for that."""
    before, after = SplitSigmas.execute(sigmas, 1).args
    euler = sampler_object("euler")
    begun = SamplerCustomAdvanced.execute(RandomNoise.execute(seed)[0], first, euler, before, latent)[0]
    return SamplerCustomAdvanced.execute(DisableNoise.execute()[0], rest, euler, after, begun)[0]


def latents_of(batches: Iterable[Sampled]) -> list[Tensor]:
    """Returns the latents of the films as the experts have them, of unit variance."""
    return [latent for batch in batches for latent in Wan21().process_in(batch.latents.cpu())]


def distance(one: Tensor, other: Tensor) -> float:
    """Returns |one - other| / |other|, without the first latent frame, which is the picture."""
    one, other = one[:, 1:].float(), other[:, 1:].float()
    return float((one - other).norm() / other.norm())


def as_bytes(clip: Tensor) -> np.ndarray:
    """Returns a clip [3, F, H, W] in -1 to 1 as uint8[F, H, W, 3]."""
    return ((clip.permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
