"""The sound that a file brings: tracks that are copied, and tracks that are decoded to be encoded as AAC."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import takewhile
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from .audio import LAYOUTS, MOST, Audio, Copied, Sound, Source, note_on_sound, open_source
from .video_reading import WHOLE, Window

GAP = Fraction(1, 20)  # seconds without sound that stay so; less is rounding
LEAD = Fraction(1, 4)  # seconds of a part's sound before it; a packet sounds right after the one before it alone
LONGEST_GAP = 3600  # seconds; longer ones are false times, and their silence would fill the memory


def sounds_of(source: Source, window: Window = WHOLE) -> list[Sound]:
    """Returns all the sound that a file brings, in order, on the file's own clock.

    AAC of a whole MP4 is copied; the rest is decoded into memory.

    Args:
        source: A path, or a whole file in memory.
        window: The part of it that is wanted.

    Raises:
        ValueError: A sound pauses for hours.
    """
    with open_source(source) as file:
        in_mp4 = "mp4" in file.format.name
        kinds = [stream.codec_context.name if stream.codec_context else None for stream in file.streams.audio]
    found = (
        Copied(source, number) if kind == "aac" and in_mp4 and window == WHOLE else _decode(source, number, window)
        for number, kind in enumerate(kinds)
        if kind
    )
    return [sound for sound in found if sound]


def start_of(sounds: Iterable[Sound]) -> Fraction | None:
    """Returns when the first sound begins, in seconds of its file's clock, or None without one."""
    return min((_start(sound) for sound in sounds), default=None)


def counted_from(sounds: Iterable[Sound], zero: Fraction) -> list[Sound]:
    """Returns sounds on the clock of a file that begins at a moment of theirs."""
    return [
        sound._replace(zero=zero) if isinstance(sound, Copied) else sound._replace(start=sound.start - zero)
        for sound in sounds
    ]


def notes_on(source: Source, kept: Iterable[Sound] = (), copied: bool = False) -> list[str]:
    """Returns what is changed in the sound that a file brings, and what is left out.

    Args:
        source: A path, or a whole file in memory.
        kept: What `sounds_of` makes of it.
        copied: Whether the whole file is copied instead.
    """
    said = []
    with open_source(source) as file:
        for number, stream in enumerate(file.streams.audio):
            if not stream.codec_context:
                said.append(f"Sound track {number + 1} is left out: FFmpeg here has no decoder for it.")
            elif stream.codec_context.name != "aac" and not copied:
                said.append(f"Sound track {number + 1} was {stream.codec_context.name} and is AAC now.")
                if stream.layout.nb_channels not in LAYOUTS:
                    said.append(f"Its {stream.layout.nb_channels} channels are mixed to {MOST}.")
    return said + [note for note in map(note_on_sound, kept) if note]


def _start(sound: Sound) -> Fraction:
    if isinstance(sound, Audio):
        return sound.start
    with open_source(sound.source) as file:
        stream: Any = file.streams.audio[sound.number]
        return Fraction((stream.start_time or 0) * stream.time_base)


def _decode(source: Source, number: int, window: Window) -> Audio | None:
    with open_source(source) as file:
        stream: Any = file.streams.audio[number]
        if window.start > LEAD:  # else from the beginning: a seek to 0 misses a packet that lies before it
            file.seek(int((window.start - LEAD) / stream.time_base), stream=stream)
        last = window.end
        pieces = list(takewhile(lambda piece: last is None or piece[0] < last, _pieces(file, stream)))
        if not pieces:
            return None
        start, _, rate, layout = pieces[0]
        named = "" if "channels" in layout else layout  # FFmpeg's word for an order that nobody knows
        begin = max(0, round((window.start - start) * rate)) if window.start > 0 else 0
        end = None if window.end is None else max(0, round((window.end - start) * rate))
        wave = joined(pieces)[:, begin:end]
        if not wave.shape[1]:  # it ended before
            return None
        return Audio(wave, rate, named, start + Fraction(begin, rate), window == WHOLE, stream.language or "")


Piece = tuple[Fraction, np.ndarray, int, str]  # time in seconds, float32[channels, samples], samples per second, layout


def joined(pieces: list[Piece]) -> np.ndarray:
    """Returns float32[channels, samples], with silence for pauses; ValueError if one is above `LONGEST_GAP`."""
    parts: list[np.ndarray] = []
    length = 0
    for time, wave, rate, _ in pieces:
        gap = round((time - pieces[0][0]) * rate) - length
        if gap > LONGEST_GAP * rate:
            raise ValueError(
                f"The sound of this video pauses for {gap // rate} seconds, and the longest pause is {LONGEST_GAP}: "
                "its times are probably false. Convert the video first, or connect a sound to take its place."
            )
        if gap > GAP * rate:
            parts.append(np.zeros((len(wave), gap), np.float32))
            length += gap
        parts.append(wave)
        length += wave.shape[1]
    return np.concatenate(parts, axis=1)


def _pieces(file: Any, stream: Any) -> Iterator[Piece]:
    """Decodes a track; all pieces have the rate and the layout of the first."""
    resampler: Any = None
    time = Fraction(0)
    for packet in file.demux(stream):
        try:
            decoded = packet.decode()
        except FFmpegError:  # a damaged place: what follows keeps its time
            continue
        for frame in decoded:
            if resampler is None:
                fits = frame.layout.nb_channels in LAYOUTS
                resampler = av.AudioResampler("fltp", frame.layout.name if fits else MOST, frame.sample_rate)
            for piece in resampler.resample(frame):
                if piece.pts is not None:
                    time = piece.pts * piece.time_base
                yield time, piece.to_ndarray(), piece.sample_rate, piece.layout.name
                time += Fraction(piece.samples, piece.sample_rate)
