"""What a video loses, or holds in another way, where it is saved: in words, for the node."""

from typing import Any

from av.container import InputContainer

from . import hdr, pixels
from .audio import Source, open_source
from .video_reading import is_cover, video_of


def notes_on_streams(source: Source) -> list[str]:
    """Returns which streams of a file go into no MP4 of ours: only one video and its sounds do."""
    with open_source(source) as file:
        left = [*_streams_left(file)]
    return [f"Left out, as only pictures and sound are saved: {', '.join(left)}."] if left else []


def _streams_left(file: InputContainer) -> list[str]:
    covers = sum(map(is_cover, file.streams.video))
    chapters = getattr(file, "chapters", None)  # PyAV before 15 does not read them
    counts = {
        "further video": len(file.streams.video) - covers - 1,
        "cover picture": covers,
        "subtitle track": len(file.streams.subtitles),
        "data track": len(file.streams.data),
        "attachment": len(file.streams.attachments),
        "chapter": len(chapters()) if chapters else 0,
    }
    return [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count > 0]


def notes_on_encoding(source: Source, codec: str) -> list[str]:
    """Returns what the pictures of a file lose when they are encoded again, as 8-bit BT.709.

    Args:
        source: A path, or a whole file in memory.
        codec: A key of `CODECS`, the one that was asked for.
    """
    with open_source(source) as file:
        video = video_of(file)
        frame: Any = next(file.decode(video), None)
        if frame is None:
            return []
        context: Any = video.codec_context
        said = _notes_on_colours(context, frame, codec)
        if pixels.has_alpha(frame):
            said.append(ALPHA)
        if frame.interlaced_frame:
            said.append(
                "The video is interlaced: both half pictures of a frame are saved as one, so moving edges show combs. "
                "Deinterlace it first."
            )
    return said


ALPHA = "Transparency (alpha) is not saved: MP4 has none. Colours are saved as they are under it."


def _notes_on_colours(context: Any, frame: Any, codec: str) -> list[str]:
    transfer, primaries = int(context.color_trc), int(context.color_primaries)
    said = []
    if transfer in hdr.NAMES:
        said.append(
            f"The video is HDR ({hdr.NAMES[transfer]}): its highlights were brought below the white of ordinary video."
            + _instead(context, codec)
        )
    elif primaries in hdr.TO_BT709:
        said.append(f"Colours more saturated than those of BT.709 were cut.{_instead(context, codec)}")
    elif not {transfer, primaries} <= PLAIN:
        said.append(f"The video's colours (FFmpeg's transfer {transfer}, primaries {primaries}) were taken for BT.709.")
    bits = pixels.bits_of(frame)
    if bits > 8:
        said.append(f"{bits} bits per colour became 8." + ("" if said else _instead(context, codec)))
    return said


# FFmpeg's numbers for what looks as BT.709 does, or nearly: unknown, BT.601, 170M, 240M, sRGB and BT.2020's own curve.
PLAIN = {1, 2, 5, 6, 7, 13, 14, 15}


def _instead(context: Any, codec: str) -> str:
    """Returns how to keep all of it, if another codec would copy the file."""
    name = {"hevc": "h265", "libdav1d": "av1", "av1": "av1"}.get(context.name)
    return f" Codec {name} copies such a video where it can." if name and name != codec else ""
