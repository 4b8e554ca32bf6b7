"""Video codecs, how to ask FFmpeg for them, and how the system schedules the threads of an encoder."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import Any, NamedTuple

import av
import torch
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError

from .publish import NO_ROOM
from .resolution import check_choice

ENCODERS = ("cpu", "nvenc")
TASKS = "/proc/self/task"  # has an entry for each thread of this process
PROBE = (640, 480, "yuv420p")  # a size that every encoder takes


class Encoder(NamedTuple):
    """One of FFmpeg's encoders: its name, its settings, and which of them takes the CRF."""

    name: str
    options: Mapping[str, str]
    quality: str = "crf"


class Codec(NamedTuple):
    """A video codec: what people call it, who encodes it, its CRFs, its name inside an MP4, its least side."""

    label: str
    cpu: Encoder
    nvenc: Encoder
    crf: range
    tag: str
    min_side: int = 16  # pixels

    def encoder(self, kind: str) -> Encoder:
        """Returns the encoder for one of `ENCODERS`."""
        return {"cpu": self.cpu, "nvenc": self.nvenc}[kind]


def _nvenc(name: str) -> Encoder:
    """NVIDIA's encoder on the card, at the speed and with the rate control that come nearest to a CRF."""
    return Encoder(name, {"preset": "p5", "tune": "hq", "rc": "vbr"}, quality="cq")


def _x264_instructions() -> dict[str, str]:
    """Keeps x264 from AVX-512, with which the same frames may make another file each time: see decision 0017.

    To name instructions is also to claim that the processor has them, so nothing is said of one without AVX-512.
    """
    return {"x264-params": "asm=avx2"} if torch.backends.cpu.get_cpu_capability() == "AVX512" else {}


CODECS = {
    # CRF 0 is lossless, in a profile that browsers and phones do not play.
    "h264": Codec(
        "H.264",
        Encoder("libx264", {"preset": "medium", **_x264_instructions()}),
        _nvenc("h264_nvenc"),
        range(1, 52),
        "avc1",
    ),
    # QuickTime plays H.265 only under the tag hvc1.
    "h265": Codec(
        "H.265",
        Encoder("libx265", {"preset": "medium", "x265-params": "log-level=error"}),
        _nvenc("hevc_nvenc"),
        range(1, 52),
        "hvc1",
        min_side=64,  # x265 writes beyond its memory with less, which ends the process
    ),
    "av1": Codec("AV1", Encoder("libsvtav1", {"preset": "8"}), _nvenc("av1_nvenc"), range(1, 64), "av01"),
}


def check_codec(name: str, crf: int, encoder: str) -> Codec:
    """Looks a codec up; ValueError for one that is none, or a CRF or an encoder that it does not know."""
    check_choice("Codec", name, CODECS)
    check_choice("Encoder", encoder, ENCODERS)
    codec = CODECS[name]
    if crf not in codec.crf:
        best, worst = codec.crf[0], codec.crf[-1]
        raise ValueError(f"{codec.label} takes a CRF of {best} (best) to {worst}, got {crf}. Begin with 18.")
    return codec


def check_available(name: str, encoder: str) -> None:
    """Opens an encoder once, if it is one that depends on the machine.

    Raises:
        ValueError: There is no such codec or encoder.
        RuntimeError: The FFmpeg libraries lack it, or no card here has it.
    """
    codec = check_codec(name, crf=18, encoder=encoder)
    chosen = codec.encoder(encoder)
    with explained(codec, chosen, f"{PROBE[0]}x{PROBE[1]}"):
        context: Any = av.CodecContext.create(chosen.name, "w")
        if chosen is codec.cpu:
            return
        context.width, context.height, context.pix_fmt = PROBE
        context.time_base = Fraction(1, 16)
        context.options = dict(chosen.options)
        context.open()


@contextmanager
def explained(codec: Codec, encoder: Encoder, size: str) -> Iterator[None]:
    """Turns what FFmpeg raises where an encoder is opened into a sentence; that the disk is full stays as it is.

    Raises:
        RuntimeError: The FFmpeg libraries lack the encoder, or it refuses the size.
    """
    try:
        yield
    except UnknownCodecError as err:
        raise RuntimeError(
            f"{codec.label} needs the encoder {encoder.name}, which the FFmpeg libraries here lack. "
            "Choose another codec or encoder, or install PyAV from PyPI: pip install --force-reinstall av."
        ) from err
    except FFmpegError as err:
        if err.errno in NO_ROOM:
            raise
        if encoder is codec.nvenc:
            text = (
                f"{encoder.name} needs an NVIDIA card that encodes {codec.label} at {size}, and its driver; "
                f"here FFmpeg says: {err.strerror}. Choose the encoder cpu."
            )
        else:
            text = f"The encoder {encoder.name} here refuses {size}: {err.strerror}. Choose another codec or size."
        raise RuntimeError(text) from err


@contextmanager
def kept_scheduling() -> Iterator[None]:
    """Leaves the block with the calling thread scheduled as before it, and the threads begun in it like that thread.

    SVT-AV1, opened by root, turns the calling thread into a real-time one of the highest priority, and so every thread
    and process that comes of it: see decision 0018. Does nothing where the system is not Linux.
    """
    if sys.platform != "linux":
        yield
        return
    before, known = _scheduling(0), set(os.listdir(TASKS))
    try:
        yield
    finally:
        if (changed := _scheduling(0)) != before:
            for thread in map(int, set(os.listdir(TASKS)) - known):
                with suppress(ProcessLookupError):  # it has ended
                    if _scheduling(thread) == changed:
                        _set(thread, *before)
            _set(0, *before)


def _scheduling(thread: int) -> tuple[int, int]:
    """Returns policy and priority of a thread, by its number in the system; 0 is the calling one."""
    return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority


def _set(thread: int, policy: int, priority: int) -> None:
    os.sched_setscheduler(thread, policy, os.sched_param(priority))
