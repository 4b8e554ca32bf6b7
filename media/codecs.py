"""Video codecs, and how to ask FFmpeg for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import torch
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError

ENCODERS = ("cpu", "nvenc")
PROBE = (640, 480, "yuv420p")  # a size that every encoder takes


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders: its name, its settings, and which of them takes the CRF."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    quality: str = "crf"


@dataclass(frozen=True)
class Codec:
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
    """Looks a codec up.

    Raises:
        ValueError: There is no such codec or encoder, or the codec does not know the CRF.
    """
    if name not in CODECS:
        raise ValueError(f"Codec is one of {', '.join(CODECS)}, got '{name}'.")
    if encoder not in ENCODERS:
        raise ValueError(f"Encoder is one of {', '.join(ENCODERS)}, got '{encoder}'.")
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
    try:
        context: Any = av.CodecContext.create(chosen.name, "w")
        if chosen is codec.cpu:
            return
        context.width, context.height, context.pix_fmt = PROBE
        context.time_base = Fraction(1, 16)
        context.options = dict(chosen.options)
        context.open()
    except UnknownCodecError as err:
        raise RuntimeError(missing(codec, chosen)) from err
    except FFmpegError as err:
        raise RuntimeError(refusal(codec, chosen, f"{PROBE[0]}x{PROBE[1]}", err)) from err


def missing(codec: Codec, encoder: Encoder) -> str:
    """Says that the libraries lack an encoder, and what to do."""
    return (
        f"{codec.label} needs the encoder {encoder.name}, which the FFmpeg libraries here lack. "
        "Choose another codec or encoder, or install PyAV from PyPI: pip install --force-reinstall av."
    )


def refusal(codec: Codec, encoder: Encoder, size: str, err: FFmpegError) -> str:
    """Says that an encoder does not open, and what to do."""
    if encoder is codec.nvenc:
        return (
            f"{encoder.name} needs an NVIDIA card that encodes {codec.label} at {size}, and its driver; "
            f"here FFmpeg says: {err.strerror}. Choose the encoder cpu."
        )
    return f"The encoder {encoder.name} here refuses {size}: {err.strerror}. Choose another codec or size."
