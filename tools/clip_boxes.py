"""MP4 and QuickTime clips: the texts in them, what else they hold, and a copy of pictures and sound alone.

The format: ISO/IEC 14496-12 (boxes), 14496-15 (NAL units in samples), Apple's QuickTime File Format.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

VIDEOS = (".mp4", ".mov", ".m4v")
# Codecs whose streams are copied, and the units of a picture that are: all that the decoder needs. Others, such as the
# SEI in which encoders and cameras write what they like, stay behind. None: there are no such units.
UNITS: dict[str, str | None] = {
    "h264": "1-5|7-9|19-20", "hevc": "0-9|16-21|32-36", "av1": "1-4|6-7", "aac": None, "opus": None, "mp3": None,
    "alac": None, "flac": None, "ac3": None, "eac3": None, "pcm_s16le": None, "pcm_s24le": None,
}  # fmt: skip
WITH_BOXES = set(b"moov trak mdia minf dinf stbl udta mvex edts moof traf mfra meta ilst gmhd tapt tref".split())
TABLES = set(b"stsz stz2 stco co64 stts ctts stsc stss stps elst sdtp trun sidx tfra sgpd sbgp cslg saiz saio".split())
KNOWN = TABLES | set(
    b"ftyp mvhd tkhd mdhd hdlr vmhd smhd nmhd gmin dref stsd keys iods trex mehd mfhd tfhd tfdt mfro load clef prof"
    b" enof chap chpl text loci".split()
)
EMPTY = set(b"free skip wide".split())  # room that is to hold nothing
_RUNS = re.compile(rb"(?:[\x20-\x7e]\0){6,}|(?:\0[\x20-\x7e]){6,}|[\t\n\r\x20-\x7e\x80-\xff]{6,}")
MOST_READ = 8 << 20  # bytes of a box whose texts are looked at


class Box(NamedTuple):
    """A box: its place, such as "moov.udta.meta", the kind, and where its content begins and ends."""

    place: str
    kind: bytes
    begin: int
    end: int


class Clip(NamedTuple):
    """What a clip holds: metadata by name; by place other texts, readable parts of bytes, and the size of the rest."""

    metadata: dict[str, str]
    texts: dict[str, str]
    runs: dict[str, str]
    unread: dict[str, int]
    left: tuple[str, ...]  # streams that no copy has


def read(path: Path) -> Clip:
    """Returns what a clip holds beside its pictures and sound.

    Raises:
        OSError: It cannot be read; PyAV's errors are of this kind, too.
    """
    import av

    with av.open(str(path)) as file:
        metadata = dict(file.metadata)
        texts, runs = dict(_texts_of(file)), {}
        left = {f"streams[{stream.index}]": stream.type for stream in file.streams if not is_copied(stream)}
        unread = {place: 0 for place, kind in left.items() if kind != "subtitle"}
        samples = 0
        seen = {stream.index: _left_units(stream) for stream in file.streams.video if is_copied(stream)}
        for packet in file.demux():
            if not packet.size:
                continue
            samples += packet.size
            place = f"streams[{packet.stream.index}]"
            if left.get(place) == "subtitle":
                texts[f"{place}[{len(texts)}]"] = bytes(packet)[2:].decode("utf-8", "replace")  # after its length
            elif place in unread:
                unread[place] += packet.size
                add_runs(runs, place, bytes(packet))
            elif units := seen.get(packet.stream.index):
                for one in units(packet):
                    add_runs(runs, f"{place}.units", one)
    with path.open("rb") as stream:
        _read_boxes(stream, set(metadata.values()), runs, unread, samples)
    return Clip(metadata, texts, runs, {place: size for place, size in unread.items() if size}, tuple(left))


def is_copied(stream: Any) -> bool:
    """Returns whether a stream comes into a copy: pictures that move, or sound, in a known codec."""
    name = stream.codec_context.name if stream.codec_context else ""
    still = stream.type == "video" and "attached_pic" in _flags(stream)
    return stream.type in ("video", "audio") and not still and canonical(name) in UNITS


def canonical(name: str) -> str:
    """Returns the name of a codec whose decoder has a name of its own, such as libdav1d."""
    return {"libdav1d": "av1", "libaom-av1": "av1", "mp3float": "mp3", "libopus": "opus"}.get(name, name)


def copy(path: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Writes a clip of the same pictures and sound, not encoded again, with other metadata. Nothing else comes along.

    Raises:
        ValueError: It has no pictures in a codec that can be copied without what else may stand in them.
        OSError: It cannot be read or written.
    """
    import av

    mp4, remux, resolution = (importlib.import_module(f"pack.media.{name}") for name in ("mp4", "remux", "resolution"))

    with av.open(str(path)) as file:
        copied = [stream for stream in file.streams if is_copied(stream)]
        video = next((stream for stream in copied if stream.type == "video"), None)
        if video is None:
            raise ValueError("it has no pictures in H.264, H.265 or AV1, and of others no clean copy can be made")
        with av.open(
            str(target), "w", options=mp4.muxer_options(Fraction(video.average_rate or resolution.FPS))
        ) as made:
            made.metadata.update(metadata)
            streams = {stream.index: remux.add_copy(made, stream) for stream in copied}
            passed = {stream.index: _units(stream, streams[stream.index], "pass") for stream in copied}
            for packet in file.demux(copied):
                if packet.dts is not None:
                    target_stream = streams[packet.stream.index]
                    for one in passed[packet.stream.index](packet):
                        one.stream = target_stream
                        made.mux(one)


