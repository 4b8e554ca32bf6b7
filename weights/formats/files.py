"""What the formats of model files have in common: what a file lists, how it is opened, and why it is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "I64": 64,
    "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip  # safetensors lists F6_E2M3 and F6_E3M2 too, but PyTorch has no such tensors
MAX_JSON = 800_000  # characters of a JSON text in a file; in memory it may be thirty times as large
MAX_BESIDE = 1_000_000  # bytes of a text file beside a model
SHOWN = 3  # names in a message; the others are counted

_WEB_PAGE = "it is a web page, saved in place of the file. Download the file itself"
FOREIGN = {  # first bytes of what people have in place of a model file
    b"GGUF": "it is a GGUF file. Load it with a GGUF loader node",
    b"version ": "it is a Git LFS pointer, a note that stands for the file. Download the file itself",
    b"<!DOCTYP": _WEB_PAGE,
    b"<!doctyp": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the file lists it.

    Args:
        dtype: Its type, by safetensors' name.
        shape: Its sizes.
        begin: Where its bytes begin in the file; None where they are not one piece in row order.
        length: How many bytes those are.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int | None = field(default=None, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Header:
    """What a file says about itself."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    spare: int = 0  # bytes after the last tensor, which some tools leave and safetensors' own reader refuses

    def size(self, name: str, axis: int) -> int | None:
        """Returns the length of one axis of a tensor, None where the file has no such tensor or axis."""
        info = self.tensors.get(name)
        return info.shape[axis] if info and axis < len(info.shape) else None


class DamageError(ValueError):
    """Why a file is refused, as the middle of a sentence."""


class ForeignError(DamageError):
    """The file is something else; the text holds its own remedy."""


@contextmanager
def explained(path: Path, form: str) -> Iterator[None]:
    """Turns what goes wrong while a file is read into a sentence that names the file, but not its folder.

    Args:
        path: The file.
        form: The format that it should have.
    """
    try:
        yield
    except FileNotFoundError as err:
        raise FileNotFoundError(f"'{path.name}' is no longer there. Refresh the page and choose another file.") from err
    except OSError as err:  # its own text holds the whole path
        raise RuntimeError(f"'{path.name}' cannot be read: {err.strerror}. Check disk and permissions.") from err
    except ForeignError as err:
        raise ValueError(f"'{path.name}' is not a whole {form} file: {err}.") from err
    except DamageError as err:
        raise ValueError(f"'{path.name}' is not a whole {form} file: {err}. Download it again.") from err


def open_file(path: Path) -> FileIO:
    """Opens a file to read; unbuffered, because only a little of it is read."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ForeignError("it is a folder or a device. Choose a file")
    return path.open("rb", buffering=0)


def small_json(text: str) -> Any:
    """Parses a JSON text from a file.

    Raises:
        ValueError: It is none, or nested or long beyond what a trainer writes.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"The text has {len(text)} characters, at most {MAX_JSON} are read.")
    try:
        return json.loads(text)
    except RecursionError as err:
        raise ValueError("The text is nested too deeply.") from err


def read_small(path: Path) -> str:
    """Returns the text of a small file beside a model; nothing where there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BESIDE:
            return ""
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def printable(text: str, most: int = 40) -> str:
    """Makes a text from a file fit for a message, of at most so many characters."""
    return "".join(letter for letter in text if letter.isprintable())[:most]


def listed(names: Sequence[str]) -> str:
    """Names the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def refuse_foreign(start: bytes, known: dict[bytes, str]) -> None:
    """Names what a file is by its first bytes, if it is something that people have in place of a model file."""
    for magic, reason in known.items():
        if start.startswith(magic):
            raise ForeignError(reason)
