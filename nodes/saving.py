"""What Save MP4 and Decode to MP4 share: inputs and their checks, where clips go, frames into a writer."""

import logging
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import InputImpl, io, ui

from ..media import codecs, resolution
from ..media.audio import Audio, Sound, clean_audio, note_on_sound
from ..media.clip_numbers import checked
from ..media.filenames import check_folder, check_prefix, shown
from ..media.losses import ALPHA
from ..media.mp4 import FPS_RANGE, Mp4Writer, frame_rate
from ..media.publish import LATENT, NextName, Place
from ..media.resolution import Size, check_choice
from .content import JudgedName
from .door import Node
from .meta_batch import check_batches
from .metadata import LEVELS, notes
from .progress import not_begun

logger = logging.getLogger(__name__)

DEFAULT_PREFIX = "video/wan22-turbo"


class SaveSettings(NamedTuple):
    """What `saving_inputs` ask: how a clip is encoded, what goes with it, and where it is saved."""

    fps: Fraction | float
    filename_prefix: str
    codec: str
    crf: int
    metadata: str
    audio: Any = None  # ComfyUI's AUDIO
    encoder: str = "cpu"
    numbers: str | None = None  # what Clip Report says of the clip

    @property
    def sound(self) -> Audio | None:
        """The first sound of the batch, float[channels, samples]; ValueError where there is none in it."""
        if not self.audio:
            return None
        if not len(self.audio["waveform"]):
            raise ValueError("audio holds no sound, but an empty batch. Look at the node that it comes from.")
        return Audio(self.audio["waveform"][0].float().cpu().numpy(), int(self.audio["sample_rate"]))

    def check(self, hidden: Any) -> str:
        """Checks what is not a picture, linked inputs too, and returns what to say about the clip, or "".

        Raises:
            ValueError: Something cannot be used; the text says what.
        """
        check_place(self.filename_prefix)
        frame_rate(self.fps)
        codecs.check_codec(self.codec, self.crf, self.encoder)
        check_choice("Metadata", self.metadata, LEVELS)
        if self.numbers:
            checked(self.numbers)
        if self.sound:
            clean_audio(self.sound)
        return check_batches(hidden)

    def notes_on_sound(self) -> list[str]:
        """Returns what a video does not hold of the sound."""
        if not self.sound:
            return []
        count = len(self.audio["waveform"])
        batch = [f"There are {count} sounds in a batch: the first is saved."] * (count > 1)
        return batch + list(filter(None, [note_on_sound(self.sound)]))


class SavingNode(Node):
    """What Save MP4 and Decode to MP4 have in common: all is checked before a clip is sampled, not after."""

    OWN_BOUNDS = frozenset({"crf", "fps"})

    @classmethod
    def validate_inputs(
        cls, codec: str | None = None, encoder: str | None = "cpu", filename_prefix: str | None = None
    ) -> bool | str:
        # Naming these takes their checks over from ComfyUI. A linked input has no value yet.
        if codec is not None and encoder is not None:
            codecs.check_available(codec, encoder)
        if filename_prefix is not None:
            check_place(filename_prefix)
        return True

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        # Linked settings have their values by now, and no model has been loaded for this node.
        lazy = [each for each in cls.define_schema().inputs if getattr(each, "lazy", False)]
        # An optional one that is not connected is not among the inputs at all, and nobody can ask for it.
        missing = [each.id for each in lazy if inputs.get(each.id, ... if each.optional else None) is None]
        if missing:
            not_begun(cls.hidden.unique_id)
            settings = SaveSettings(**{name: inputs[name] for name in SaveSettings._fields if name in inputs})
            settings.check(cls.hidden)
            codecs.check_available(settings.codec, settings.encoder)
        return missing


class Target(NamedTuple):
    """Where the next clip goes: a series of names on the disk, and its folder below ComfyUI's output folder."""

    folder: Path
    stem: str
    subfolder: str

    def next_name(self, suffix: str, latent: Path | None = None) -> NextName:
        """Returns the place of a file of this series; a clip has the number of its latent, and must pass filters."""
        kind = NextName if suffix == LATENT else JudgedName
        return kind(self.folder, self.stem, suffix, latent)

    def shown(self, path: Path) -> str:
        """Names a file of this series as people see it: below the output folder."""
        return (Path(self.subfolder) / path.name).as_posix()

    def output(self, clip: Place, remarks: Iterable[str] = ()) -> io.NodeOutput:
        """Returns the finished clip as ComfyUI's own node does, and says in the log and on the node what it is like."""
        words = [word for word in (clip.warning, *remarks) if word]
        for word in words:
            logger.warning(word)
        return io.NodeOutput(InputImpl.VideoFromFile(str(clip.path)), ui=SavedClip(self.saved(clip), words))

    def saved(self, clip: Place) -> ui.SavedResult:
        """Returns where a finished clip is, as the frontend asks for it."""
        return ui.SavedResult(clip.path.name, self.subfolder, io.FolderType.output)


class SavedClip(ui.PreviewVideo):
    """A clip in ComfyUI's own shape, and beneath it what there is to say about it, if anything."""

    def __init__(self, saved: ui.SavedResult, words: list[str]) -> None:
        super().__init__([saved])
        self.words = words

    def as_dict(self) -> dict[str, Any]:
        """Returns what the frontend and the API are told."""
        shown = super().as_dict()
        return {**shown, **ui.PreviewText("\n".join(self.words)).as_dict()} if self.words else shown


