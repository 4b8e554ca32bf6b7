"""Save MP4: frames are encoded; a video that already is such an MP4 is copied."""

import logging
from fractions import Fraction
from io import BytesIO
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import InputImpl, io

from ..media import remux
from ..media.audio import Audio
from ..media.resolution import Size
from .door import Node
from .metadata import notes
from .saving import (
    Settings,
    Target,
    as_audio,
    check_encoder,
    encoder_input,
    even_size,
    next_target,
    open_writer,
    saving_inputs,
    step,
    write_frames,
)

logger = logging.getLogger(__name__)


class SaveMp4(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_SaveMp4",
            display_name="Save MP4",
            category="wan 2.2 turbo",
            description="Saves frames as an MP4 that plays everywhere, with the colours that they have.",
            search_aliases=["save video", "export video", "video combine", "mp4"],
            inputs=[
                io.MultiType.Input("video", types=[io.Image, io.Video], tooltip="Decoded frames, or a video."),
                *saving_inputs(),
                encoder_input(),
                io.Boolean.Input(
                    "always_encode",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Off: a video that already fits is copied without loss, whatever the crf says.",
                ),
            ],
            outputs=[io.Video.Output("video", display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, codec: str | None = None, encoder: str | None = "cpu") -> bool | str:
        # Before a clip is sampled, not after. Naming these takes their checks over from ComfyUI.
        return check_encoder(codec, encoder)

    @classmethod
    def execute(
        cls,
        video: Any,
        fps: float,
        filename_prefix: str,
        codec: str,
        crf: int,
        metadata: str,
        audio: dict[str, Any] | None = None,
        encoder: str = "cpu",
        always_encode: bool = False,
    ) -> io.NodeOutput:
        source = None if always_encode else fitting_file(video, codec, keep_sound=not audio)
        if source is not None:
            return copy(source, filename_prefix, metadata, as_audio(audio), cls.hidden)
        frames, rate, sound = open_video(video, fps, audio)
        size = even_size(frames)
        target = next_target(filename_prefix, size)
        bar = comfy.utils.ProgressBar(len(frames))
        settings = Settings(codec, crf, metadata, encoder)
        with open_writer(target, size, rate, settings, sound, cls.hidden) as writer:
            write_frames(writer, frames, bar)
        return target.output()


def fitting_file(video: Any, codec: str, keep_sound: bool) -> str | BytesIO | None:
    """Returns the file behind a VIDEO if copying it gives what encoding it would, and says in the log why not."""
    if not isinstance(video, InputImpl.VideoFromFile):
        return None
    source = video.get_stream_source()
    reason = "a part of it was chosen" if is_trimmed(video, source) else remux.misfit(source, codec, keep_sound)
    if reason:
        logger.info("The video is encoded again: %s.", reason)
        return None
    logger.info("The video is copied without encoding it again; its quality stays, crf is not used.")
    return source


def is_trimmed(video: Any, source: str | BytesIO) -> bool:
    """Says whether a VIDEO shows less than its file; ComfyUI before 0.26 does not tell."""
    try:
        return video.get_duration() != InputImpl.VideoFromFile(source).get_duration()
    except ValueError:  # the file does not say how long it is
        return True


def copy(source: str | BytesIO, prefix: str, metadata: str, sound: Audio | None, hidden: Any) -> io.NodeOutput:
    """Saves a file under a new name with this graph's metadata, its pictures as they are."""
    video = InputImpl.VideoFromFile(source)
    size, frames = Size(*video.get_dimensions()), remux.frame_count(source)
    target: Target = next_target(prefix, size)
    text = notes(metadata, hidden, {"width": size.width, "height": size.height, "copied": True})
    bar = comfy.utils.ProgressBar(frames)
    remux.copy_mp4(source, target.path, text, sound, on_frame=lambda: step(bar))
    return target.output()


def open_video(
    video: Any, fps: float, audio: dict[str, Any] | None
) -> tuple[torch.Tensor, Fraction | float, Audio | None]:
    """Returns frames, frame rate and sound of an IMAGE or a VIDEO; a connected AUDIO replaces the video's own."""
    if not isinstance(video, torch.Tensor):
        parts = video.get_components()
        video, fps, audio = parts.images, parts.frame_rate, audio or parts.audio
    return video, fps, as_audio(audio)
