"""Save MP4: frames are encoded; a video that already is such an MP4 is copied."""

from typing import Any

import comfy.utils
import torch
from comfy_api.latest import io

from ..media.resolution import Size
from .saving import (
    SaveSettings,
    SavingNode,
    even_size,
    next_target,
    notes_on_frames,
    open_writer,
    saving_schema,
    write_frames,
)
from .video_file import file_of, save_file


class SaveMp4(SavingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return saving_schema(
            [
                io.MultiType.Input(
                    "video", types=[io.Image, io.Video], lazy=True, tooltip="Decoded frames, or a video."
                ),
            ],
            [
                io.Boolean.Input(
                    "always_encode",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Off: a video that already fits is copied without loss, whatever the crf says.",
                ),
                io.String.Input(
                    "numbers",
                    optional=True,
                    force_input=True,
                    lazy=True,
                    tooltip="The numbers of Clip Report go into the file, unless its metadata is none.",
                ),
            ],
            node_id="Wan22Turbo_SaveMp4",
            display_name="Save MP4",
            description="Saves frames as an MP4 that plays everywhere, with the colours that they have.",
            search_aliases=["save video", "export video", "video combine", "mp4"],
        )

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
        numbers: str | None = None,
    ) -> io.NodeOutput:
        """Saves frames or a video; what is not named here are `SaveSettings`.

        Args:
            video: ComfyUI's IMAGE, Tensor[F, H, W, C] in [0, 1], or its VIDEO.
            always_encode: Whether a video that fits is encoded, too.
        """
        settings = SaveSettings(fps, filename_prefix, codec, crf, metadata, audio, encoder, numbers)
        remarks = [settings.check(cls.hidden)]
        file = file_of(video)
        if file:
            return save_file(file, settings, always_encode, remarks + settings.notes_on_sound(), cls.hidden)
        frames, settings = frames_of(video, settings)
        remarks += notes_on_video(video) + notes_on_frames(frames) + settings.notes_on_sound()
        size = even_size(Size.of(frames))
        target = next_target(filename_prefix, size)
        clip = target.next_name(".mp4")
        bar = comfy.utils.ProgressBar(len(frames))
        with open_writer(clip, size, settings, settings.sound, cls.hidden) as writer:
            write_frames(writer, frames, bar)
        return target.output(clip, remarks)


def frames_of(video: Any, settings: SaveSettings) -> tuple[torch.Tensor, SaveSettings]:
    """Returns the frames of an IMAGE or a VIDEO, Tensor[F, H, W, C], and the settings with the VIDEO's own rate.

    A connected AUDIO replaces the VIDEO's own sound.
    """
    if isinstance(video, torch.Tensor):
        return video, settings
    parts = video.get_components()
    return parts.images, settings._replace(fps=parts.frame_rate, audio=settings.audio or parts.audio)


def notes_on_video(video: Any) -> list[str]:
    """Returns what a video does not hold of a VIDEO of frames."""
    if isinstance(video, torch.Tensor) or not hasattr(video, "get_bit_depth"):  # ComfyUI before 0.30
        return []
    bits = video.get_bit_depth()
    return [f"{bits} bits per colour became 8."] if bits > 8 else []
