"""Decode to MP4: from the latent to the file, a few frames at a time."""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io
from safetensors.torch import save

from ..media import vae_stream
from ..media.mp4 import Mp4Writer
from ..media.publish import publish
from ..media.resolution import Size
from .metadata import notes
from .progress import say
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
    write_frames,
)

logger = logging.getLogger(__name__)


class DecodeMp4(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Wan22Turbo_DecodeMp4",
            display_name="Decode to MP4",
            category="wan 2.2 turbo",
            description="Decodes a latent straight into an MP4, a few frames at a time, so memory limits no clip.",
            search_aliases=["vae decode", "latent to video", "decode video", "save video", "mp4"],
            inputs=[
                io.Latent.Input("latent"),
                io.Vae.Input("vae", tooltip="Wan VAEs decode a few frames at a time; others all at once."),
                *saving_inputs(),
                encoder_input(),
                io.Boolean.Input(
                    "keep_latent",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="The latent lies beside the clip until that is finished. On: also afterwards.",
                ),
            ],
            outputs=[io.Video.Output("video", display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, codec: str | None = None, encoder: str | None = "cpu") -> bool | str:
        # Before a clip is sampled, not after. Naming these takes their checks over from ComfyUI.
        return check_encoder(codec, encoder)

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
        samples = latent["samples"]
        samples = samples.unbind()[0] if samples.is_nested else samples  # as ComfyUI's VAE Decode does
        check_sampled(samples)
        target = next_target(filename_prefix, expected_size(vae, samples))
        saved = target.path.with_suffix(".latent")
        settings, sound = Settings(codec, crf, metadata, encoder), as_audio(audio)
        # A recipe hashes files, which takes time and may fail: the latent comes first.
        save_latent(saved, samples, notes(metadata, cls.hidden, {}) if metadata == "workflow" else {})
        try:
            with _Clip(lambda size: open_writer(target, size, fps, settings, sound, cls.hidden), samples) as clip:
                vae_stream.decode(vae, samples, clip.add, clip.restart)
        except BaseException as err:
            tell_where(err, target, cls.hidden.unique_id)
            raise
        if not keep_latent:
            with suppress(OSError):  # somebody has it open; the clip is there all the same
                saved.unlink(missing_ok=True)
        return target.output()


class _Clip:
    """The MP4 being written: opened when the first frames show their size, and begun again where decoding is."""

    def __init__(self, open_for: Callable[[Size], Mp4Writer], samples: torch.Tensor) -> None:
        self.open_for = open_for
        self.writer: Mp4Writer | None = None
        self.bar = comfy.utils.ProgressBar(vae_stream.frame_count(samples))

    def add(self, frames: torch.Tensor) -> None:
        if self.writer is None:
            self.writer = self.open_for(even_size(frames)).__enter__()
        write_frames(self.writer, frames, self.bar)

    def restart(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.discard()
        self.bar.update_absolute(0)

    def __enter__(self) -> "_Clip":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.__exit__(kind, error, trace)
        elif error is None:
            raise ValueError("A video needs at least one frame, and the VAE made none. Check the latent.")


def check_sampled(samples: torch.Tensor) -> None:
    """Refuses a latent that is as empty as it was made.

    Raises:
        ValueError: Every number in it is zero.
    """
    if not samples.any():
        raise ValueError(
            "The latent must come from a sampler, and nothing has sampled this one: every number in it is 0. "
            "If the sampler is bypassed, select it and press Ctrl+B; else connect the sampler's latent here."
        )


def expected_size(vae: Any, samples: torch.Tensor) -> Size:
    """Returns the size that frames will have, for the %width% and %height% of file names."""
    scale = vae.spacial_compression_decode()
    return Size(samples.shape[-1] * scale, samples.shape[-2] * scale)


def save_latent(path: Path, samples: torch.Tensor, metadata: dict[str, str]) -> None:
    """Writes a latent in the form that ComfyUI's Load Latent reads."""
    tensors = {"latent_tensor": samples.cpu().contiguous(), "latent_format_version_0": torch.tensor([])}
    with publish(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def tell_where(err: BaseException, target: Target, node_id: str | None) -> None:
    """Says where the latent is: in the log, on the node, and in the error unless ComfyUI must recognise its text."""
    name = target.sibling(".latent")
    where = f"The latent is kept: '{name}' in ComfyUI's output folder. Load Latent reads it from the input folder."
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
    """Says whether ComfyUI shows its card about memory for an error."""
    with suppress(AttributeError):  # before ComfyUI 0.17
        return comfy.model_management.is_oom(err)
    return isinstance(err, comfy.model_management.OOM_EXCEPTION)
