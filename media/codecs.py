"""Video codecs, and how to ask FFmpeg for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ENCODERS = ("cpu", "nvenc")


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders: its name, its settings, and which of them takes the CRF."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    quality: str = "crf"


@dataclass(frozen=True)
class Codec:
    """A video codec: what people call it, who encodes it, the CRFs it knows, its name inside an MP4."""

    label: str
    cpu: Encoder
    nvenc: Encoder
    crf: range
    tag: str

    def encoder(self, kind: str) -> Encoder:
        """Returns the encoder for one of `ENCODERS`."""
        return {"cpu": self.cpu, "nvenc": self.nvenc}[kind]


def _nvenc(name: str) -> Encoder:
    """NVIDIA's encoder on the card, at the speed and with the rate control that come nearest to a CRF."""
    return Encoder(name, {"preset": "p5", "tune": "hq", "rc": "vbr"}, quality="cq")


CODECS = {
    # CRF 0 is lossless, in a profile that browsers and phones do not play.
    "h264": Codec("H.264", Encoder("libx264", {"preset": "medium"}), _nvenc("h264_nvenc"), range(1, 52), "avc1"),
    # QuickTime plays H.265 only under the tag hvc1.
    "h265": Codec(
        "H.265",
        Encoder("libx265", {"preset": "medium", "x265-params": "log-level=error"}),
        _nvenc("hevc_nvenc"),
        range(1, 52),
        "hvc1",
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
