"""PNG pictures, chunk by chunk: the texts in them, what else they hold, and a copy of pixels and known texts alone.

The format: PNG Specification, third edition (W3C), which includes APNG.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PIXELS = (b"IDAT", b"fdAT")
# What tells how to draw the pixels, and how many bytes each of these chunks has.
DRAWN: dict[bytes, range] = {
    b"PLTE": range(3, 769, 3), b"tRNS": range(1, 257), b"gAMA": range(4, 5), b"cHRM": range(32, 33),
    b"sRGB": range(1, 2), b"cICP": range(4, 5), b"mDCV": range(24, 25), b"cLLI": range(8, 9), b"sBIT": range(1, 5),
    b"pHYs": range(9, 10), b"bKGD": range(1, 7), b"acTL": range(8, 9), b"fcTL": range(26, 27),
}  # fmt: skip
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PROFILE = "Raw profile type "  # a text in which ImageMagick packs EXIF and IPTC
MOST_TEXT = 64 << 20  # bytes of a text when unpacked
MOST_PIXELS = 178_956_970  # as Pillow has it

Leave = Callable[[str, bytes], object]  # takes the place and the content of what stays behind


class Chunk(NamedTuple):
    """A chunk: its kind, such as b"IDAT", and its data."""

    kind: bytes
    data: bytes


class Header(NamedTuple):
    """What IHDR says that the size of the pixels follows from."""

    width: int
    height: int
    bits: int  # a pixel
    interlaced: bool


def chunks(content: bytes) -> Iterator[Chunk]:
    """Yields the chunks of a PNG to its end, and then what stands behind it, as a chunk of the kind b"".

    Raises:
        ValueError: It is no PNG, or broken off.
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("it does not begin as a PNG does")
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if at + 12 + size > len(content):
            raise ValueError("it is broken off")
        yield Chunk(kind, content[at + 8 : at + 8 + size])
        at += 12 + size
    if at < len(content):
        yield Chunk(b"", content[at:])


def label_of(chunk: Chunk) -> str:
    """Returns the language of a text chunk, and its name in that."""
    _, _, text = chunk.data.partition(b"\0")
    return b" ".join(text[2:].split(b"\0", 2)[:2]).decode("utf-8", "replace") if chunk.kind == b"iTXt" else ""


def text_of(chunk: Chunk) -> tuple[str, str]:
    """Returns the name and the text of a text chunk.

    Raises:
        ValueError: The text is larger than 64 MiB.
        zlib.error: It is packed, and broken.
    """
    name, _, text = chunk.data.partition(b"\0")
    if chunk.kind == b"tEXt":
        return name.decode("latin-1"), _letters(text)
    if chunk.kind == b"zTXt":
        return name.decode("latin-1"), _letters(unpacked(text[1:], MOST_TEXT))
    packed, text = text[:1] != b"\0", text[2:].split(b"\0", 2)[-1]  # behind its language, and its name in that
    return name.decode("latin-1"), (unpacked(text, MOST_TEXT) if packed else text).decode("utf-8", "replace")


def profile_text(text: str) -> str:
    """Returns a profile that ImageMagick packed, in hexadecimal after its kind and size, each value on a line."""
    profile = bytes.fromhex("".join(text.split()[2:]))
    return re.sub(rb"\x1c[\x01-\x09].{3}|\0+", b"\n", profile, flags=re.DOTALL).decode("utf-8", "replace")


def unpacked(data: bytes, most: int) -> bytes:
    """Returns unpacked bytes.

    Raises:
        ValueError: There are more than `most`.
        zlib.error: They are broken.
    """
    stream = zlib.decompressobj()
    content = stream.decompress(data, most + 1)
    if len(content) > most:
        raise ValueError(f"it unpacks to more than {most} bytes")
    return content


