"""Sound that goes with a clip: samples that are encoded, and tracks of a file that are copied."""

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer, OutputContainer

SAMPLE_RATES = (8_000, 192_000)
FALLBACK_RATE = 48_000  # Hz, for sound at a rate that AAC does not know
# What so many channels are, if nobody says it: FFmpeg's names, in the order that WAV gives them.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
SAME = {"5.0(side)": "5.0", "5.1(side)": "5.1"}  # the same channels in the same order, by the names that AAC has
MOST = "5.1"  # what more channels are mixed to: few players know more

Source = str | os.PathLike[str] | io.BytesIO


class Audio(NamedTuple):
    """Sound as samples."""

    waveform: np.ndarray  # float[channels, samples] in [-1, 1], 1 to 8 channels
    sample_rate: int  # samples per second
    named: str = ""  # FFmpeg's name for the channels; "" if only their number is known
    start: Fraction = Fraction(0)  # seconds from the beginning of the file to the first sample, not negative
    whole: bool = False  # whether it goes on where it is longer than the video
    language: str = ""  # ISO 639-2 code, or ""

    @property
    def layout(self) -> str:
        """FFmpeg's name for the channels."""
        name = self.named or LAYOUTS[len(self.waveform)]
        return SAME.get(name, name)

    @property
    def stored(self) -> str:
        """The name of the channels in the file."""
        return self.layout if len(self.waveform) <= av.AudioLayout(MOST).nb_channels else MOST

    def track(self, container: OutputContainer) -> "Soundtrack":
        """Begins to encode it into a container."""
        return Soundtrack(container, self)


class Copied(NamedTuple):
    """A track of a file whose packets are taken as they are."""

    source: Source  # a path, or a whole file in memory
    number: int  # of the track among the file's sounds, from 0
    zero: Fraction = Fraction(0)  # the moment of the source, in seconds, at which the new file begins

    def track(self, container: OutputContainer) -> "CopiedTrack":
        """Begins to copy it into a container."""
        return CopiedTrack(container, self)


Sound = Audio | Copied


def clean_audio(audio: Audio) -> Audio:
    """Makes sound fit for an encoder: float32, clipped to [-1, 1], with silence in place of NaN.

    Raises:
        ValueError: It has no channel or more than 8, or its sample rate is outside 8 to 192 kHz.
    """
    waveform = np.asarray(audio.waveform, dtype=np.float32)
    if waveform.ndim != 2 or len(waveform) not in LAYOUTS:
        raise ValueError(
            f"Audio is [channels, samples] with 1 to {max(LAYOUTS)} channels, got the shape {list(waveform.shape)}. "
            "Mix it down first."
        )
    slowest, fastest = SAMPLE_RATES
    if not slowest <= audio.sample_rate <= fastest:
        raise ValueError(f"Audio has {slowest} to {fastest} samples per second, got {audio.sample_rate}. Resample it.")
    samples = np.nan_to_num(waveform, posinf=0, neginf=0)
    np.clip(samples, -1, 1, out=samples)
    return audio._replace(waveform=samples, sample_rate=int(audio.sample_rate))


def note_on_sound(sound: Sound) -> str:
    """Returns what the file will not hold of a sound as it is, or nothing."""
    if isinstance(sound, Copied):
        return ""
    said = [] if sound.waveform.shape[1] else ["The sound has no samples: the clip is silent."]
    if len(sound.waveform) in LAYOUTS and sound.stored != sound.layout:
        said.append(f"The sound's channels ({sound.layout}) are mixed to {sound.stored}, the most that players know.")
    flawed = int(np.count_nonzero(~np.isfinite(sound.waveform).all(0)))
    if flawed:
        said.append(
            f"The sound holds NaN or infinity in {flawed} of its {sound.waveform.shape[1]} samples: silence there."
        )
    return " ".join(said)


def open_source(source: Source) -> InputContainer:
    """Opens a file for reading; the same one may be open several times, in memory too."""
    if isinstance(source, io.BytesIO):
        return av.open(io.BytesIO(source.getvalue()), "r")  # shares the memory, with a position of its own
    return av.open(str(source), "r")


def add_copy(copy: OutputContainer, stream: Any) -> Any:
    """Adds a stream for the packets of another one, as they are, and returns it."""
    target: Any = copy.add_stream_from_template(stream, opaque=True)  # else FFmpeg must have an encoder of that name
    if stream.codec_context:  # timecodes and the like have none
        target.codec_context.codec_tag = stream.codec_context.codec_tag  # else H.265 becomes hev1, not for QuickTime
    return target


class Soundtrack:
    """Samples on their way into a container, as AAC.

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
        self._stream.layout = self.audio.stored  # FFmpeg mixes
        self._samples = 0
        if audio.language:
            self._stream.metadata["language"] = audio.language

    def catch_up(self, seconds: Fraction) -> None:
        """Writes up to a moment of the video, so that both lie side by side in the file and end together."""
        self._write(round((seconds - self.audio.start) * self.audio.sample_rate))

    def finish(self) -> None:
        """Writes the rest if it is wanted, and what the encoder still holds."""
        if self.audio.whole:
            self._write(self.audio.waveform.shape[1])
        self._encode(None)

    def _write(self, end: int) -> None:
        waveform, rate = self.audio.waveform, self.audio.sample_rate
        start, end = self._samples, min(end, waveform.shape[1])
        if start >= end:
            return
        chunk = np.ascontiguousarray(waveform[:, start:end].T).reshape(1, -1)  # PyAV takes up to 7 planes
        sound = av.AudioFrame.from_ndarray(chunk, format="flt", layout=self.audio.layout)
        sound.sample_rate = rate
        sound.pts, sound.time_base = round(self.audio.start * rate) + start, Fraction(1, rate)
        self._samples = end
        self._encode(sound)

    def _encode(self, sound: av.AudioFrame | None) -> None:
        for packet in self._stream.encode(sound):
            self._container.mux(packet)


class CopiedTrack:
    """A track of a file on its way into a container, packet by packet."""

    def __init__(self, container: OutputContainer, copied: Copied) -> None:
        self._container = container
        self._file = open_source(copied.source)
        stream: Any = self._file.streams.audio[copied.number]
        self._target = add_copy(container, stream)
        self._zero = round(copied.zero / stream.time_base)
        self._packets: Iterator[Any] = iter(self._file.demux(stream))
        self._end = Fraction(0)
        if stream.language:
            self._target.metadata["language"] = stream.language

    def catch_up(self, seconds: Fraction) -> None:
        """Copies up to a moment of the video, so that both lie side by side in the file."""
        while self._end < seconds and self._copy_one():
            pass

    def finish(self) -> None:
        """Copies the rest."""
        while self._copy_one():
            pass
        self._file.close()

    def _copy_one(self) -> bool:
        for packet in self._packets:
            if packet.dts is None:  # the mark of the end
                continue
            packet.pts, packet.dts = packet.pts - self._zero, packet.dts - self._zero
            self._end = (packet.pts + (packet.duration or 0)) * packet.time_base
            packet.stream = self._target
            self._container.mux(packet)
            return True
        return False
