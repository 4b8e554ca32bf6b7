"""What a PNG tells beside its pixels."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from private import HIDDEN, Finding

POSITION = {2, 4, 20, 22}  # EXIF's tags for the latitude and longitude of the place, and of what is looked at
PROFILE = "Raw profile type "  # a text of a PNG in which ImageMagick packs EXIF and IPTC


def read_png(path: Path) -> tuple[dict[str, str], dict[str, str], list[Finding]]:
    """Returns a picture's text by name; what else it tells; and what in it is private whatever it says.

    The second is its EXIF, packed profiles, and text whose name another text has too; the third where it was taken,
    and what stands behind its end, be it text or packed.
    """
    from PIL import Image
    from PIL.ExifTags import IFD, TAGS

    with Image.open(path) as picture:
        picture.load()  # text may stand behind the pixels
        texts = {
            str(name): text
            for name, text in picture.info.items()
            if isinstance(text, str) and not str(name).startswith(PROFILE)
        }
        exif = picture.getexif()
        tags = {**exif, **exif.get_ifd(IFD.Exif)}
        position = POSITION & set(exif.get_ifd(IFD.GPSInfo))
    other = {
        f"EXIF.{TAGS.get(tag, tag)}": plain(value) for tag, value in tags.items() if isinstance(value, str | bytes)
    }
    content = path.read_bytes()
    for index, (name, text) in enumerate(png_texts(content)):
        if name.startswith(PROFILE):  # hexadecimal digits, after its kind and its size
            other[f"text[{index}].{name}"] = profile_text(bytes.fromhex("".join(text.split()[2:])))
        elif texts.get(name) != text:
            other[f"text[{index}].{name}"] = text
    private = [Finding("position", "EXIF.GPSInfo", HIDDEN)] if position else []
    if behind := bytes_behind(content):
        private.append(Finding("data", "behind the picture's end", f"{behind} bytes"))
    return texts, other, private


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the kind of each chunk of a PNG to its end, and where its data begins and ends."""
    at, kind = 8, b""
    while at + 8 < len(content) and kind != b"IEND":
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        yield kind, at + 8, at + 8 + size
        at += 12 + size


def bytes_behind(content: bytes) -> int:
    """Returns how many bytes stand behind a PNG's end."""
    return sum(max(0, len(content) - end - 4) for kind, _, end in png_chunks(content) if kind == b"IEND")


def png_texts(content: bytes) -> Iterator[tuple[str, str]]:
    """Yields the name and the text of each text chunk of a PNG; Pillow keeps the last of a name alone."""
    for kind, begin, end in png_chunks(content):
        name, _, text = content[begin:end].partition(b"\0")
        if kind == b"tEXt":
            yield name.decode("latin-1"), text.decode("latin-1")
        elif kind == b"zTXt":
            yield name.decode("latin-1"), zlib.decompress(text[1:]).decode("latin-1")
        elif kind == b"iTXt":  # whether it is packed, how, its language, and its name in that
            packed, text = text[:1] != b"\0", text[2:].split(b"\0", 2)[-1]
            yield name.decode("latin-1"), (zlib.decompress(text) if packed else text).decode("utf-8", "replace")


def plain(value: str | bytes) -> str:
    """Returns the letters of an EXIF value, whose bytes may begin with their encoding and be UTF-16."""
    if isinstance(value, str):
        return value
    for encoding in (b"UNICODE\0", b"ASCII\0\0\0"):
        value = value.removeprefix(encoding)
    return value.replace(b"\0", b"").decode("utf-8", "replace")


def profile_text(profile: bytes) -> str:
    """Returns a profile, each of its values on a line of its own. In IPTC five bytes come before each."""
    return re.sub(rb"\x1c[\x01-\x09].{3}|\0+", b"\n", profile, flags=re.DOTALL).decode("utf-8", "replace")