def rebuilt(content: bytes, texts: Mapping[str, str], leave: Leave) -> bytes:
    """Returns a PNG of the same pixels, packed anew, with these texts. Nothing else comes along.

    Args:
        content: Of the whole file.
        texts: By name. ComfyUI reads each as UTF-8.
        leave: Takes what stays behind, beside texts.

    Raises:
        ValueError: It is no PNG, or its pixels are broken.
        zlib.error: Its pixels are broken.
    """
    parts = [chunk for chunk in chunks(content) if chunk.kind not in TEXTS]
    if parts[0].kind != b"IHDR" or len(parts[0].data) != 13:
        raise ValueError("it does not begin with its sizes")
    header = header_of(parts[0].data)
    made = [parts[0], *(text_chunk(name, text) for name, text in texts.items())]
    drawn: list[Chunk] = []
    for chunk in parts[1:]:
        if chunk.kind in PIXELS or len(chunk.data) in DRAWN.get(chunk.kind, ()):
            drawn.append(chunk)
        elif chunk.kind != b"IEND":
            leave(chunk.kind.decode("latin-1") or "behind the picture's end", chunk.data)
    for kind, group in groupby(drawn, lambda chunk: chunk.kind):
        alike = list(group)
        made += [Chunk(kind, b"".join(map(_packed, alike)))] if kind in PIXELS else alike
    return SIGNATURE + b"".join(_written(_repacked(made, header, leave)))


def header_of(data: bytes) -> Header:
    """Returns what the data of IHDR says."""
    if data[9] not in CHANNELS:
        raise ValueError(f"it has no colour type {data[9]}")
    width, height = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width}x{height} pixels; at most {MOST_PIXELS} are read")
    return Header(width, height, CHANNELS[data[9]] * data[8], bool(data[12]))


def text_chunk(name: str, text: str) -> Chunk:
    """Returns a text chunk: tEXt for ASCII, else iTXt."""
    label = name.encode("latin-1", "replace")
    if text.isascii():
        return Chunk(b"tEXt", label + b"\0" + text.encode())
    return Chunk(b"iTXt", label + b"\0\0\0\0\0" + text.encode())


def _letters(text: bytes) -> str:
    """Returns a text as ComfyUI reads it: UTF-8, or else Latin-1 as the format has it."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _packed(chunk: Chunk) -> bytes:
    """Returns the packed pixels of a chunk."""
    return chunk.data[4:] if chunk.kind == b"fdAT" else chunk.data  # behind its number in the sequence


def _repacked(made: list[Chunk], header: Header, leave: Leave) -> Iterator[Chunk]:
    """Yields the chunks with their pixels packed anew, and their frames numbered anew."""
    number, size = 0, header
    for chunk in made:
        data = chunk.data
        if chunk.kind == b"fcTL":
            size = header._replace(width=int.from_bytes(data[4:8], "big"), height=int.from_bytes(data[8:12], "big"))
            if size.width > header.width or size.height > header.height:
                raise ValueError(f"a frame of {size.width}x{size.height} pixels does not fit into it")
            data = number.to_bytes(4, "big") + data[4:]
            number += 1
        elif chunk.kind in PIXELS:
            data = zlib.compress(_pixels(data, size if chunk.kind == b"fdAT" else header, leave))
            if chunk.kind == b"fdAT":
                data = number.to_bytes(4, "big") + data
                number += 1
        yield Chunk(chunk.kind, data)
    yield Chunk(b"IEND", b"")


def _pixels(data: bytes, size: Header, leave: Leave) -> bytes:
    """Returns the unpacked pixels of a frame, and nothing that stands behind them."""
    wanted = pixel_bytes(size)
    stream = zlib.decompressobj()
    pixels = stream.decompress(data, wanted + 1)
    if len(pixels) < wanted:
        raise ValueError(f"its pixels are broken off: {len(pixels)} of {wanted} bytes")
    rest = pixels[wanted:] + stream.unconsumed_tail + stream.unused_data
    if len(pixels) > wanted or stream.unused_data:
        leave("behind the pixels", rest)
    return pixels[:wanted]


def pixel_bytes(size: Header) -> int:
    """Returns how many bytes the pixels of a frame have, with the byte before each row that names its filter."""
    passes = ADAM7 if size.interlaced else ((0, 0, 1, 1),)
    count = 0
    for left, top, across, down in passes:
        columns, rows = -(-(size.width - left) // across), -(-(size.height - top) // down)
        if columns > 0 and rows > 0:
            count += rows * (1 + -(-columns * size.bits // 8))
    return count


def _written(made: Iterator[Chunk]) -> Iterator[bytes]:
    for kind, data in made:
        yield len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
