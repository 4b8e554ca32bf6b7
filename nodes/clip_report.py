"""Clip Report: what a clip is like, in numbers, for people, for programs, and for Save MP4 to keep."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import comfy.utils
import numpy as np
import torch
from comfy_api.latest import io

from ..media import video_reading
from ..media.clip_report import measure
from .door import Node
from .meta_batch import batch_at
from .progress import Told
from .saving import array_of, fps_input, step
from .video_file import file_of


class ClipReport(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_ClipReport",
            display_name="Clip Report",
            description="Measures a clip: motion, flicker, sharpness, drift, seams, black, frozen and broken frames.",
            search_aliases=["vbench", "video quality", "measure video", "flicker", "motion", "drift", "optical flow"],
            inputs=[
                io.MultiType.Input("video", types=[io.Image, io.Video], tooltip="Decoded frames, or a video."),
                io.Image.Input(
                    "reference", optional=True, tooltip="The picture that the first frame is to show, of any size."
                ),
                fps_input("Frames a second of decoded frames. A video keeps its own rate."),
            ],
            outputs=[io.String.Output("report"), io.String.Output("numbers")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, video: Any, fps: float, reference: torch.Tensor | None = None) -> io.NodeOutput:
        """Measures frames or a video.

        Args:
            video: ComfyUI's IMAGE, Tensor[F, H, W, C] in [0, 1], or its VIDEO.
            fps: Of an IMAGE.
            reference: ComfyUI's IMAGE, of which the first picture counts.
        """
        if reference is not None and not len(reference):
            raise ValueError("reference holds no picture. Look at the node that it comes from.")
        clip = clip_of(video, fps)
        numbers = measure(clip.frames, clip.fps, None if reference is None else array_of(reference[0]))
        report = "\n".join([*note_on_batch(cls.hidden), numbers.report()])
        return io.NodeOutput(report, json.dumps(numbers.as_dict()), ui=Told(report, numbers=numbers.as_dict()))


def note_on_batch(hidden: Any) -> list[str]:
    """Returns what to say where VideoHelperSuite hands frames over in batches, one in each run."""
    batch = batch_at(hidden)
    return [f"Only a part of the clip is measured: batch {batch[0]} of a Meta Batch Manager."] if batch else []


class Clip(NamedTuple):
    """Frames one by one, each [H, W, C], and how many come in a second."""

    frames: Iterator[np.ndarray]
    fps: float


def clip_of(video: Any, fps: float) -> Clip:
    """Returns the frames of an IMAGE, which have a rate of their own if they are a VIDEO's; of a file as it is read."""
    file = file_of(video)
    if file:
        pictures = video_reading.look(*file)
        frames = (frame for frame, *_ in video_reading.frames(pictures))
        return Clip(counted(frames, pictures.count), float(pictures.rate))
    if not isinstance(video, torch.Tensor):
        parts = video.get_components()
        video, fps = parts.images, float(parts.frame_rate)
    if video.ndim != 4:
        text = f"A clip has the shape [F, H, W, C], this one has {list(video.shape)}."
        raise ValueError(f"{text} Look at the node that it comes from.")
    return Clip(counted(map(array_of, video), len(video)), fps)


def counted(frames: Iterator[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yields frames, and counts each on the node's bar; raises ComfyUI's interrupt."""
    bar = comfy.utils.ProgressBar(count)
    for frame in frames:
        yield frame
        step(bar)
