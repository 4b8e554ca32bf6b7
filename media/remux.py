"""Videos that already are what Save MP4 makes: copied into a new file, packet by packet, without encoding again."""

import io
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError

from .audio import Audio, Soundtrack, clean_audio
from .codecs import CODECS
from .mp4 import open_mp4
from .publish import Place
from .resolution import FPS

PROFILES = ("Constrained Baseline", "Baseline", "Main", "High")  # of H.264, H.265 and AV1, as FFmpeg calls them
BT709, LIMITED = 1, 1  # FFmpeg's numbers for the matrix, primaries and transfer, and for the range

Source = str | os.PathLike[str] | io.BytesIO


def misfit(source: Source, codec: str, keep_sound: bool = True) -> str | None:
    """Says why a file cannot be copied as it is, or None if it can.

    It fits if re-encoding could only lose: an MP4 or MOV in the codec that is asked for, 4:2:0 with 8 bits, tagged as
    limited-range BT.709, square pixels, not turned, and with AAC sound if its sound stays.

    Args:
        source: A path, or a whole file in memory.
        codec: A key of `CODECS`.
        keep_sound: Whether its own sound goes into the copy.

    Returns:
        A few words, such as "it is 10-bit 4:2:0 (yuv420p10le)".
    """
    try:
        with _open(source) as file:
            return _misfit_of(file, codec) or (_misfit_of_sound(file) if keep_sound else _misfit_with_new_sound(file))
    except FFmpegError as err:
        return f"it cannot be read: {err.strerror}"


def copy_mp4(
    source: Source,
    path: str | os.PathLike[str] | Place,
    metadata: Mapping[str, str],
    audio: Audio | None = None,
    on_frame: Callable[[], object] = lambda: None,
) -> None:
    """Copies a video that fits into an MP4 with other metadata; none of the source's own comes along.

    Args:
        source: A path, or a whole file in memory.
        path: Of the finished file, or a place whose name shows then. Its folder must exist.
        metadata: Text by key, stored in the file under these very keys.
        audio: Takes the place of the source's own sound, cut where the video ends.
        on_frame: Called for each frame; what it raises ends the copy and leaves no file.

    Raises:
        ValueError: `audio` is not fit for AAC.
        OSError: The folder cannot be written to, the disk is full, or there is such a file.
    """
    clean = clean_audio(audio) if audio else None
    with _open(source) as file:
        video: Any = file.streams.video[0]
        own: Any = file.streams.audio[0] if file.streams.audio and not clean else None
        with open_mp4(path, Fraction(video.average_rate or FPS)) as copy:
            copy.metadata.update(metadata)
            targets = {stream.index: add_copy(copy, stream) for stream in (video, own) if stream}
            sound = Soundtrack(copy, clean) if clean else None
            for packet in file.demux([stream for stream in (video, own) if stream]):
                if packet.dts is None:  # the mark of the end
                    continue
                if packet.stream is video:
                    on_frame()
                    if sound:
                        sound.catch_up(_end(packet, video))
                packet.stream = targets[packet.stream.index]
                copy.mux(packet)
            if sound:
                sound.finish()


def add_copy(copy: OutputContainer, stream: Any) -> Any:
    """Adds a stream for the packets of another one, as they are, and returns it."""
    target: Any = copy.add_stream_from_template(stream, opaque=True)  # else FFmpeg must have an encoder of that name
    if stream.codec_context:  # timecodes and the like have none
        target.codec_context.codec_tag = stream.codec_context.codec_tag  # else H.265 becomes hev1, not for QuickTime
    return target


def frame_count(source: Source) -> int:
    """Returns the number of frames that a file says it has."""
    with _open(source) as file:
        return file.streams.video[0].frames


def _open(source: Source) -> InputContainer:
    if isinstance(source, io.BytesIO):
        source.seek(0)
        return av.open(source, "r")
    return av.open(str(source), "r")


def _end(packet: Any, video: Any) -> Fraction:
    """Returns where a packet's frame ends, in seconds from the first frame."""
    return (packet.pts + (packet.duration or 0) - (video.start_time or 0)) * packet.time_base


def _misfit_of(file: InputContainer, codec: str) -> str | None:
    if "mp4" not in file.format.name:
        return f"its container is {file.format.name}"
    if not file.streams.video:
        return "it has no picture"
    context: Any = file.streams.video[0].codec_context
    if context is None or context.codec_tag != CODECS[codec].tag:
        return f"it is not {CODECS[codec].label} in the form that every player takes ({CODECS[codec].tag})"
    if context.pix_fmt != "yuv420p":
        return f"its pixels are {context.pix_fmt}"
    if context.profile not in PROFILES:
        return f"its profile is {context.profile}, which not every player takes"
    if (context.colorspace, context.color_primaries, context.color_trc) != (BT709,) * 3 or (
        context.color_range != LIMITED
    ):
        return "it is not tagged as limited-range BT.709"
    if context.sample_aspect_ratio not in (None, 0, 1):
        return f"its pixels are not square ({context.sample_aspect_ratio})"
    return _misfit_of_frames(file)


def _misfit_of_frames(file: InputContainer) -> str | None:
    first: Any = None
    count, promised = 0, file.streams.video[0].frames
    for packet in file.demux(video=0):
        if packet.is_discard:
            return "it has frames that its edit list hides"
        count += packet.dts is not None  # the mark of the end has none
        if first is None:
            first = next(iter(packet.decode()), None)
    if first is None:
        return "it has no frame"
    if count < promised:
        return f"it is cut off after {count} of its {promised} frames"
    return f"it is turned by {first.rotation} degrees" if first.rotation else None


def _misfit_with_new_sound(file: InputContainer) -> str | None:
    return "its pictures begin later than the new sound would" if file.streams.video[0].start_time else None


def _misfit_of_sound(file: InputContainer) -> str | None:
    if not file.streams.audio:
        return None
    context: Any = file.streams.audio[0].codec_context
    name = context.name if context else "unknown"
    return None if name == "aac" else f"its sound is {name}"
