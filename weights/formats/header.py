"""What a model file lists about its tensors, in one form for all formats, and the header of safetensors, which says it.

Format: https://github.com/huggingface/safetensors#format (Apache-2.0): eight bytes with the length of the header,
the header as JSON, the tensors. The safetensors library reads headers too, but its errors do not say what to do. The
limits are explained in docs/decisions/0007 and 0028.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from ...common.files import read_bounded
from ...common.text import printable

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "I64": 64,
    "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "C64": 64,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}  # fmt: skip  # safetensors lists F6_E2M3 and F6_E3M2 too, but PyTorch has no such tensors
MAX_HEADER = 10_000_000  # bytes; the header of a 14B expert has 0.2 million
MAX_PARSED = 1_300_000  # bytes; in memory they may be forty times as large
MAX_TEXT = 1_000  # bytes of a text that is parsed with a header that is longer than that; others are read by themselves
MAX_TEXTS = 3_000_000  # bytes of those others that are kept
MAX_QUOTES = 300_000  # in such a header: ten of each tensor and four of each row of metadata would be 280 000
MAX_TENSORS = 20_000  # a 14B expert has 1095, quantised three times as many
MAX_NAME = 200  # bytes of a tensor's name
MAX_ROWS = 20_000  # of metadata; a trainer writes a hundred
MAX_NOTE = 800_000  # characters of a text of metadata, or bytes of a file beside it; JSON may take thirty times as much
SHOWN = 3  # names in a message; the others are counted

_WEB_PAGE = "it is a web page, saved in place of the file. Download the file itself"
FOREIGN = {  # first bytes of what people have in place of a model file
    b"GGUF": "it is a GGUF file. Load it with a GGUF loader node",
    b"version ": "it is a Git LFS pointer, a note that stands for the file. Download the file itself",
    b"<!DOCTYP": _WEB_PAGE,
    b"<!doctyp": _WEB_PAGE,
    b"<html": _WEB_PAGE,
}
_PYTORCH = {b"PK\x03\x04": "it is a PyTorch file. Choose its safetensors version"}
_INT = frozenset({int})  # and not bool
_NO_JSON = "its header is not the JSON of the format"
_PLACE = "-" * (MAX_NAME + 1)  # begins what stands for a long text; as a tensor's name it is refused


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the file lists it."""

    dtype: str  # its type, by safetensors' name
    shape: tuple[int, ...]  # its sizes
    begin: int | None = field(default=None, compare=False)  # of its bytes; None where they are not one piece in order
    length: int = field(default=0, compare=False)  # how many bytes those are


class Header(NamedTuple):
    """What a file says about itself."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    spare: int = 0  # bytes after the last tensor, which some tools leave and safetensors' own reader refuses
    unread: tuple[str, ...] = ()  # the metadata whose texts are too long to be kept, and count as empty

    def size(self, name: str, axis: int) -> int | None:
        """Returns the length of one axis of a tensor, None where the file has no such tensor or axis."""
        info = self.tensors.get(name)
        return info.shape[axis] if info and axis < len(info.shape) else None


class ModelFile(NamedTuple):
    """A model file, and what it listed when it was opened."""

    path: Path
    header: Header

    @property
    def name(self) -> str:
        """The name of the file without its folders, for messages."""
        return self.path.name


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


def read_small(path: Path) -> str:
    """Returns the text of a small file beside a model; nothing where there is none that can be read."""
    try:
        return read_bounded(path, MAX_NOTE)[0].decode("utf-8-sig")
    except (OSError, ValueError):
        return ""


def listed(names: Sequence[str]) -> str:
    """Names the first few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def refuse_foreign(start: bytes, known: dict[bytes, str]) -> None:
    """Names what a file is by its first bytes, if it is something that people have in place of a model file."""
    for magic, reason in known.items():
        if start.startswith(magic):
            raise ForeignError(reason)


def is_safetensors(path: str | Path) -> bool:
    """Returns by its suffix whether a file is a safetensors file; ComfyUI lists PyTorch files beside them."""
    return Path(path).suffix.lower() in (".safetensors", ".sft")


def read_safetensors(file: FileIO, total: int) -> Header:
    """Reads the header of a safetensors file of `total` bytes; DamageError if the file is not as long as it says."""
    return _parse(_read(file, total), total)


def _read(file: FileIO, total: int) -> bytes:
    start = file.read(8)
    refuse_foreign(start, _PYTORCH | FOREIGN)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length < 2:
        raise DamageError(f"it has {total} bytes and no header")
    if length > MAX_HEADER:
        raise DamageError(f"its header would be {length} bytes long, at most {MAX_HEADER} are allowed")
    if total < 8 + length:
        raise DamageError(f"it ends within its header, after {total} bytes")
    return file.read(length)


