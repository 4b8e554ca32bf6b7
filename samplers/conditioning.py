"""Whether conditioning fits the model and the latent, told before anything is loaded.

ComfyUI samples an image-to-video expert without a picture too, resizes a picture of another size, and stops in the
middle of a matrix product where the text encoder or the length is another.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

logger = logging.getLogger(__name__)

CHANNELS = 16  # of the Wan 2.1 VAE
PIXELS = 8  # of a side, per latent pixel
FRAMES = 4  # per latent frame, after the first
ENCODERS = {  # numbers per word -> who gives so many
    768: "CLIP-L", 1024: "CLIP-H", 1280: "CLIP-G", 2048: "the two CLIPs of SDXL", 2304: "Gemma 2", 2560: "Qwen3 4B",
    3584: "Qwen2.5-VL",
}  # fmt: skip
_UMT5 = "Connect CLIP Text Encode to the clip of Load Wan 2.2 I2V, or of Load CLIP with a umT5-XXL file and type wan."

Conds = Sequence[Mapping[str, Any]]


def check_latent(latent: torch.Tensor) -> None:
    """Refuses a latent that is not Wan 2.1's.

    Raises:
        ValueError: It has another number of channels, or no time axis.
    """
    shape = tuple(latent.shape)
    if len(shape) != 5 or shape[1] != CHANNELS:
        maker = {48: ", as the VAE of the 5B model makes", 4: ", as an image model's VAE makes"}
        raise ValueError(
            f"Wan 2.2 I2V takes a video latent [B, {CHANNELS}, T, H, W], got {shape}"
            f"{maker.get(shape[1], '') if len(shape) > 1 else ''}. Connect the latent of Image to Video Latent."
        )


def check_text(name: str, conds: Conds, width: int | None) -> None:
    """Refuses the words of another text encoder.

    Args:
        name: Of the input.
        conds: What it holds, as ComfyUI's guiders keep it.
        width: Numbers per word that the model reads; None where it does not say.

    Raises:
        ValueError: It holds no words, or those of another encoder: of another width, or with a pooled output beside
            them, which umT5 has not.
    """
    if not conds:
        raise ValueError(f"{name} holds no conditioning. Connect it to Image to Video Latent.")
    for cond in conds:
        words = cond.get("cross_attn")
        got = words.shape[-1] if isinstance(words, torch.Tensor) and words.ndim else 0
        if width is not None and got != width:
            maker = f", as {ENCODERS[got]} gives" if got in ENCODERS else ""
            raise ValueError(
                f"{name} must come from the text encoder umT5-XXL, which gives {width} numbers per word; these words "
                f"have {got}{maker}. {_UMT5}"
            )
        pooled = cond.get("pooled_output")
        if width is not None and isinstance(pooled, torch.Tensor) and torch.count_nonzero(pooled):
            raise ValueError(
                f"{name} must come from the text encoder umT5-XXL; these words come with those of CLIP, as they do "
                f"for Flux, SD3 and HunyuanVideo, whose encoders are as wide. {_UMT5}"
            )


def check_picture(name: str, conds: Conds, latent: torch.Tensor) -> None:
    """Refuses conditioning without a start picture, or with one of another length or size than the latent.

    A latent that is not empty is a clip to be worked on again, larger perhaps, and shows what the picture would show.
    Then only what could not run is refused, and the rest is said in the log.

    Args:
        name: Of the input.
        conds: What it holds, as ComfyUI's guiders keep it.
        latent: Tensor[B, 16, T, H/8, W/8].

    Raises:
        ValueError: There is no picture, or it does not fit.
    """
    pictures = [cond.get("concat_latent_image") for cond in conds if "c_concat" not in cond.get("model_conds", {})]
    is_empty = not bool(torch.count_nonzero(latent))
    absent = sum(picture is None for picture in pictures)
    if absent and absent == len(conds) and is_empty:
        raise ValueError(
            f"Wan 2.2 I2V makes a clip of a start picture, and {name} holds none, so the clip would have nothing to do "
            "with your picture. Put Image to Video Latent between CLIP Text Encode and the sampler."
        )
    if absent:
        logger.warning("%s: %d of %d prompts hold no start picture, and ignore it.", name, absent, len(conds))
    for picture in pictures:
        if picture is not None:
            _check_fit(name, picture, latent, is_empty)


def _check_fit(name: str, picture: torch.Tensor, latent: torch.Tensor, is_empty: bool) -> None:
    if picture.ndim != latent.ndim or picture.shape[1] != CHANNELS:
        raise ValueError(
            f"The start picture in {name} must have {CHANNELS} channels and frames, as the Wan 2.1 VAE makes "
            f"them, got the shape {tuple(picture.shape)}. Connect {name} to Image to Video Latent, and that to "
            "wan_2.1_vae.safetensors."
        )
    if picture.shape[2:] == latent.shape[2:]:
        return
    sizes = f"{described(latent)}, and the start picture in {name} was prepared for {described(picture)}"
    if is_empty or picture.shape[2] != latent.shape[2]:
        raise ValueError(
            f"Latent and conditioning must be of one length and size. The latent is {sizes}. Connect both to the same "
            "Image to Video Latent."
        )
    logger.warning("The latent is %s: the picture is resized.", sizes)


def described(latent: torch.Tensor) -> str:
    """Returns length and size of a latent as a person counts them: "17 frames of 416x240"."""
    frames, height, width = latent.shape[2:]
    count = (frames - 1) * FRAMES + 1
    return f"{count} frame{'s' if count > 1 else ''} of {width * PIXELS}x{height * PIXELS}"
