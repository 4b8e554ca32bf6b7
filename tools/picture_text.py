"""What a PNG tells beside its pixels. Needs Pillow only when it reads one."""

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PROFILE = "Raw profile type "  # a text of a PNG in which ImageMagick packs EXIF and IPTC


def read_png(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Returns a picture's text by name; and what else it tells.

    That is its EXIF, packed profiles, text whose name another text has too, and what stands behind its end.
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
        position = exif.get_ifd(IFD.GPSInfo)
    other = {
        f"EXIF.{TAGS.get(tag, tag)}": plain(value) for tag, value in tags.items() if isinstance(value, str | bytes)
    }
    if position:
        other["EXIF.GPSInfo"] = iso_6709(position)
    for index, (name, text) in enumerate(png_texts(path.read_bytes())):
        if name.startswith(PROFILE):  # hexadecimal digits, after its kind and its size
            other[f"text[{index}].{name}"] = profile_text(bytes.fromhex("".join(text.split()[2:])))
        elif texts.get(name) != text:
            other[f"text[{index}].{name}"] = text
    return texts, other


def png_texts(content: bytes) -> Iterator[tuple[str, str]]:
    """Yields the name and the text of each text chunk of a PNG, of which Pillow keeps the last of a name alone.

    What stands behind the picture's end comes last, if anything does.
    """
    at = 8
    while at + 8 < len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        name, _, text = content[at + 8 : at + 8 + size].partition(b"\0")
        at += 12 + size
        if kind == b"tEXt":
            yield name.decode("latin-1"), text.decode("latin-1")
        elif kind == b"zTXt":
            yield name.decode("latin-1"), zlib.decompress(text[1:]).decode("latin-1")
        elif kind == b"iTXt":  # whether it is packed, how, its language, and its name in that
            packed, text = text[:1] != b"\0", text[2:].split(b"\0", 2)[-1]
            yield name.decode("latin-1"), (zlib.decompress(text) if packed else text).decode("utf-8", "replace")
        elif kind == b"IEND":
            if content[at:]:
                yield "behind the end", plain(content[at:])
            return


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


def iso_6709(position: Mapping[int, Any]) -> str:
    """Returns EXIF's latitude and longitude as one text, +48.8583+002.2945/, as videos have it.

    What is no pair of degrees, minutes and seconds is returned as it is.
    """
    with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        latitude, longitude = (sum(float(part) / 60**index for index, part in enumerate(position[at])) for at in (2, 4))
        latitude *= -1 if position.get(1) == "S" else 1
        longitude *= -1 if position.get(3) == "W" else 1
        return f"{latitude:+08.4f}{longitude:+09.4f}/"
    return str(dict(position))