def _units(stream: Any, target: Any, action: str) -> Any:
    """Returns what takes a packet and returns packets of only the units that are copied, or of the others."""
    from av.bitstream import BitStreamFilterContext

    name = canonical(stream.codec_context.name)
    units = UNITS[name]
    if units is None:
        if target and name == "aac":
            target.codec_context.extradata = clean_settings(bytes(target.codec_context.extradata or b""))
        return lambda packet: [packet]
    bitstream = BitStreamFilterContext(f"filter_units={action}_types={units}", stream, target)
    if target:  # the filter takes units out of packets, and passes on those that stand before the first
        target.codec_context.extradata = clean_extradata(bytes(target.codec_context.extradata or b""), stream)
    return bitstream.filter


def clean_extradata(extradata: bytes, stream: Any) -> bytes:
    """Returns the parameter sets of a stream, without other units such as SEI.

    Args:
        extradata: As the filter leaves it: units behind start codes, or OBUs of AV1.
        stream: A stream of `UNITS`.
    """
    name = canonical(stream.codec_context.name)
    if name == "av1":  # the sequence header is the first OBU, with a size of one byte
        return extradata[: 2 + extradata[1]] if extradata[:1] and extradata[0] >> 3 & 15 == 1 else b""
    units = [unit.rstrip(b"\0") for unit in extradata.split(b"\0\0\1") if unit.strip(b"\0")]
    kept = {7, 8, 13, 15} if name == "h264" else {32, 33, 34}
    return b"".join(
        b"\0\0\0\1" + unit for unit in units if (unit[0] & 31 if name == "h264" else unit[0] >> 1 & 63) in kept
    )


def clean_settings(extradata: bytes) -> bytes:
    """Returns the settings of AAC (AudioSpecificConfig, at most eight bytes) without what stands behind them.

    Those that describe each channel, or a rate that has no number, are longer, and stay as they are.
    """
    described = len(extradata) > 1 and (not extradata[1] >> 3 & 15 or (extradata[0] & 7 == 7 and extradata[1] >> 7))
    return extradata if described else extradata[:8]


def _left_units(stream: Any) -> Any:
    """Returns what takes a packet and yields the bytes of the units that no copy has."""
    left = _units(stream, None, "remove")
    return lambda packet: [bytes(one) for one in left(packet)]


def _flags(stream: Any) -> str:
    return str(getattr(stream, "disposition", ""))


def _texts_of(file: Any) -> Iterator[tuple[str, str]]:
    parts = {f"streams[{stream.index}]": stream.metadata for stream in file.streams}
    if hasattr(file, "chapters"):  # an older PyAV has none
        parts |= {f"chapters[{index}]": one["metadata"] for index, one in enumerate(file.chapters())}
    for place, metadata in parts.items():
        for name, text in metadata.items():
            yield f"{place}.{name}", text


def _read_boxes(
    stream: BinaryIO, metadata: set[str], runs: dict[str, str], unread: dict[str, int], samples: int
) -> None:
    """Adds the readable parts of boxes, and the places of boxes that no player needs."""
    media = 0
    for box in boxes(stream):
        size = box.end - box.begin
        if box.kind == b"mdat":
            media += size
            continue
        stream.seek(box.begin)
        data = stream.read(min(size, MOST_READ)) if box.kind not in TABLES else b""
        if box.kind in EMPTY and not data.strip(b"\0"):
            continue
        if ".ilst." in box.place and _is_metadata(data, metadata):
            continue
        if box.kind not in KNOWN:
            unread[box.place] = unread.get(box.place, 0) + size
        add_runs(runs, box.place, data)
    if media > samples:
        unread["mdat, beside its samples"] = media - samples


def _is_metadata(data: bytes, metadata: set[str]) -> bool:
    """Returns whether an entry of ilst is text, or a number, that the reader of metadata has found."""
    value = data[16:]  # the box "data": its size, its name, type and language
    return value.decode("utf-8", "replace") in metadata or len(value) <= 8


def boxes(stream: BinaryIO) -> Iterator[Box]:
    """Yields the boxes of a clip that hold no others; what is behind the last one has the kind b""."""
    stream.seek(0, 2)
    yield from _boxes(stream, "", 0, stream.tell())


def _boxes(stream: BinaryIO, place: str, begin: int, end: int) -> Iterator[Box]:
    at = begin
    while at < end:
        stream.seek(at)
        head = stream.read(16)
        size, kind, first = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1:
            size, first = int.from_bytes(head[8:16], "big"), at + 16
        elif size == 0:
            size = end - at
        if (
            len(head) < 8
            or size < first - at
            or at + size > end
            or not re.fullmatch(rb"[\w \xa9-]{4}|\0\0\0.", kind, re.DOTALL)
        ):
            if end - at > 4 or head.strip(b"\0"):  # QuickTime may end a list with four zeros
                yield Box(f"{place}, behind the last box".lstrip(", "), b"", at, end)
            return
        name = str(kind[3]) if kind.startswith(b"\0\0\0") else kind.decode("latin-1")
        inner = f"{place}.{name}".lstrip(".")
        if kind in WITH_BOXES:
            full = kind == b"meta" and head[first - at : first - at + 4] == b"\0\0\0\0"
            yield from _boxes(stream, inner, first + 4 * full, at + size)
        else:
            yield Box(inner, kind, first, at + size)
        at += size


def add_runs(runs: dict[str, str], place: str, data: bytes) -> None:
    """Adds the readable parts of bytes: six letters or more in UTF-8, or in UTF-16 of the Latin script."""
    for run in _RUNS.findall(data):
        runs[f"{place}[{len(runs)}]"] = run.replace(b"\0", b"").decode("utf-8", "ignore")
