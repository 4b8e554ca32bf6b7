"""Save MP4: frames are encoded; a video that already is such an MP4 is copied."""

from fractions import Fraction
from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io

from ..media.codecs import check_available
from .door import Node
from .saving import (
    Settings,
    as_audio,
    check_settings,
    encoder_input,
    even_size,
    next_target,
    notes_on_audio,
    notes_on_frames,
    open_writer,
    refused,
    saving_inputs,
    size_of,
    unevaluated,
    write_frames,
)
from .video_file import file_of, save_file


class SaveMp4(Node):
    OWN_BOUNDS = frozenset({"crf", "fps"})

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_SaveMp4",
            display_name="Save MP4",
            category="wan 2.2 turbo",
            description="Saves frames as an MP4 that plays everywhere, with the colours that they have.",
            search_aliases=["save video", "export video", "video combine", "mp4"],
            inputs=[
                io.MultiType.Input(
                    "video", types=[io.Image, io.Video], lazy=True, tooltip="Decoded frames, or a video."
                ),
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
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, codec: str | None = None, encoder: str | None = "cpu", filename_prefix: str | None = None
    ) -> bool | str:
        # Before a clip is sampled, not after. Naming these takes their checks over from ComfyUI.
        return refused(filename_prefix, codec, encoder)

    @classmethod
    def check_lazy_status(
        cls,
        fps: float,
        filename_prefix: str,
        codec: str,
        crf: int,
        metadata: str,
        video: Any = None,
        audio: dict[str, Any] | None = None,
        encoder: str = "cpu",
        **_: Any,
    ) -> list[str]:
        # Linked settings have their values by now, and no model has been loaded for this node.
        if video is None:
            check_settings(filename_prefix, fps, Settings(codec, crf, metadata, encoder), audio, cls.hidden)
            check_available(codec, encoder)
        return unevaluated(cls.hidden.unique_id, video=video)

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
        settings = Settings(codec, crf, metadata, encoder)
        remarks = [check_settings(filename_prefix, fps, settings, audio, cls.hidden)]
        file = file_of(video)
        if file:
            remarks += notes_on_audio(audio)
            return save_file(file, filename_prefix, settings, as_audio(audio), always_encode, remarks, cls.hidden)
        frames, rate, audio = open_video(video, fps, audio)
        remarks += notes_on_video(video) + notes_on_frames(frames) + notes_on_audio(audio)
        size = even_size(size_of(frames))
        target = next_target(filename_prefix, size)
        clip = target.next_name(".mp4")
        bar = comfy.utils.ProgressBar(len(frames))
        with open_writer(clip, size, rate, settings, as_audio(audio), cls.hidden) as writer:
            write_frames(writer, frames, bar)
        return target.output(clip, remarks)


def open_video(
    video: Any, fps: float, audio: dict[str, Any] | None
) -> tuple[torch.Tensor, Fraction | float, dict[str, Any] | None]:
    """Returns frames, frame rate and sound of an IMAGE or a VIDEO; a connected AUDIO replaces the video's own."""
    if not isinstance(video, torch.Tensor):
        parts = video.get_components()
        video, fps, audio = parts.images, parts.frame_rate, audio or parts.audio
    return video, fps, audio


def notes_on_video(video: Any) -> list[str]:
    """Says what a video does not hold of a VIDEO of frames."""
    if isinstance(video, torch.Tensor) or not hasattr(video, "get_bit_depth"):  # ComfyUI before 0.30
        return []
    bits = video.get_bit_depth()
    return [f"{bits} bits per colour became 8."] if bits > 8 else []
