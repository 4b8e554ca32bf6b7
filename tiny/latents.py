"""Scenes as the experts see them: latents, the conditioning that `WanImageToVideo` makes of the first frame, captions.

They are made once and kept in files of a few scenes, so that a course that goes on does not make them again.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import torch
from comfy.latent_formats import Wan21
from comfy.ldm.wan.vae import WanVAE
from comfy.sd import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor

from .drawing import draw
from .quick import DEVICE, half_precision
from .scenes import FPS, random_scene
from .text import STYLE_WORDS, context_of
from .vae import decode, encode
from .vae_training import UNSEEN, as_tensor

SHARD = 32  # scenes in a file
TOKENS = 40  # of the longest caption, and more


class Size(NamedTuple):
    """Of a clip: width and height in pixels, frames."""

    width: int
    height: int
    frames: int


SMALL, FULL = Size(208, 112, 17), Size(416, 240, 17)


class Sample(NamedTuple):
    """A batch: latents and conditioning [B, 16 and 20, T, H / 8, W / 8], features of the captions [B, 512, 4096]."""

    latent: Tensor
    known: Tensor
    context: Tensor


def normal_latent(vae: WanVAE, clips: Tensor) -> Tensor:
    """Returns the latents of clips [B, 3, F, H, W] in -1 to 1 as the experts take them: of unit variance."""
    with torch.no_grad(), half_precision(clips.device):
        return Wan21().process_in(encode(vae, clips)[0].float())


def shown(vae: WanVAE, latent: Tensor) -> Tensor:
    """Returns the clips of such latents, [B, 3, F, H, W] in -1 to 1."""
    with torch.no_grad(), half_precision(latent.device):
        return decode(vae, Wan21().process_out(latent)).float().clamp(-1, 1)


def conditioning(vae: WanVAE, pictures: Tensor, frames: int) -> Tensor:
    """Returns channels 16 to 35 of the experts' input: what is known (4 of mask), and the picture followed by grey.

    Args:
        vae: Of the file, with Wan's statistics.
        pictures: [B, 3, H, W] in -1 to 1.
        frames: Of the clip.
    """
    clips = torch.zeros(*pictures.shape[:2], frames, *pictures.shape[2:], device=pictures.device)
    clips[:, :, 0] = pictures
    latent = normal_latent(vae, clips)
    mask = torch.zeros_like(latent[:, :4])
    mask[:, :, 0] = 1
    return torch.cat([mask, latent], 1)


def padded(context: Tensor) -> Tensor:
    """Returns features of tokens [B, n, 4096] with zeros up to the 512 that the experts get."""
    return torch.nn.functional.pad(context, (0, 0, 0, 512 - context.shape[1]))


class Latents:
    """Scenes of one size, without end.

    Args:
        folder: Where they are kept, in a folder of its own for each VAE and manner of drawing.
        vae: Of the file.
        text: Of the file.
        size: Of the clips.
        style: A key of `drawing.STYLES`. The first frame that is given is plain in any case,
            and the style's words stand before the caption.
    """

    def __init__(self, folder: Path, vae: WanVAE, text: CLIP, size: Size, style: str = "plain") -> None:
        self.vae, self.text, self.size, self.style = vae, text, size, style
        self.folder = folder / "x".join(map(str, size)) / style / _fingerprint(vae, style)
        self.kept: dict[int, dict[str, Tensor]] = {}

    def batch(self, indices: list[int], without: list[bool]) -> Sample:
        """Returns scenes by number; where `without` is true, with an empty caption."""
        found = [self._one(index) for index in indices]
        empty = self._shard(indices[0] // SHARD)["empty"]  # every file has it
        contexts = [empty if bare else one["context"] for one, bare in zip(found, without, strict=True)]
        return Sample(
            torch.stack([one["latent"] for one in found]).to(DEVICE).float(),
            torch.stack([one["known"] for one in found]).to(DEVICE).float(),
            padded(torch.stack(contexts).to(DEVICE).float()),
        )

    def empty(self) -> Tensor:
        """Returns the context of no caption, [1, tokens, 4096]."""
        return self._shard(0)["empty"].to(DEVICE).float()[None]

    def _one(self, index: int) -> dict[str, Tensor]:
        shard, place = self._shard(index // SHARD), index % SHARD
        return {name: shard[name][place] for name in ("latent", "known", "context")}

    def _shard(self, number: int) -> dict[str, Tensor]:
        path = self.folder / f"{number:05}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            save_file(self._made(number), beside)
            os.replace(beside, path)
        if number not in self.kept:
            self.kept[number] = load_file(path)
        return self.kept[number]

    def _made(self, number: int) -> dict[str, Tensor]:
        width, height, frames = self.size
        latents, known, contexts = [], [], []
        for seed in range(UNSEEN + number * SHARD, UNSEEN + (number + 1) * SHARD):
            scene = random_scene(seed, width / height, (frames - 1) / FPS)
            clip = as_tensor(draw(scene, width, height, frames, self.style)[None])
            picture = as_tensor(draw(scene, width, height, 1)[None])[:, :, 0]
            latents.append(normal_latent(self.vae, clip)[0])
            known.append(conditioning(self.vae, picture, frames)[0])
            contexts.append(self._context(f"{STYLE_WORDS.get(self.style, '')} {scene.caption}".strip()))
        parts = {"latent": latents, "known": known, "context": contexts}
        shard = {name: torch.stack(values).to(torch.bfloat16) for name, values in parts.items()}
        return {**shard, "empty": self._context("").to(torch.bfloat16)}

    def _context(self, caption: str) -> Tensor:
        context = context_of(self.text, caption)
        return torch.nn.functional.pad(context, (0, 0, 0, TOKENS - len(context)))


def _fingerprint(vae: WanVAE, style: str) -> str:
    """Returns a name for what is drawn and who encodes it, so that neither can change behind kept files."""
    digest = hashlib.sha256(draw(random_scene(UNSEEN), 64, 36, 2, style).tobytes())
    for name, value in sorted(vae.state_dict().items()):
        digest.update(name.encode() + value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
