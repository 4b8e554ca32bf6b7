"""The picture's way in: Fit to 720p, and Image to Video Latent."""

import logging
from typing import Any

import torch
from comfy.latent_formats import Wan21
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io, ui
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo, WanImageToVideo

from ..media import motion as motions
from ..media import quality, resize, resolution
from ..media.finite import check_floating, check_pictures
from ..media.vae_encode import skip_settled
from .content import note_pictures
from .door import Node

logger = logging.getLogger(__name__)

LATENT_CHANNELS = 16  # of the Wan 2.1 VAE


class Resolution(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_Resolution",
            display_name="Fit to 720p",
            description="Brings a picture to a size that Wan 2.2 was made for, and says what it changed.",
            search_aliases=["resize", "720p", "480p", "aspect ratio", "resolution"],
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input(
                    "tier",
                    options=list(resolution.TIERS),
                    default="720p",
                    tooltip="The most pixels a frame may have. 240p is a draft to try motion and prompts.",
                ),
                io.Combo.Input(
                    "aspect",
                    options=list(resolution.ASPECTS),
                    default="image",
                    tooltip="image keeps the picture's own shape.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(resolution.FITS),
                    default="crop",
                    tooltip="How the picture fills the size: cut its edges, add black bars, or distort it.",
                ),
            ],
            outputs=[
                io.Image.Output("image"),
                io.Int.Output("width"),
                io.Int.Output("height"),
                io.String.Output("report"),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, tier: str, aspect: str, fit: str) -> io.NodeOutput:
        """Fits pictures, Tensor[F, H, W, 1 | 3 | 4] in [0, 1], as Tensor[F, h, w, 3]."""
        check_not_empty(image)
        check_floating(image, "The image")
        source = resolution.Size.of(image)
        target = resolution.fit_size(*source, tier, aspect)
        frames = image.float().cpu().numpy()
        fitted = resize.resize_frames(frames, target, fit)
        fit_report = resolution.describe_fit(source, target, tier, fit)
        # The first picture of a batch is the one that a clip grows from.
        report = f"{fit_report}\n{quality.describe_quality(frames[0], fitted[0], fit)}"
        return io.NodeOutput(torch.from_numpy(fitted), *target, report, ui=ui.PreviewText(report))


class ImageToVideo(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_ImageToVideo",
            display_name="Image to Video Latent",
            description="Prepares the clip: its length in frames, and the start picture that every frame grows from.",
            search_aliases=["wan image to video", "start image", "first last frame"],
            inputs=[
                io.Conditioning.Input("positive"),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="Needed only when the sampler's cfg is not 1."
                ),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE."),
                io.Image.Input(
                    "start_image", tooltip="The first frame, from Fit to 720p: it sets the size of the clip."
                ),
                io.Image.Input("end_image", optional=True, tooltip="The last frame, if the clip shall arrive at one."),
                seconds_input("At 16 frames a second, to the nearest 4n+1 frames. Wan 2.2 was trained on 5 seconds."),
                motion_input(),
            ],
            outputs=[
                io.Conditioning.Output("positive"),
                io.Conditioning.Output("negative"),
                io.Latent.Output("latent"),
                io.Int.Output("frames"),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive: Any,
        vae: Any,
        start_image: torch.Tensor,
        seconds: float,
        negative: Any = None,
        end_image: torch.Tensor | None = None,
        motion: float = 1.0,
    ) -> io.NodeOutput:
        """Prepares a clip from its start picture, and its end picture if there is one: Tensor[F, H, W, 1 | 3 | 4] each.

        The latent is empty, Tensor[1, 16, T, H / 8, W / 8] with T = (frames - 1) / 4 + 1; the conditioning holds the
        encoded pictures in that shape, and a mask.
        """
        check_vae(vae)
        start_image = one_rgb(start_image, "The start image")
        size = resolution.Size.of(start_image)
        check_sides(*size)
        frames = resolution.frame_count(seconds)
        if end_image is not None:
            end_image = of_size(one_rgb(end_image, "The end image"), size)
        *prepared, latent = prepare(positive, negative, vae, frames, start_image, end_image)
        positive, negative = (with_motion(conds, motion) for conds in prepared)
        note_pictures([*positive, *negative], start_image, end_image)
        return io.NodeOutput(positive, negative or None, latent, frames)


def prepare(
    positive: Any, negative: Any, vae: Any, frames: int, start: torch.Tensor, end: torch.Tensor | None = None
) -> tuple[Any, Any, dict[str, Any]]:
    """Prepares a clip as ComfyUI's own nodes do: both conditionings with the encoded pictures, and the empty latent.

    The negative conditioning is an empty list where there is none.

    Args:
        frames: Of the clip, 4n + 1.
        start: Tensor[F, H, W, 3] in [0, 1], the first frames, which are given; sides are multiples of 16.
        end: Tensor[G, H, W, 3], the last frames, if they are given too.
    """
    size = resolution.Size.of(start)
    place = (positive, negative or [], vae, size.width, size.height, frames, 1)  # 1: one clip
    with skip_settled(vae, frames, throw_exception_if_processing_interrupted) as watch:
        if end is None:
            made = WanImageToVideo.execute(*place, start_image=start)
        else:
            made = WanFirstLastFrameToVideo.execute(*place, start_image=start, end_image=end)
    if watch.skipped:
        logger.info("The VAE had settled on grey: %d of %d frames were not encoded.", watch.skipped, frames)
    return made[0], made[1], made[2]