def _parse(raw: bytes, total: int) -> Header:
    short, texts = _taken_apart(raw) if len(raw) > MAX_PARSED else (raw, {})
    if len(short) > MAX_PARSED:
        raise DamageError(f"its list of tensors has {len(short)} bytes, at most {MAX_PARSED} are allowed")
    entries, data = _json(short), 8 + len(raw)
    if not isinstance(entries, dict):
        raise DamageError(_NO_JSON)
    metadata, unread = _metadata(entries.pop("__metadata__", None), texts)
    if len(entries) > MAX_TENSORS:
        raise DamageError(f"it lists more than {MAX_TENSORS} tensors")
    tensors = {_name(name): _tensor(entry, data) for name, entry in entries.items()}
    return Header(tensors, metadata, _spare(tensors, data, total), unread)


def _json(raw: bytes | memoryview) -> Any:
    try:
        return json.loads(str(raw, "utf-8"), object_pairs_hook=_without_duplicates)
    except DamageError:
        raise
    except (ValueError, RecursionError) as err:
        raise DamageError(_NO_JSON) from err


def _taken_apart(raw: bytes) -> tuple[bytes, dict[str, memoryview]]:
    """Returns a header without what a trainer noted on thousands of pictures, and that by what stands for it."""
    quotes = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")  # those that are left begin or end a text
    if quotes.count(b'"') > MAX_QUOTES:
        return raw, {}
    pieces: list[bytes] = []
    texts: dict[str, memoryview] = {}
    kept, begin = 0, quotes.find(b'"') + 1
    while begin and (end := quotes.find(b'"', begin)) >= 0:
        if end - begin > MAX_TEXT:
            place = f"{_PLACE}{len(texts)}"
            texts[place] = memoryview(raw)[begin - 1 : end + 1]
            pieces += [raw[kept:begin], place.encode()]
            kept = end
        begin = quotes.find(b'"', end + 1) + 1
    return b"".join([*pieces, raw[kept:]]), texts


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise DamageError("a name occurs twice in its header")
    return found


def _name(name: str) -> str:
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError as err:  # JSON can smuggle in half characters, which no log or page can show
        raise DamageError(_NO_JSON) from err
    if length > MAX_NAME:
        raise DamageError(f"a tensor's name has more than {MAX_NAME} bytes")
    return name


def _metadata(rows: Any, texts: Mapping[str, memoryview]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Returns the metadata, and the names of those that are too long and count as empty."""
    rows = {} if rows is None else rows
    try:
        if len(rows) > MAX_ROWS:
            raise ValueError
        unread = _put_back(rows, texts)
        for text in chain(rows, rows.values()):
            text.encode("utf-8")
    except DamageError:
        raise
    except (AttributeError, TypeError, ValueError) as err:
        raise DamageError(f"its metadata is not a table of at most {MAX_ROWS} texts, each with its own name") from err
    return rows, unread


def _put_back(rows: dict[str, str], texts: Mapping[str, memoryview]) -> tuple[str, ...]:
    left, unread = MAX_TEXTS, []
    for name, text in rows.items():
        written = texts.get(text, b"")
        fits = len(written) <= left
        rows[name] = _json(written) if written and fits else text
        if not fits or len(rows[name]) > MAX_NOTE:
            rows[name] = ""
            unread.append(name)
        else:
            left -= len(written)
    return tuple(unread)


def _tensor(entry: Any, data: int) -> TensorInfo:
    # By hand: a pattern of `match` takes three times as long as all of this, and there are thousands of tensors.
    found = entry if isinstance(entry, dict) else {}
    dtype, shape, place = found.get("dtype"), found.get("shape"), found.get("data_offsets")
    if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(place) and len(place) == 2):
        raise DamageError("an entry of its header is not the type, shape and place of a tensor")
    if dtype not in BITS:
        raise ForeignError(f"a tensor has the type {printable(dtype)}, which is not read here. Choose another version")
    begin, end = place
    if math.prod(shape) * BITS[dtype] != 8 * (end - begin):
        raise DamageError("a tensor's place is not as long as its type and shape need")
    return TensorInfo(dtype, tuple(shape), data + begin, end - begin)


def _are_sizes(found: Any) -> TypeGuard[list[int]]:
    return isinstance(found, list) and _INT.issuperset(map(type, found)) and min(found, default=0) >= 0


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
