"""What a file must be to be saved here: of a kind that nodes make, under a name that every system takes, and whole.

A name says what a file is, and people open it by that. So `setup.exe` is no clip, nor is a login page that was sent
under the name clip.mp4.
"""

import os
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from .errors import SaveError
from .printable import short

START = 64  # bytes
BOXES = 10_000  # of an MP4, on its outermost level
LONGEST = 150  # bytes of a name: with a number and a folder's own limits it fits everywhere
# What Windows does not take, what steers a terminal is not printable.
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def begins(*starts: bytes) -> Callable[[bytes], bool]:
    """Returns a test of a file's first bytes."""
    return lambda start: start.startswith(starts)


def riff(kind: bytes) -> Callable[[bytes], bool]:
    """Returns a test for a RIFF file of a kind."""
    return lambda start: start[:4] == b"RIFF" and start[8:12] == kind


def is_boxes(start: bytes) -> bool:
    """Returns whether a file begins with a box of MP4 or of its relatives."""
    return start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def is_words(start: bytes) -> bool:
    """Returns whether a file begins as text does."""
    return b"\0" not in start or start.startswith((b"\xff\xfe", b"\xfe\xff"))


def is_tensors(start: bytes) -> bool:
    """Returns whether a file begins as safetensors do: the length of a JSON object, and the object."""
    return len(start) > 9 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 100_000_000


KINDS: dict[str, Callable[[bytes], bool]] = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".m4a"), is_boxes),
    **dict.fromkeys((".mkv", ".webm"), begins(b"\x1a\x45\xdf\xa3")),
    **dict.fromkeys((".png", ".apng"), begins(b"\x89PNG\r\n\x1a\n")),
    **dict.fromkeys((".jpg", ".jpeg"), begins(b"\xff\xd8\xff")),
    **dict.fromkeys((".tif", ".tiff"), begins(b"II", b"MM")),
    **dict.fromkeys((".ogg", ".opus"), begins(b"OggS")),
    **dict.fromkeys((".txt", ".json", ".csv", ".srt", ".vtt", ".md", ".obj", ".gltf", ".svg"), is_words),
    **dict.fromkeys((".latent", ".safetensors"), is_tensors),
    ".avi": riff(b"AVI "), ".webp": riff(b"WEBP"), ".wav": riff(b"WAVE"),
    ".gif": begins(b"GIF87a", b"GIF89a"), ".avif": lambda start: start[4:12] in (b"ftypavif", b"ftypavis"),
    ".bmp": begins(b"BM"), ".exr": begins(b"v/1\x01"), ".hdr": begins(b"#?"), ".flac": begins(b"fLaC"),
    ".mp3": begins(b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"), ".aac": begins(b"\xff\xf1", b"\xff\xf9"),
    ".glb": begins(b"glTF"), ".npy": begins(b"\x93NUMPY"), ".ply": begins(b"ply"),
}  # fmt: skip


def suffix(name: str) -> str:
    """Returns the end of a file's name by which people open it, in lower case."""
    return os.path.splitext(name)[1].lower()


def plain_name(name: str) -> str:
    """Returns the last part of a server's name for a file, as every system takes it, however the server's writes paths.

    Raises:
        SaveError: Nothing is left of it.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = FORBIDDEN.sub("_", "".join(letter for letter in last if letter.isprintable() or letter == "\u3000"))
    kept = kept.strip(". ")
    if not kept:
        raise SaveError("The server gave a file without a name. Nothing was saved of it.")
    stem, end = os.path.splitext(kept)
    stem = stem.encode(errors="replace")[: LONGEST - len(end)].decode(errors="ignore").rstrip(". ")
    device = stem.partition(".")[0].strip().lower() in DEVICES
    return f"{'_' if device or not stem else ''}{stem}{end}"


def check_kind(name: str) -> None:
    """Refuses a file that is not of a kind that nodes make.

    Raises:
        SaveError: By its name, it may be a program.
    """
    if suffix(name) not in KINDS:
        raise SaveError(
            f"The server calls what it made {short(name)}, which is no kind of file that is saved here. "
            "If you know what it is, take it from the server's output folder."
        )


def fault(file: BinaryIO, name: str) -> str:
    """Returns what is wrong with a file for its name; "" if nothing. It is read from its beginning."""
    file.seek(0)
    start = file.read(START)
    if not start:
        return "it is empty"
    end = suffix(name)
    if not KINDS[end](start):
        words = start[:16].decode("latin-1")
        shown = repr(words) if words.isascii() and words.isprintable() else f"the bytes {start[:8].hex(' ')}"
        return f"it is no {end[1:].upper()}, as it begins with {shown}"
    return box_fault(file) if KINDS[end] is is_boxes else ""


def box_fault(file: BinaryIO) -> str:
    """Returns what is wrong with the boxes of an MP4; "" if they fill the file and one of them describes it."""
    size, place, kinds = file.seek(0, os.SEEK_END), 0, set()
    for _ in range(BOXES):
        if place == size:
            break
        file.seek(place)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (1, b"")
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        length = length or size - place
        if length < 8 or place + length > size:
            return "it is an MP4 without its end"
        kinds.add(kind)
        place += length
    return "" if b"moov" in kinds and place == size else "it is an MP4 without a table of its frames"
