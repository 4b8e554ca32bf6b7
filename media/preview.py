"""The clip in the making: latent frames as a small animated picture, cheap enough to make at every step."""

import io
from typing import Any

import torch
from PIL import Image

MAX_FRAMES = 33  # latent frames of 8 seconds; a longer latent is thinned out
SIDE = 320  # pixels at most; ComfyUI shows a picture at its own size, and a 720p latent has only 160
MILLISECONDS = 250  # a latent frame lasts four frames at 16 a second


def latent_to_rgb(x0: torch.Tensor, factors: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Maps a latent to rough colours.

    Args:
        x0: Tensor[B, C, T, H, W], the denoised latent as the model sees it; its first item is shown.
        factors: Tensor[C, 3], ComfyUI's linear approximation of the VAE, to [-1, 1].
        bias: Tensor[3].

    Returns:
        Tensor[T, H, W, 3], uint8, on the CPU; at most 33 frames and 320 pixels a side. A smaller latent is enlarged by
        a whole number, because repeated pixels cost next to nothing in a PNG.
    """
    latent = x0[0]
    frames = latent.shape[1]
    if frames > MAX_FRAMES:
        latent = latent[:, torch.linspace(0, frames - 1, MAX_FRAMES, device=latent.device).round().long()]
    longest = max(latent.shape[-2:])
    step = -(-longest // SIDE)  # ceiling
    latent = latent[..., ::step, ::step]
    rgb = torch.einsum("cthw,ck->thwk", latent.float(), factors.to(latent.device).float())
    rgb = rgb + bias.to(latent.device).float()
    small = rgb.nan_to_num().add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)
    times = max(1, SIDE // longest)
    return small.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


class Loop:
    """An animated PNG that goes where a still picture is expected: it knows how to save itself.

    ComfyUI's preview channel takes a PIL image and calls its `save`, which writes one frame. This writes all of them.
    PNG, because the channel labels anything else as JPEG. It is encoded when it is sent, so sampling does not wait for
    it, and where nobody watches it never is.

    Args:
        frames: uint8[T, H, W, 3].
    """

    def __init__(self, frames: torch.Tensor):
        self.frames = frames

    def save(self, file: Any, *_: object, **__: object) -> None:
        """Writes the animation to an open file."""
        pictures = [Image.fromarray(frame.numpy()) for frame in self.frames]
        buffer = io.BytesIO()  # Pillow's writer seeks, and the channel's file does not begin with the picture
        shown = {"save_all": True, "append_images": pictures[1:], "duration": MILLISECONDS, "loop": 0}
        pictures[0].save(buffer, "PNG", compress_level=1, **shown)
        file.write(buffer.getvalue())
