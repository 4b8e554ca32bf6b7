"""Sound that goes with a clip."""

from typing import NamedTuple

import numpy as np

SAMPLE_RATES = (8_000, 192_000)
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