def seconds_input(tooltip: str) -> io.Input:
    """Returns the input that says how long the frames are that are sampled at once."""
    return io.Float.Input(
        "seconds", default=5.0, min=0.25, max=resolution.MAX_SECONDS, step=0.25, round=0.01, tooltip=tooltip
    )


def motion_input() -> io.Input:
    """Returns the input that says how much livelier a clip shall be than the model makes it."""
    return io.Float.Input(
        "motion",
        default=1.0,
        min=motions.LEAST,
        max=motions.MOST,
        step=0.05,
        round=0.01,
        optional=True,  # so that prompts from before it existed still run
        advanced=True,
        tooltip="PainterI2V's cure for few-step models that move too little: 1 changes nothing, 1.15 is its default. "
        "It costs no time, but may shift colours.",
    )


def with_motion(conds: Any, motion: float) -> Any:
    """Returns conditioning that holds a start picture for a clip that moves more than the model makes it.

    Args:
        conds: As Image to Video Latent makes it: where concat_mask, Tensor[1, 1 | 4, T, h, w], is 1 in the whole frame,
            that frame of concat_latent_image, Tensor[B, 16, T, h, w], holds no picture.
        motion: 1 gives back what came.
    """
    if motion == 1:
        return conds
    return [
        [words, {**more, "concat_latent_image": moved(more["concat_latent_image"], blank_in(more), motion)}]
        for words, more in conds
    ]


def blank_in(more: dict[str, Any]) -> torch.Tensor:
    """Returns which latent frames of a conditioning hold no picture, bool[T]."""
    return (more["concat_mask"] == 1).all(4).all(3).all(1).all(0)


def moved(latent: torch.Tensor, blank: torch.Tensor, motion: float) -> torch.Tensor:
    """Returns a latent whose blank frames ask for more motion; those with a picture stay as they are, bit for bit.

    Args:
        latent: Tensor[B, 16, T, h, w] in the units of the VAE, as ComfyUI keeps latents; a picture comes first.
        blank: bool[T], the frames that hold no picture.
        motion: 1 gives back what came.
    """
    if motion == 1 or not blank.any():
        return latent
    normal = Wan21().process_in(latent)
    changed = latent.clone()
    changed[:, :, blank] = Wan21().process_out(motions.livelier(normal[:, :, :1], normal[:, :, blank], motion))
    return changed


def check_vae(vae: Any) -> None:
    """Refuses a VAE of another latent space, the usual one being Wan 2.2's own, which is for the 5B model."""
    if vae.latent_channels != LATENT_CHANNELS:
        raise ValueError(
            f"Wan 2.2 I2V A14B needs a VAE of {LATENT_CHANNELS} channels, this one has {vae.latent_channels}. "
            "Choose wan_2.1_vae.safetensors."
        )


def check_not_empty(image: torch.Tensor) -> None:
    """Refuses a batch without a picture, as some list and filter nodes make it."""
    if not len(image):
        raise ValueError("A picture is needed, got an empty batch. Check the node that it comes from.")


def one_rgb(image: torch.Tensor, what: str) -> torch.Tensor:
    """Returns the first picture of a batch, since more would be taken for frames that are given, in three channels.

    Raises:
        ValueError: There is none, or it holds whole numbers, or NaN or infinity, which the VAE would spread over the
            whole clip.
    """
    check_not_empty(image)
    image = image[:1]
    check_pictures(image, what)
    if image.shape[3] == 3:
        return image
    return cropped(image, resolution.Size.of(image))


def of_size(image: torch.Tensor, size: resolution.Size) -> torch.Tensor:
    """Crops an end image to the clip's size, and says so in the log, since this node has no report."""
    source = resolution.Size.of(image)
    if source == size:
        return image
    logger.warning("The end image is %s, the clip is %s: cropped to fit. Put Fit to 720p in front of it.", source, size)
    return cropped(image, size)


def cropped(image: torch.Tensor, size: resolution.Size) -> torch.Tensor:
    """Tensor[F, H, W, 1 | 3 | 4] -> float32[F, h, w, 3], cropped to the size's aspect."""
    return torch.from_numpy(resize.resize_frames(image.float().cpu().numpy(), size, "crop"))


def check_sides(width: int, height: int) -> None:
    """Refuses a size that the model cannot cut into patches."""
    if width % resolution.MULTIPLE or height % resolution.MULTIPLE:
        raise ValueError(
            f"The start image's sides must be multiples of {resolution.MULTIPLE}, got {width}x{height}. "
            "Put Fit to 720p in front of this node."
        )
