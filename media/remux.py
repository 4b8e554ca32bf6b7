"""Videos that already are what Save MP4 makes: copied into a new file, packet by packet, without encoding again."""

import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.error import FFmpegError

from . import hdr
from .audio import Audio, Source, add_copy, clean_audio, open_source
from .codecs import CODECS
from .mp4 import open_mp4
from .publish import Place
from .resolution import FPS
from .video_reading import video_of

PROFILES = ("Constrained Baseline", "Baseline", "Main", "High")  # of H.264, H.265 and AV1, as FFmpeg calls them
# Whoever plays H.265 or AV1 plays them with 10 bits, too; of H.264 that is not so.
PIXELS = {
    "h264": {"yuv420p": PROFILES},
    "h265": {"yuv420p": PROFILES, "yuv420p10le": ("Main 10",)},
    "av1": {"yuv420p": PROFILES, "yuv420p10le": PROFILES},
}
BT709, LIMITED = 1, 1  # FFmpeg's numbers for the matrix, primaries and transfer, and for the range
BT2020 = 9  # and for the matrix and primaries of HDR, with each of its transfers
COLOURS = {(BT709,) * 3, (BT2020, hdr.BT2020, hdr.PQ), (BT2020, hdr.BT2020, hdr.HLG)}


def misfit(source: Source, codec: str, keep_sound: bool = True) -> str | None:
    """Returns why a file cannot be copied as it is, or None if it can.

    It fits if re-encoding could only lose: an MP4 or MOV in the codec that is asked for, 4:2:0 with 8 bits, tagged as
    limited-range BT.709, not turned, and with AAC sound if its sound stays. H.265 and AV1 may have 10 bits, and HDR.

    Args:
        source: A path, or a whole file in memory.
        codec: A key of `CODECS`.
        keep_sound: Whether its own sound goes into the copy.

    Returns:
        A few words, such as "it is 10-bit 4:2:0 (yuv420p10le)".
    """
    try:
        with open_source(source) as file:
            reason = _misfit_of(file, codec)
            if reason or keep_sound:
                return reason or _misfit_of_sound(file)
            return "its pictures begin later than the new sound would" if video_of(file).start_time else None
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
    with open_source(source) as file:
        video = video_of(file)
        own: list[Any] = [] if clean else [stream for stream in file.streams.audio if stream.codec_context]
        with open_mp4(path, Fraction(video.average_rate or FPS)) as copy:
            copy.metadata.update(metadata)
            targets = {stream.index: add_copy(copy, stream) for stream in (video, *own)}
            for stream in own:
                if stream.language:
                    targets[stream.index].metadata["language"] = stream.language
            sound = clean.track(copy) if clean else None
            for packet in file.demux([video, *own]):
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


def frame_count(source: Source) -> int:
    """Returns the number of frames that a file says it has."""
    with open_source(source) as file:
        return video_of(file).frames


def _end(packet: Any, video: Any) -> Fraction:
    """Returns where a packet's frame ends, in seconds from the first frame."""
    return (packet.pts + (packet.duration or 0) - (video.start_time or 0)) * packet.time_base


def _misfit_of(file: InputContainer, codec: str) -> str | None:
    if "mp4" not in file.format.name:
        return f"its container is {file.format.name}"
    try:
        video = video_of(file)
    except ValueError:
        return "it has no picture"
    context: Any = video.codec_context
    if context is None or context.codec_tag != CODECS[codec].tag:
        return f"it is not {CODECS[codec].label} in the form that every player takes ({CODECS[codec].tag})"
    profiles = PIXELS[codec].get(context.pix_fmt)
    if profiles is None:
        return f"its pixels are {context.pix_fmt}"
    if context.profile not in profiles:
        return f"its profile is {context.profile}, which not every player takes"
    colours = (context.colorspace, context.color_primaries, context.color_trc)
    if colours not in COLOURS or context.color_range != LIMITED:
        return "it is not tagged as limited-range BT.709"
    return _misfit_of_frames(file)


def _misfit_of_frames(file: InputContainer) -> str | None:
    first: Any = None
    video = video_of(file)
    count, promised = 0, video.frames
    for packet in file.demux(video):
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


def _misfit_of_sound(file: InputContainer) -> str | None:
    names = [stream.codec_context.name for stream in file.streams.audio if stream.codec_context]
    return next((f"its sound is {name}" for name in names if name != "aac"), None)
