"""Videos that are encoded again: how their pictures are to be written, and frame after frame, each with its time."""

from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from av.container import InputContainer
from av.error import InvalidDataError

from .audio import Source, open_source
from .mp4 import FPS_RANGE
from .pixels import Orientation, orientation_of, to_rgb
from .resolution import FPS, Size

# Seconds before a moment to which is sought, until a frame comes that is not after it; None is the file's beginning. Of
# an open group of pictures, x265's usual one, the key frame is decoded first and some frames before it are shown first.
LEADS = (0, 2, 16, None)
FINEST_TICK = Fraction(1, 90_000)  # seconds; finer times are rounded to it, as encoders count in 32 bits


class Window(NamedTuple):
    """The part of a file that is wanted, in seconds of its own clock; no `duration` means to the end."""

    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    @property
    def end(self) -> Fraction | None:
        """Where it ends, or None."""
        return None if self.duration is None else self.start + self.duration


WHOLE = Window()


class Pictures(NamedTuple):
    """The pictures of a file, as they will be written."""

    source: Source  # a path, or a whole file in memory
    window: Window  # the part of it that is wanted
    size: Size  # of a frame when it is turned upright
    aspect: Fraction  # width of a pixel by its height, then
    rate: Fraction  # frames per second; their mean where they come unevenly
    tick: Fraction | None  # seconds; the unit of the times of uneven frames; None where they come evenly
    zero: Fraction  # the moment of the source, in seconds, at which the new file begins
    count: int  # of frames, as far as the file tells
    orientation: Orientation  # how a frame is turned upright
    transfer: int  # FFmpeg's number for its curve of brightness
    primaries: int  # FFmpeg's number for its primaries


def video_of(file: InputContainer) -> Any:
    """Returns the stream of a file that is its video, the first that is no cover picture; ValueError without one."""
    for stream in file.streams.video:
        if not is_cover(stream):
            return stream
    raise ValueError("This file has no video. Choose another one.")


def is_cover(stream: Any) -> bool:
    """Returns whether a stream is a picture that goes with a file, such as the cover of an album."""
    flags = getattr(stream, "disposition", None)
    return bool(flags is not None and "attached_pic" in (getattr(flags, "name", None) or ""))


def look(source: Source, window: Window = WHOLE, sound_start: Fraction | None = None) -> Pictures:
    """Finds out how the pictures of a file are to be written. It reads all of the file, and decodes one frame of it.

    Of a part it decodes the first frame, too: the pictures before it may be of another size.

    Args:
        source: A path, or a whole file in memory.
        window: The part of it that is wanted.
        sound_start: When the sound that goes with them begins, on the clock of the source; None without one.

    Raises:
        ValueError: There is no frame in the window.
        FFmpegError: The file cannot be read.
    """
    with open_source(source) as file:
        video = video_of(file)
        if video.codec_context is None:  # to decode it would end the process
            raise ValueError("FFmpeg here has no decoder for this video. Convert it first, for example to H.264.")
        times, held, frame = _times(file, video, window)
        frame = _first_within(source, window) if window.start > 0 and times else frame
        if frame is None or not times:
            raise ValueError("This part of the video holds no frame that can be decoded. Choose another part or file.")
        context: Any = video.codec_context
        orientation = orientation_of(frame)
        aspect = Fraction(video.sample_aspect_ratio or context.sample_aspect_ratio or 1)
        first = times[0] * video.time_base if times[0] is not None else Fraction(0)
        zero = first if sound_start is None else min(first, sound_start)
        rate = _even_rate(video, times, held) if first == zero else None
        mean = rate or min(max(Fraction(video.average_rate or FPS), Fraction(FPS_RANGE[0])), Fraction(FPS_RANGE[1]))
        return Pictures(
            source,
            window,
            Size(*(frame.height, frame.width) if orientation.swapped else (frame.width, frame.height)),
            1 / aspect if orientation.swapped else aspect,
            mean,
            None if rate else max(Fraction(video.time_base), FINEST_TICK),
            zero,
            len(times),
            orientation,
            int(context.color_trc),
            int(context.color_primaries),
        )


def frames(pictures: Pictures) -> Iterator[tuple[np.ndarray, int | None, int]]:
    """Decodes the frames of a window.

    Yields:
        float32[H, W, 3], RGB in [0, 1] as BT.709 stores it; and where frames come unevenly their time and duration, in
        ticks from the beginning of the new file, else None and 1.

    Raises:
        ValueError: A later frame is of another size.
    """
    step = max(1, round(1 / pictures.rate / pictures.tick)) if pictures.tick else 1
    last = -1
    for number, (frame, time) in enumerate(_decoded(pictures.source, pictures.window), 1):
        rgb = pictures.orientation.upright(to_rgb(frame, pictures.transfer, pictures.primaries))
        size = Size(rgb.shape[1], rgb.shape[0])
        if size != pictures.size:  # what is larger would be cropped
            raise ValueError(
                f"The frames of this video change from {pictures.size} to {size} at frame {number}, and a clip has one "
                "size. Convert it to one size first, or choose a part of it."
            )
        if pictures.tick is None:
            yield rgb, None, 1
            continue
        due = last + step if time is None else round((time - pictures.zero) / pictures.tick)
        last = max(due, last + 1)  # some files repeat a time, which no player takes
        yield rgb, last, _duration(frame, time, pictures) or step


