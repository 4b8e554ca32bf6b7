"""The header of a safetensors file: names, types, shapes and places of its tensors, without the tensors.

Format: https://github.com/huggingface/safetensors#format (Apache-2.0): eight bytes with the length of the header,
the header as JSON, the tensors. The safetensors library reads headers too, but its errors do not say what to do, and
`json.loads` can make a hostile header forty times as large in memory. The limits are explained in docs/decisions/0007.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from .files import (
    BITS,
    FOREIGN,
    DamageError,
    ForeignError,
    Header,
    TensorInfo,
    explained,
    open_file,
    printable,
    refuse_foreign,
)

MAX_HEADER = 10_000_000  # bytes; the header of a 14B expert has 0.2 million
MAX_TENSORS = 20_000  # a 14B expert has 1095, quantised three times as many
MAX_NAME = 200  # bytes of a tensor's name, as JSON
MAX_ENTRY = 1_000  # bytes of a tensor's type, shape and place, as JSON
MAX_METADATA = 3_000_000  # bytes of metadata that are kept; what goes beyond is left out
MAX_ROWS = 20_000  # of metadata; a trainer writes a hundred
_METADATA_ROW = 100  # bytes that one more row of a dict takes, whatever its texts
_OTHER = "Choose another version"
_PYTORCH = {b"PK\x03\x04": "it is a PyTorch file. Choose its safetensors version"}


def has_header(path: str | Path) -> bool:
    """Says by its suffix whether a file is a safetensors file; ComfyUI lists PyTorch files beside them."""
    return Path(path).suffix.lower() in (".safetensors", ".sft")


def read_header(path: str | Path) -> Header:
    """Reads the header of a safetensors file, and checks that the file is as long as the header says.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The system does not let us read it.
        ValueError: It is not a whole safetensors file.
    """
    path = Path(path)
    with explained(path, "safetensors"), open_file(path) as file:
        raw, total = _read(file, path.stat().st_size)
        return _parse(raw, total)


def _read(file: FileIO, total: int) -> tuple[bytes, int]:
    start = file.read(8)
    refuse_foreign(start, _PYTORCH | FOREIGN)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length < 2:
        raise DamageError(f"it has {total} bytes and no header")
    if length > MAX_HEADER:
        raise DamageError(f"its header would be {length} bytes long, at most {MAX_HEADER} are allowed")
    if total < 8 + length:
        raise DamageError(f"it ends within its header, after {total} bytes")
    return file.read(length), total


def _parse(raw: bytes, total: int) -> Header:
    walk, data = _Walk(raw), 8 + len(raw)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] | None = None
    for name in walk.members():
        if name == b'"__metadata__"':
            if metadata is not None:
                _refuse_twice()
            metadata = _metadata(walk)
            continue
        key = _name(name)
        if key in tensors:
            _refuse_twice()
        if len(tensors) == MAX_TENSORS:
            raise DamageError(f"it lists more than {MAX_TENSORS} tensors")
        tensors[key] = _tensor(walk.short_object(), data)
    walk.end()
    return Header(tensors, metadata or {}, _spare(tensors, data, total))


class _Walk:
    """A place in a header, from which one small piece after the other is read."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.quotes = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # those that are left begin or end a text
        self.at = 0

    def members(self) -> Iterator[bytes]:
        """Yields the names of an object, as JSON; whoever asks reads the value before the next name."""
        self.need(b"{")
        if self.take(b"}"):
            return
        while True:
            name = self.text()
            self.need(b":")
            yield name
            if self.take(b"}"):
                return
            self.need(b",")

    def take(self, mark: bytes) -> bool:
        """Goes past white space, and past the mark if it is next."""
        if not mark or not self.raw.startswith(mark, self.at):  # most headers have no white space
            space = _SPACE.match(self.raw, self.at)
            self.at = space.end() if space else self.at
        found = self.raw.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def need(self, mark: bytes) -> None:
        """Goes past the mark."""
        if not self.take(mark):
            _refuse_json()

    def text(self) -> bytes:
        """Goes past a text, and returns it as JSON."""
        self.need(b'"')
        start, end = self.at - 1, self.quotes.find(b'"', self.at)
        if end < 0:
            _refuse_json()
        self.at = end + 1
        return self.raw[start : self.at]

    def short_object(self) -> Any:
        """Goes past an object without objects in it, and returns it; None for any other value."""
        if not self.take(b"{"):
            return None
        start = self.at - 1
        self.at = self.raw.find(b"}", start, start + MAX_ENTRY) + 1
        return _decode(self.raw[start : self.at]) if self.at else None

    def end(self) -> None:
        """Makes sure that nothing is left."""
        self.take(b"")
        if self.at < len(self.raw):
            _refuse_json()


_SPACE = re.compile(rb"[ \t\r\n]*")


def _refuse_json() -> NoReturn:
    raise DamageError("its header is not the JSON of the format")


def _refuse_twice() -> NoReturn:
    raise DamageError("a name occurs twice in its header")


def _decode(piece: bytes) -> Any:
    try:
        return _DECODER.decode(piece.decode("utf-8"))
    except DamageError:
        raise
    except (ValueError, RecursionError):
        _refuse_json()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse_twice()
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates)


def _text(piece: bytes) -> str:
    text = _decode(piece)
    try:
        text.encode("utf-8")  # JSON can smuggle in half characters, which no log or page can show
    except UnicodeEncodeError:
        _refuse_json()
    return text


def _name(piece: bytes) -> str:
    if len(piece) > MAX_NAME:
        raise DamageError(f"a tensor's name has {len(piece)} bytes, at most {MAX_NAME} are allowed")
    return _text(piece)


def _metadata(walk: _Walk) -> dict[str, str]:
    if walk.take(b"null"):
        return {}
    found: dict[str, str] = {}
    room = MAX_METADATA
    try:
        for row, name in enumerate(walk.members()):
            if row == MAX_ROWS:
                raise DamageError
            value = walk.text()
            room -= len(name) + len(value) + _METADATA_ROW
            if room < 0:
                continue
            key = _text(name)
            if key in found:
                _refuse_twice()
            found[key] = _text(value)
    except DamageError as err:
        raise DamageError(f"its metadata is not a table of at most {MAX_ROWS} texts, each with its own name") from err
    return found


def _tensor(entry: Any, data: int) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if {int}.issuperset(
            map(type, (*shape, begin, end))
        ) and min(begin, end, *shape) >= 0:
            if dtype not in BITS:
                raise ForeignError(f"a tensor has the type {printable(dtype)}, which is not read here. {_OTHER}")
            if math.prod(shape) * BITS[dtype] != 8 * (end - begin):
                raise DamageError("a tensor's place is not as long as its type and shape need")
            return TensorInfo(dtype, tuple(shape), data + begin, end - begin)
    raise DamageError("an entry of its header is not the type, shape and place of a tensor")


def _spare(tensors: dict[str, TensorInfo], data: int, total: int) -> int:
    """Returns how many bytes follow the last tensor, of a file whose tensors lie one after the other."""
    spans = sorted((info.begin or 0, (info.begin or 0) + info.length) for info in tensors.values())
    needed = max((end for _, end in spans), default=data)
    if needed > total:
        raise DamageError(f"it holds {total - data} of the {needed - data} bytes that its header lists")
    edges = [(data, data), *spans]
    if any(begin != last for (_, last), (begin, _) in pairwise(edges)):
        raise DamageError("its tensors overlap or leave gaps")
    return total - needed
