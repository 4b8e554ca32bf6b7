"""What a file holds that may be private: all that graphs, pictures and clips tell beside pixels and sound."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import clip_boxes
import png_chunks
from private import HIDDEN, Finding

POSITION = {2, 4, 20, 22}  # EXIF's tags for the latitude and longitude of the place, and of what is looked at


class ShareError(Exception):
    """A file cannot be checked, or no clean copy of it can be made. The text says why."""


class Content(NamedTuple):
    """What a file holds: `told` by name, of which a copy may have what `share_check.KEPT` names; and what no copy has.

    `told` of a JSON file is its whole value, under the name "". `other` are texts by place, `runs` readable parts of
    bytes by place, `private` what is private whatever it says, and `left` the places of what no copy has.
    """

    told: dict[str, Any]
    other: Mapping[str, str] = MappingProxyType({})
    runs: Mapping[str, str] = MappingProxyType({})
    private: tuple[Finding, ...] = ()
    left: tuple[str, ...] = ()


def read(path: Path) -> dict[str, Any]:
    """Returns what a file tells, by name: a JSON file's whole content, else its text metadata.

    Raises:
        ShareError: The file cannot be read.
    """
    return read_all(path).told


def read_all(path: Path) -> Content:
    """Returns what a file holds.

    Raises:
        ShareError: The file cannot be read.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".json":
            return read_json(path)
        if kind == ".png":
            return read_png(path)
        if kind in clip_boxes.VIDEOS:
            return read_clip(path)
    except (OSError, ValueError, SyntaxError, RecursionError, zlib.error) as error:
        raise ShareError(f"A file must be readable to be checked; {path.name} is not: {error}.") from error
    raise ShareError(f"The check reads .json, .png, {', '.join(clip_boxes.VIDEOS)}; {path.name} is none of these.")


def read_json(path: Path) -> Content:
    """Returns a JSON value; of entries with the same name the last counts, and the others are private."""
    twice: list[Finding] = []

    def entries(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.append(Finding("data", "entries with the same name", f"{len(pairs) - len(made)} of them"))
        return made

    value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=entries)
    return Content({"": value}, private=tuple(twice))


def read_png(path: Path) -> Content:
    """Returns what a picture holds beside its pixels."""
    content = path.read_bytes()
    texts: dict[str, tuple[int, str]] = {}
    other: dict[str, str] = {}
    for index, chunk in enumerate(chunk for chunk in png_chunks.chunks(content) if chunk.kind in png_chunks.TEXTS):
        name, text = png_chunks.text_of(chunk)
        if label := png_chunks.label_of(chunk).strip():
            other[f"text[{index}].label"] = label
        if name.startswith(png_chunks.PROFILE):
            other[f"text[{index}].{name}"] = png_chunks.profile_text(text)
            continue
        earlier, other_text = texts.get(name, (0, text))  # Pillow, and so ComfyUI, keeps the last one
        if other_text != text:
            other[f"text[{earlier}].{name}"] = other_text
        texts[name] = index, text
    left = left_of(content)  # first, since it bounds the pixels
    exif, private = read_exif(path)
    runs: dict[str, str] = {}
    for place, data in left:
        if place != "eXIf":
            private.append(Finding("data", place, f"{len(data)} bytes"))
            clip_boxes.add_runs(runs, place, data)
    told = {name: text for name, (_, text) in texts.items()}
    return Content(told, other | exif, runs, tuple(private), tuple(other) + (("EXIF",) if exif or private else ()))


def left_of(content: bytes) -> list[tuple[str, bytes]]:
    """Returns what a copy of a picture leaves behind beside its texts."""
    left: list[tuple[str, bytes]] = []
    png_chunks.rebuilt(content, {}, lambda place, data: left.append((place, data)))
    return left


def read_exif(path: Path) -> tuple[dict[str, str], list[Finding]]:
    """Returns the texts of a picture's EXIF by place, and whether it says where that was taken."""
    from PIL import Image
    from PIL.ExifTags import IFD, TAGS

    with Image.open(path) as picture:
        picture.load()  # EXIF may stand behind the pixels
        try:
            exif = picture.getexif()
            tags = {**exif, **exif.get_ifd(IFD.Exif)}
            position = POSITION & set(exif.get_ifd(IFD.GPSInfo))
        except (SyntaxError, ValueError) as error:  # as Pillow calls EXIF that is none
            return {}, [Finding("data", "EXIF", f"cannot be read: {error}")]
    texts = {
        f"EXIF.{TAGS.get(tag, tag)}": plain(value) for tag, value in tags.items() if isinstance(value, str | bytes)
    }
    return texts, [Finding("position", "EXIF.GPSInfo", HIDDEN)] if position else []


def plain(value: str | bytes) -> str:
    """Returns the letters of an EXIF value, whose bytes may begin with their encoding and be UTF-16."""
    if isinstance(value, str):
        return value
    for encoding in (b"UNICODE\0", b"ASCII\0\0\0"):
        value = value.removeprefix(encoding)
    return value.replace(b"\0", b"").decode("utf-8", "replace")


def read_clip(path: Path) -> Content:
    """Returns what a clip holds beside its pictures and sound."""
    clip = clip_boxes.read(path)
    unread = (Finding("data", place, f"{size} bytes") for place, size in clip.unread.items())
    chapters = ("chapters",) if any(place.startswith("chapters") for place in clip.texts) else ()
    return Content(dict(clip.metadata), clip.texts, clip.runs, tuple(unread), clip.left + chapters)