def _first_within(source: Source, window: Window) -> Any:
    with closing(_decoded(source, window)) as decoded:
        return next((frame for frame, _ in decoded), None)


def _decoded(source: Source, window: Window) -> Generator[tuple[Any, Fraction | None], None, None]:
    start, end = window.start, window.end
    for lead in LEADS if start > 0 else LEADS[-1:]:
        with open_source(source) as file:
            video = video_of(file)
            video.thread_type = "AUTO"
            if lead is not None:
                file.seek(int(max(Fraction(0), start - lead) / video.time_base), stream=video)
            decoded = _frames(file, video)
            first = next(decoded, None)
            if lead is not None and (first is None or (first[1] is not None and first[1] > start)):
                continue
            for frame, time in chain([first] if first else [], decoded):
                if time is not None and end is not None and time >= end:
                    return
                if time is None or time >= start:
                    yield frame, time
            return


def _frames(file: InputContainer, video: Any) -> Iterator[tuple[Any, Fraction | None]]:
    for packet in file.demux(video):
        try:
            decoded = packet.decode()
        except InvalidDataError:  # a damaged place: the rest is still worth saving, as in ComfyUI
            continue
        for frame in decoded:
            yield frame, _time_of(frame, video)


def _time_of(frame: Any, stream: Any) -> Fraction | None:
    time = frame.pts if frame.pts is not None else frame.dts
    return None if time is None else time * (frame.time_base or stream.time_base)


def _duration(frame: Any, time: Fraction | None, pictures: Pictures) -> int:
    """Returns the duration of a frame in ticks, as the file gives it, within the window; 0 if it gives none."""
    duration = Fraction((getattr(frame, "duration", 0) or 0) * (frame.time_base or 0))
    if time is not None and pictures.window.end is not None:
        duration = min(duration, pictures.window.end - time)
    return round(duration / pictures.tick) if pictures.tick else 0


def _times(file: InputContainer, video: Any, window: Window) -> tuple[list[int | None], Fraction, Any]:
    """Looks at every packet of a file.

    Returns:
        The times of the frames in a window, in order, None where one is unknown; the seconds that the last one lasts, 0
        if the file does not tell; and the file's first frame.
    """
    first: Any = None
    times: list[int | None] = []
    durations: dict[int | None, int] = {}
    for packet in file.demux(video):
        if first is None:
            first = _first_of(packet)
        if packet.dts is None and packet.pts is None and not packet.size:  # the mark of the end
            continue
        if not packet.is_discard and _is_within(packet.pts, video, window):
            times.append(packet.pts)
            durations[packet.pts] = packet.duration or 0
    known = sorted(time for time in times if time is not None)
    times = [*known] if len(known) == len(times) else times
    return times, (durations[times[-1]] if times else 0) * video.time_base, first


def _first_of(packet: Any) -> Any:
    try:
        return next(iter(packet.decode()), None)
    except InvalidDataError:
        return None


def _is_within(time: int | None, video: Any, window: Window) -> bool:
    if time is None:
        return True
    moment = time * video.time_base
    return moment >= window.start and (window.end is None or moment < window.end)


def _even_rate(video: Any, times: list[int | None], held: Fraction) -> Fraction | None:
    """Returns the frames per second at which all frames come evenly, as exactly as the file can say, or None.

    Args:
        held: Seconds that the last frame lasts; one that is held longer than the others has no place in an even rate.
    """
    for rate in (video.average_rate, video.guessed_rate, video.base_rate):
        if not rate or not FPS_RANGE[0] <= rate <= FPS_RANGE[1] or held > Fraction(3, 2) / rate:
            continue
        if _is_even(times, video.time_base, Fraction(rate)):
            return Fraction(rate)
    return None


def _is_even(times: list[int | None], tick: Fraction, rate: Fraction) -> bool:
    allowed = min(tick, 1 / rate / 4)  # times are rounded to the file's ticks
    if times[0] is None:
        return all(time is None for time in times)  # as AVI has it: every frame lasts as long
    return all(
        time is not None and abs((time - times[0]) * tick - number / rate) <= allowed
        for number, time in enumerate(times)
    )