def saving_schema(source: list[io.Input], last: list[io.Input], **words: Any) -> io.Schema:
    """Returns the schema of a node that saves `source`; `last` are its own inputs, `words` its id and texts."""
    return io.Schema(
        inputs=[*source, *saving_inputs(), *last],
        outputs=[io.Video.Output("video")],
        hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
        is_output_node=True,
        **words,
    )


def saving_inputs() -> list[io.Input]:
    """Returns the inputs from the sound to the encoder."""
    return [
        io.Audio.Input("audio", optional=True, tooltip="Cut to the length of the clip."),
        fps_input("Wan 2.2 A14B makes 16 frames a second. A video keeps its own rate."),
        io.String.Input("filename_prefix", default=DEFAULT_PREFIX, tooltip="Below ComfyUI's output folder."),
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
        io.Combo.Input(
            "metadata",
            options=list(LEVELS),
            default="workflow",
            tooltip="workflow: the file opens as a graph. recipe: settings and models, no prompts. none: nothing.",
        ),
        io.Combo.Input(
            "encoder",
            options=list(codecs.ENCODERS),
            default="cpu",
            optional=True,  # so that prompts from before it existed still run
            advanced=True,
            tooltip="cpu has the best quality for its size. nvenc encodes on an NVIDIA card that can.",
        ),
    ]


def fps_input(tooltip: str) -> io.Input:
    """Returns the input of a clip's rate."""
    least, most = map(float, FPS_RANGE)
    return io.Float.Input(
        "fps", default=float(resolution.FPS), min=least, max=most, step=1.0, round=0.001, tooltip=tooltip
    )


def check_place(prefix: str) -> str:
    """Returns the shortest form of a prefix; ValueError if its name, its folder or the disk cannot be used."""
    output = folder_paths.get_output_directory()
    checked = check_prefix(prefix, output)
    folder = os.path.join(output, os.path.dirname(checked))
    within = getattr(folder_paths, "is_within_directory", None)  # before 0.30 ComfyUI let links lead anywhere
    if within and not within(output, folder):
        raise ValueError(
            f"Clips are saved below ComfyUI's output folder, and '{shown(prefix)}' goes through a link that leads out "
            "of it. Choose another folder, or start ComfyUI with --output-directory."
        )
    check_folder(prefix, folder)
    return checked


def next_target(prefix: str, size: Size) -> Target:
    """Creates the folder of a series of clips; ValueError where nothing can be saved there."""
    checked = check_place(prefix)
    try:
        folder, stem, _, subfolder, _ = folder_paths.get_save_image_path(
            checked, folder_paths.get_output_directory(), size.width, size.height
        )
    except OSError as err:
        raise ValueError(f"The folder of '{shown(prefix)}' cannot be used: {err.strerror}. Choose another.") from err
    return Target(Path(folder), stem, subfolder)


def open_writer(
    clip: Place, size: Size, settings: SaveSettings, sound: Sound | Sequence[Sound] | None, hidden: Any, **shape: Any
) -> Mp4Writer:
    """Prepares the MP4 with its metadata; `shape` is the writer's `aspect` and `tick`.

    Raises:
        ValueError: A video has no such frame rate, size, CRF or sound.
    """
    rate, codec, crf = frame_rate(settings.fps), settings.codec, settings.crf
    facts = {"width": size.width, "height": size.height, "fps": float(rate), "codec": codec, "crf": crf}
    text = notes(settings.metadata, hidden, facts, settings.numbers or "")
    return Mp4Writer(clip, size, rate, codec, crf, text, sound, settings.encoder, **shape)


def write_frames(writer: Mp4Writer, frames: Iterable[torch.Tensor], bar: comfy.utils.ProgressBar) -> None:
    """Writes frames, Tensor[H, W, 1, 3 or 4] on any device and of any precision, without their alpha."""
    width, height = writer.size
    for frame in frames:
        colours = frame[:height, :width, :3]
        writer.write(array_of(colours.expand(-1, -1, 3) if colours.shape[2] == 1 else colours))
        step(bar)


def array_of(picture: torch.Tensor) -> np.ndarray:
    """Tensor[H, W, C] on any device -> float32[H, W, C]; what holds no fractions stays as it is."""
    return (picture.float() if picture.is_floating_point() else picture).cpu().numpy()


def step(bar: comfy.utils.ProgressBar) -> None:
    """Counts a frame, or raises ComfyUI's interrupt, which removes the unfinished file."""
    comfy.model_management.throw_exception_if_processing_interrupted()  # the bar itself looks ten times a second
    bar.update(1)


def even_size(size: Size) -> Size:
    """Returns the size to save: 4:2:0 video has no odd sides, so an odd row or column goes."""
    return Size(size.width - size.width % 2, size.height - size.height % 2)


def note_on_size(size: Size) -> list[str]:
    """Returns what `even_size` takes away."""
    saved = even_size(size)
    return [] if saved == size else [f"MP4 needs even sides; {size} is saved as {saved}."]


def notes_on_frames(frames: torch.Tensor) -> list[str]:
    """Returns what a video does not hold of frames, Tensor[F, H, W, C]."""
    return note_on_size(Size.of(frames)) + [ALPHA] * (frames.shape[3] == 4)
