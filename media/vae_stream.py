"""Latents decoded piece by piece through ComfyUI's own VAE, so that nobody has to hold all frames.

ComfyUI's Wan VAEs already decode a few frames at a time, and join them at the end. A hook on the decoder's last layer
takes each piece on its way there, and passes on its top left pixel in its place: what ComfyUI joins, moves and
converts is then a strip of single pixels. Nothing of ComfyUI is replaced or repeated but the conversion of a piece to
colours, and the strip proves that: it must come out as those very pixels of the frames that went to the caller.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
import torch

from .finite import NotFiniteError, name_of
from .resolution import FRAME_STEP

logger = logging.getLogger(__name__)

Frames = Callable[[torch.Tensor], object]

# ComfyUI's decoders that work in pieces, and what each does to the joined pieces before it returns them.
LAST_STEPS: dict[type, Callable[[torch.Tensor], torch.Tensor]] = {
    comfy.ldm.wan.vae.WanVAE: lambda pieces: pieces,
    comfy.ldm.wan.vae2_2.WanVAE: lambda pieces: comfy.ldm.wan.vae2_2.unpatchify(pieces, patch_size=2),
}


def decode(vae: Any, latent: torch.Tensor, on_frames: Frames, on_restart: Callable[[], object]) -> None:
    """Decodes a latent to the frames that `vae.decode` gives, and hands them over as they appear.

    The items of a batch are decoded one after another. Where ComfyUI runs out of memory it decodes once more in tiles,
    by itself; those frames, and all of a VAE that does not work in pieces, come at once.

    Args:
        vae: ComfyUI's VAE object.
        latent: Tensor[B, C, T, H, W], or [B, C, H, W] of an image model.
        on_frames: Called with Tensor[F, H, W, C] in [0, 1], the next frames. What it raises ends the decoding.
        on_restart: Called when the frames so far are void, because decoding begins again from the first.

    Raises:
        NotFiniteError: A piece holds infinity, which ComfyUI would make black or white.
    """
    if not can_stream(vae, latent):
        logger.warning(
            "This VAE (%s) decodes all frames at once; they are held in memory until the clip is written.",
            type(getattr(vae, "first_stage_model", vae)).__name__,
        )
        _hand_over(vae.decode(latent), on_frames)
        return
    stream = _Stream(vae, on_frames)
    items = latent.split(1)
    for number, item in enumerate(items):
        at_once = stream.decode(item)
        if at_once is not None:
            on_restart()
            for other, again in enumerate(items):
                _hand_over(at_once if other == number else vae.decode(again), on_frames)
            return


def can_stream(vae: Any, latent: torch.Tensor) -> bool:
    """Returns whether a VAE is one of those whose pieces can be taken out."""
    return latent.ndim == 5 and type(getattr(vae, "first_stage_model", None)) in LAST_STEPS


def check_latent(latent: torch.Tensor) -> None:
    """Refuses a latent, Tensor[B, C, T, H, W] or [B, C, H, W], that holds NaN or infinity, and says where."""
    if torch.isfinite(latent).all():
        return
    frames = latent.movedim(2, 1).flatten(0, 1) if latent.ndim == 5 else latent
    number, value = _first(frames, lambda frame: ~torch.isfinite(frame))
    place = f"frame {number} of {len(frames)}"
    raise NotFiniteError(
        f"The latent holds {value}, first in its {place}, so it was there before decoding. Sample again with "
        "weights in a higher precision (weight_dtype), and look at LoRAs and patches on the way.",
        value,
        place,
    )


def _first(frames: Iterable[torch.Tensor], flaws: Callable[[torch.Tensor], torch.Tensor]) -> tuple[int, str]:
    """Returns which frame is the first, from 1, that has a flaw, and the name of its first value that is one."""
    found = ((number, frame[flaws(frame)]) for number, frame in enumerate(frames, 1))
    return next((number, name_of(values[0].item())) for number, values in found if len(values))


def frame_count(latent: torch.Tensor) -> int:
    """Returns how many frames a Wan VAE makes of a latent: 1 of the first latent frame, 4 of each further one."""
    times = latent.shape[2] if latent.ndim == 5 else 1
    return latent.shape[0] * (1 + FRAME_STEP * (times - 1))


def _hand_over(images: torch.Tensor, on_frames: Frames) -> None:
    on_frames(images.reshape(-1, *images.shape[-3:]))  # as ComfyUI's VAE Decode joins a batch


class _Stream:
    """Taps one VAE while it decodes.

    Args:
        vae: ComfyUI's VAE object, of a class in `LAST_STEPS`.
        on_frames: Called with Tensor[F, H, W, C] in [0, 1].
    """

    def __init__(self, vae: Any, on_frames: Frames) -> None:
        self.vae = vae
        self.model = vae.first_stage_model
        self.on_frames = on_frames
        self.decodes = self.frames = 0
        self.shape = torch.Size()
        self.corners: list[torch.Tensor] = []

    def decode(self, item: torch.Tensor) -> torch.Tensor | None:
        """Decodes Tensor[1, C, T, H, W] and hands its frames over.

        Returns:
            None, or all frames, Tensor[1, F, H, W, C], if they came at once after all; those handed over are void.
        """
        self.decodes, self.shape, self.corners = 0, item.shape, []
        with ExitStack() as hooks:
            hooks.callback(self.model.conv2.register_forward_pre_hook(self._begin).remove)
            hooks.callback(self.model.decoder.head[-1].register_forward_hook(self._take).remove)
            decoded = self.vae.decode(item)
        if self.decodes != 1 or not self.corners:
            logger.warning("The frames were decoded at once, not piece by piece; they are held in memory.")
            return decoded
        if torch.equal(decoded[0].nan_to_num(), torch.cat(self.corners).nan_to_num()):
            return None
        logger.warning("This ComfyUI joins the pieces of this VAE in an unknown way; they are decoded again at once.")
        return self.vae.decode(item)

    def _begin(self, _module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        """Notes that the model begins to decode: once, or for each tile if memory ran out, before that or within."""
        self.decodes += 1 if inputs[0].shape == self.shape else 2

    def _take(self, _module: Any, _inputs: Any, piece: torch.Tensor) -> torch.Tensor | None:
        """Takes Tensor[1, C, f, H, W] out of the model, and puts its top left pixel in its place."""
        if self.decodes != 1:
            return None
        self._check(piece)
        corner = piece[..., :1, :1].clone()
        self.corners.append(self._to_frames(corner))
        self.on_frames(self._to_frames(piece))
        self.frames += piece.shape[2]
        return corner

    def _check(self, piece: torch.Tensor) -> None:
        """Looks for infinity before ComfyUI makes black or white of it; NaN stays NaN, and the writer finds it."""
        if not torch.isinf(piece).any():
            return
        number, value = _first(piece.unbind(2), torch.isinf)
        place = f"frame {self.frames + number}"
        raise NotFiniteError(f"The VAE made {value} in {place}.", value, place)

    def _to_frames(self, piece: torch.Tensor) -> torch.Tensor:
        """Converts as `VAE.decode` does after the model: Tensor[1, C, f, H, W] -> Tensor[f, H', W', C']."""
        dtype = self.vae.vae_output_dtype() if hasattr(self.vae, "vae_output_dtype") else torch.float32
        pixels = LAST_STEPS[type(self.model)](piece).to(self.vae.output_device, dtype, copy=True)
        return self.vae.process_output(pixels)[0].movedim(0, -1)
