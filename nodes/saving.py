"""What Save MP4 and Decode to MP4 share: their settings, the next free name, frames into a writer."""

import logging
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import comfy.model_management
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import InputImpl, io, ui

from ..media import codecs, resolution
from ..media.audio import Audio
from ..media.mp4 import FPS_RANGE, Mp4Writer, frame_rate
from ..media.resolution import Size
from .metadata import level_input, notes

logger = logging.getLogger(__name__)


class Settings(NamedTuple):
    """The widgets that say how a clip is encoded."""

    codec: str
    crf: int
    metadata: str
    encoder: str


class Target(NamedTuple):
    """Where the next clip goes: on the disk, and below ComfyUI's output folder."""

    path: Path
    subfolder: str

    def sibling(self, ending: str) -> str:
        """Names a file beside the clip as people see it: below the output folder."""
        return (Path(self.subfolder) / self.path.with_suffix(ending).name).as_posix()

    def output(self) -> io.NodeOutput:
        """Returns the finished clip as ComfyUI's own node does."""
        saved = ui.SavedResult(self.path.name, self.subfolder, io.FolderType.output)
        return io.NodeOutput(InputImpl.VideoFromFile(str(self.path)), ui=ui.PreviewVideo([saved]))


def saving_inputs() -> list[io.Input]:
    """The inputs from the sound to the metadata."""
    return [
        io.Audio.Input("audio", optional=True, tooltip="Cut to the length of the clip."),
        io.Float.Input(
            "fps",
            default=float(resolution.FPS),
            min=float(FPS_RANGE[0]),
            max=float(FPS_RANGE[1]),
            step=1.0,
            round=0.001,
            tooltip="Wan 2.2 A14B makes 16 frames a second. A video keeps its own rate.",
        ),
        io.String.Input("filename_prefix", default="video/wan22-turbo", tooltip="Below ComfyUI's output folder."),
        io.Combo.Input(
            "codec",
            options=list(codecs.CODECS),
            default="h264",
            tooltip="h264 plays everywhere. h265 and av1 are smaller; older players refuse them.",
        ),
        io.Int.Input(
            "crf",
            default=18,
            min=max(codec.crf[0] for codec in codecs.CODECS.values()),  # what all of them take
            max=min(codec.crf[-1] for codec in codecs.CODECS.values()),
            tooltip="Quality: lower is better and larger. 18 looks lossless.",
        ),
        level_input(),
    ]


def encoder_input() -> io.Input:
    """Who encodes. Optional, so that prompts from before it existed still run."""
    return io.Combo.Input(
        "encoder",
        options=list(codecs.ENCODERS),
        default="cpu",
        optional=True,
        advanced=True,
        tooltip="cpu has the best quality for its size. nvenc encodes on an NVIDIA card that can.",
    )


def check_encoder(codec: str | None, encoder: str | None) -> bool | str:
    """Says before anything runs whether this machine can encode so. A linked input has no value yet."""
    if codec is None or encoder is None:
        return True
    try:
        codecs.check_available(codec, encoder)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return True


def next_target(prefix: str, size: Size) -> Target:
    """Finds the next free name for a clip.

    Raises:
        ValueError: The prefix leads out of ComfyUI's output folder.
    """
    output = os.path.abspath(folder_paths.get_output_directory())
    if not Path(os.path.abspath(os.path.join(output, prefix))).is_relative_to(output):
        raise ValueError(
            f"Clips are saved below ComfyUI's output folder, and '{prefix}' leads out of it. Remove the ../."
        )
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), size.width, size.height
    )
    return Target(Path(folder) / f"{name}_{counter:05}_.mp4", subfolder)


def open_writer(
    target: Target, size: Size, fps: Fraction | float, settings: Settings, sound: Audio | None, hidden: Any
) -> Mp4Writer:
    """Prepares the MP4 with its metadata.

    Raises:
        ValueError: A video has no such frame rate, size, CRF or sound.
    """
    rate = frame_rate(fps)
    clip = {"width": size.width, "height": size.height, "fps": float(rate), "codec": settings.codec}
    text = notes(settings.metadata, hidden, {**clip, "crf": settings.crf})
    return Mp4Writer(target.path, size, rate, settings.codec, settings.crf, text, sound, settings.encoder)


def write_frames(writer: Mp4Writer, frames: Iterable[torch.Tensor], bar: comfy.utils.ProgressBar) -> None:
    """Writes frames, Tensor[H, W, 3 or 4] on any device and of any precision, without their alpha."""
    width, height = writer.size
    for frame in frames:
        writer.write(frame[:height, :width, :3].float().cpu().numpy())
        step(bar)


def step(bar: comfy.utils.ProgressBar) -> None:
    """Counts a frame, or raises ComfyUI's interrupt, which removes the unfinished file."""
    comfy.model_management.throw_exception_if_processing_interrupted()  # the bar itself looks ten times a second
    bar.update(1)


def even_size(frames: torch.Tensor) -> Size:
    """Returns the size to save: 4:2:0 video has no odd sides, so an odd row or column goes, with a word in the log."""
    height, width = frames.shape[1:3]
    size = Size(width - width % 2, height - height % 2)
    if size != (width, height):
        logger.warning("MP4 needs even sides; %dx%d is saved as %s.", width, height, size)
    return size


def as_audio(audio: Any) -> Audio | None:
    """Returns the first sound of ComfyUI's AUDIO."""
    return Audio(audio["waveform"][0].float().cpu().numpy(), int(audio["sample_rate"])) if audio else None
