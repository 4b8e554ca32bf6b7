"""Sound that goes with a clip."""

from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import OutputContainer

SAMPLE_RATES = (8_000, 192_000)
FALLBACK_RATE = 48_000  # Hz, for sound at a rate that AAC does not know
LAYOUTS = {1: "mono", 2: "stereo"}


class Audio(NamedTuple):
    """Sound as samples.

    Attributes:
        waveform: float[channels, samples] in [-1, 1], mono or stereo.
        sample_rate: Samples per second.
    """

    waveform: np.ndarray
    sample_rate: int

    @property
    def layout(self) -> str:
        """FFmpeg's name for the channels."""
        return LAYOUTS[len(self.waveform)]


def clean_audio(audio: Audio) -> Audio:
    """Makes sound fit for an encoder: float32, clipped to [-1, 1], with silence in place of NaN.

    Raises:
        ValueError: It is neither mono nor stereo, or its sample rate is outside 8 to 192 kHz.
    """
    waveform = np.asarray(audio.waveform, dtype=np.float32)
    if waveform.ndim != 2 or len(waveform) not in LAYOUTS:
        raise ValueError(
            f"Audio is [channels, samples], mono or stereo, got the shape {list(waveform.shape)}. Mix it down first."
        )
    slowest, fastest = SAMPLE_RATES
    if not slowest <= audio.sample_rate <= fastest:
        raise ValueError(f"Audio has {slowest} to {fastest} samples per second, got {audio.sample_rate}. Resample it.")
    return Audio(np.clip(np.nan_to_num(waveform), -1, 1), int(audio.sample_rate))


class Soundtrack:
    """Sound on its way into a container, as AAC.

    Args:
        container: Open for writing.
        audio: What to encode, as far as it is asked for; as `clean_audio` returns it.
    """

    def __init__(self, container: OutputContainer, audio: Audio) -> None:
        self.audio = audio
        self._container = container
        known = av.Codec("aac", "w").audio_rates or []
        rate = self.audio.sample_rate if self.audio.sample_rate in known else FALLBACK_RATE  # FFmpeg resamples
        self._stream: Any = container.add_stream("aac", rate=rate)
        self._stream.layout = self.audio.layout
        self._samples = 0

    def catch_up(self, seconds: Fraction) -> None:
        """Writes up to a moment of the video, so that both lie side by side in the file and end together."""
        waveform, rate = self.audio
        start, end = self._samples, min(round(seconds * rate), waveform.shape[1])
        if start >= end:
            return
        chunk = np.ascontiguousarray(waveform[:, start:end])
        sound = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=self.audio.layout)
        sound.sample_rate = rate
        sound.pts, sound.time_base = start, Fraction(1, rate)
        self._samples = end
        self._encode(sound)

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self._encode(None)

    def _encode(self, sound: av.AudioFrame | None) -> None:
        for packet in self._stream.encode(sound):
            self._container.mux(packet)
