"""Decode to MP4: from the latent to the file, a few frames at a time."""

import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from safetensors.torch import save

from ..media import vae_stream
from ..media.finite import NotFiniteError
from ..media.mp4 import Mp4Writer
from ..media.publish import LATENT, Place, publish
from ..media.resolution import Size
from .content import clips_are_judged
from .metadata import notes
from .progress import say
from .saving import (
    DEFAULT_PREFIX,
    SaveSettings,
    SavingNode,
    Target,
    even_size,
    next_target,
    notes_on_frames,
    open_writer,
    saving_schema,
    write_frames,
)

logger = logging.getLogger(__name__)


class DecodeMp4(SavingNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return saving_schema(
            [
                io.Latent.Input("latent", lazy=True),
                io.Vae.Input("vae", lazy=True, tooltip="Wan VAEs decode a few frames at a time; others all at once."),
            ],
            [
                io.Boolean.Input(
                    "keep_latent",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="The latent lies beside the clip until that is finished. On: also afterwards.",
                )
            ],
            node_id="Wan22Turbo_DecodeMp4",
            display_name="Decode to MP4",
            description="Decodes a latent straight into an MP4, a few frames at a time, so memory limits no clip.",
            search_aliases=["vae decode", "latent to video", "decode video", "save video", "mp4"],
        )

    @classmethod
    def execute(
        cls,
        latent: dict[str, Any],
        vae: Any,
        fps: float,
        filename_prefix: str,
        codec: str,
        crf: int,
        metadata: str,
        audio: dict[str, Any] | None = None,
        encoder: str = "cpu",
        keep_latent: bool = False,
    ) -> io.NodeOutput:
        """Decodes and saves; what is not named here are `SaveSettings`.

        Args:
            latent: ComfyUI's LATENT, of which "samples" is Tensor[B, C, T, H, W].
            vae: ComfyUI's VAE.
            keep_latent: Whether the latent stays beside the finished clip.
        """
        samples = latent["samples"]
        samples = samples.unbind()[0] if samples.is_nested else samples  # as ComfyUI's VAE Decode does
        check_sampled(samples)
        settings = SaveSettings(fps, filename_prefix, codec, crf, metadata, audio, encoder)
        # The latent comes first: whatever fails from here on, it is on the disk.
        target, kept, problem = keep(samples, vae, filename_prefix, latent_notes(metadata, cls.hidden))
        clip = target.next_name(".mp4", kept)
        try:
            if problem:
                raise problem
            remark, sound = settings.check(cls.hidden), settings.sound
            with RestartableWriter(
                lambda size: open_writer(clip, size, settings, sound, cls.hidden), samples
            ) as frames:
                decode(vae, samples, frames)
        except BaseException as err:
            leave(err, target, clip.latent or kept, cls.hidden.unique_id)
            raise
        if clip.latent and not keep_latent:
            with suppress(OSError):  # somebody has it open; the clip is there all the same
                clip.latent.unlink(missing_ok=True)
        return target.output(clip, [remark, *frames.remarks, *settings.notes_on_sound()])


class RestartableWriter:
    """Writes an MP4 that is opened when the first frames show its size, and begun again where decoding is.

    Args:
        open_for: Returns a writer for frames of a size.
        samples: Tensor[B, C, T, H, W], the latent whose frames will come.
    """

    def __init__(self, open_for: Callable[[Size], Mp4Writer], samples: torch.Tensor) -> None:
        self.open_for = open_for
        self.writer: Mp4Writer | None = None
        self.remarks: list[str] = []  # what a video does not hold of the frames
        self.bar = comfy.utils.ProgressBar(vae_stream.frame_count(samples))

    def add(self, frames: torch.Tensor) -> None:
        """Writes the next frames, Tensor[F, H, W, C]."""
        if self.writer is None:
            self.remarks = notes_on_frames(frames)
            self.writer = self.open_for(even_size(Size.of(frames))).__enter__()
        write_frames(self.writer, frames, self.bar)

    def restart(self) -> None:
        """Forgets all frames so far."""
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.discard()
        self.bar.update_absolute(0)

    def __enter__(self) -> "RestartableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.__exit__(kind, error, trace)
        elif error is None:
            raise ValueError("A video needs at least one frame, and the VAE made none. Check the latent.")


def check_sampled(samples: torch.Tensor) -> None:
    """Refuses a latent that is as empty as it was made: every number in it is zero."""
    if not samples.any():
        raise ValueError(
            "The latent must come from a sampler, and nothing has sampled this one: every number in it is 0. "
            "If the sampler is bypassed, select it and press Ctrl+B; else connect the sampler's latent here."
        )


class Receiver(Protocol):
    """Takes the frames of a latent as they are decoded, a few at a time."""

    def add(self, frames: torch.Tensor) -> None:
        """Takes the next frames, Tensor[F, H, W, C]."""

    def restart(self) -> None:
        """Forgets all frames so far, because decoding begins again."""


def decode(vae: Any, samples: torch.Tensor, clip: Receiver) -> None:
    """Decodes a latent into a clip.

    Raises:
        NotFiniteError: There is NaN or infinity in the latent, or the VAE made it; the text says which, and where.
    """
    vae_stream.check_latent(samples)
    try:
        vae_stream.decode(vae, samples, clip.add, clip.restart)
    except NotFiniteError as err:
        raise NotFiniteError(
            f"The VAE made {err.value} of a latent that has none, first in {err.place}. No clip was written. "
            "Start ComfyUI with --fp32-vae, or choose another VAE.",
            err.value,
            err.place,
        ) from None


def expected_size(vae: Any, samples: torch.Tensor) -> Size:
    """Returns the size that frames will have, for the %width% and %height% of file names."""
    scale = vae.spacial_compression_decode()
    return Size(samples.shape[-1] * scale, samples.shape[-2] * scale)


def keep(
    samples: torch.Tensor, vae: Any, prefix: str, metadata: dict[str, str]
) -> tuple[Target, Path, Exception | None]:
    """Writes the latent to where its clip will be, or to the usual folder if it cannot be there.

    Returns:
        The series that it is the next of, its file, and why the clip cannot be saved as it was asked for.

    Raises:
        OSError: The disk takes it nowhere.
        ValueError: The same, because of names.
    """
    try:
        target = next_target(prefix, expected_size(vae, samples))
        return target, save_latent(target, samples, metadata), None
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as err:  # the size is the VAE's word
        try:
            target = next_target(DEFAULT_PREFIX, Size(0, 0))
            return target, save_latent(target, samples, metadata), err
        except (OSError, ValueError):
            raise err from None


def latent_notes(level: str, hidden: Any) -> dict[str, str]:
    """Returns the text that goes with a latent. A recipe hashes files, which takes time, so there is none."""
    try:
        return notes(level, hidden, {}) if level == "workflow" else {}
    except (AttributeError, TypeError, ValueError):  # of a graph that nobody can write; the clip's writer says so
        return {}


def save_latent(target: Target, samples: torch.Tensor, metadata: dict[str, str]) -> Path:
    """Writes a latent in the form that ComfyUI's Load Latent reads, and returns its path.

    Where a filter has yet to judge its clip, nobody can guess its name, by which ComfyUI would hand it to whoever asks.
    """
    tensors = {"latent_tensor": samples.cpu().contiguous(), "latent_format_version_0": torch.tensor([])}
    hidden = target.folder / f".{uuid.uuid4().hex}{LATENT}"
    place = Place(hidden) if clips_are_judged() else target.next_name(LATENT)
    with publish(place) as temporary:
        temporary.write_bytes(save(tensors, metadata))
    if place.warning:
        logger.warning(place.warning)
    return place.path


def leave(err: BaseException, target: Target, latent: Path, node_id: str | None) -> None:
    """Tells where the latent of a clip is that could not be saved; removes it where a filter would have to judge that.

    A latent is its clip: whoever has it can decode it. ComfyUI still has it from the sampler, for another run.
    """
    if not clips_are_judged():
        where = f"The latent is kept: '{target.shown(latent)}' in ComfyUI's output folder. "
        tell(err, f"{where}Load Latent reads it from the input folder.", node_id)
        return
    latent.unlink(missing_ok=True)
    logger.warning("The latent of an unfinished clip was removed, since no content filter has seen what it shows.")


def tell(err: BaseException, where: str, node_id: str | None) -> None:
    """Tells what is kept: in the log, on the node, and in the error unless ComfyUI must recognise its text."""
    logger.warning(where)
    say(where, node_id)
    stopped = isinstance(err, comfy.model_management.InterruptProcessingException)
    if stopped or not isinstance(err, Exception) or is_out_of_memory(err):
        return
    if getattr(err, "strerror", None):  # PyAV's errors have it too, and show it instead of their arguments
        setattr(err, "strerror", f"{getattr(err, 'strerror')}. {where}")  # noqa: B009, B010
    else:
        err.args = (f"{err} {where}", *err.args[1:])


def is_out_of_memory(err: Exception) -> bool:
    """Returns whether ComfyUI shows its card about memory for an error."""
    is_oom = getattr(comfy.model_management, "is_oom", None)  # from ComfyUI 0.17 on
    return is_oom(err) if is_oom else isinstance(err, comfy.model_management.OOM_EXCEPTION)
