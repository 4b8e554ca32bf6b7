"""Save MP4."""

import json
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.utils
import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ..hosted.masking import without_tokens
from ..media import mp4, resolution
from ..media.audio import Audio
from ..media.recipe import recipe

logger = logging.getLogger(__name__)

METADATA = ("workflow", "recipe", "none")


class SaveMp4(io.ComfyNode):
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
                io.Audio.Input("audio", optional=True, tooltip="Cut to the length of the clip."),
                io.Float.Input(
                    "fps",
                    default=float(resolution.FPS),
                    min=1.0,
                    max=240.0,
                    step=1.0,
                    round=0.001,
                    tooltip="Wan 2.2 A14B makes 16 frames a second. A video keeps its own rate.",
                ),
                io.String.Input(
                    "filename_prefix", default="video/wan22-turbo", tooltip="Below ComfyUI's output folder."
                ),
                io.Combo.Input(
                    "codec",
                    options=list(mp4.CODECS),
                    default="h264",
                    tooltip="h264 plays everywhere. h265 and av1 are smaller; older players refuse them.",
                ),
                io.Int.Input(
                    "crf", default=18, min=1, max=51, tooltip="Quality: lower is better and larger. 18 looks lossless."
                ),
                io.Combo.Input(
                    "metadata",
                    options=list(METADATA),
                    default="workflow",
                    tooltip="workflow: the file opens as a graph. recipe: settings only, no prompts. none: nothing.",
                ),
            ],
            outputs=[io.Video.Output("video", display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
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
    ) -> io.NodeOutput:
        frames, rate, sound = open_video(video, fps, audio)
        size = even_size(frames)
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), size.width, size.height
        )
        file = f"{name}_{counter:05}_.mp4"
        path = Path(folder) / file
        notes = {} if args.disable_metadata else cls.notes(metadata)
        progress = comfy.utils.ProgressBar(len(frames))
        with mp4.Mp4Writer(path, size, rate, codec, crf, notes, sound) as writer:
            for frame in frames:
                writer.write(frame[: size.height, : size.width, :3].float().cpu().numpy())
                progress.update(1)  # also raises ComfyUI's interrupt, which removes the unfinished file
        saved = ui.SavedResult(file, subfolder, io.FolderType.output)
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)), ui=ui.PreviewVideo([saved]))

    @classmethod
    def notes(cls, level: str) -> dict[str, str]:
        """Returns what goes into the file, where ComfyUI's own reader of MP4 looks for it."""
        prompt, extra = cls.hidden.prompt, cls.hidden.extra_pnginfo or {}
        if level == "workflow":
            everything = {**extra, "prompt": as_posted(prompt)} if prompt else extra
            return {key: json.dumps(without_tokens(value)) for key, value in everything.items()}
        if level == "recipe" and prompt:
            return {"recipe": json.dumps(recipe(prompt))}
        return {}


def as_posted(prompt: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the prompt without the fingerprints of input files that ComfyUI adds while it runs."""
    return {node_id: {k: v for k, v in node.items() if k != "is_changed"} for node_id, node in prompt.items()}


def open_video(video: Any, fps: float, audio: dict[str, Any] | None) -> tuple[torch.Tensor, Fraction, Audio | None]:
    """Returns frames, frame rate and sound of an IMAGE or a VIDEO; a connected AUDIO replaces the video's own."""
    rate = Fraction(fps).limit_denominator(1001)
    if not isinstance(video, torch.Tensor):
        parts = video.get_components()
        video, rate, audio = parts.images, Fraction(parts.frame_rate), audio or parts.audio
    sound = Audio(audio["waveform"][0].float().cpu().numpy(), int(audio["sample_rate"])) if audio else None
    return video, rate, sound


def even_size(frames: torch.Tensor) -> resolution.Size:
    """Returns the size to save: 4:2:0 video has no odd sides, so an odd row or column goes, with a word in the log."""
    height, width = frames.shape[1:3]
    size = resolution.Size(width - width % 2, height - height % 2)
    if size != (width, height):
        logger.warning("MP4 needs even sides; %dx%d is saved as %s.", width, height, size)
    return size
