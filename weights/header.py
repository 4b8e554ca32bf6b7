"""The header of a safetensors file: names, types and shapes of its tensors, without the tensors.

Format: https://github.com/huggingface/safetensors#format (Apache-2.0): eight bytes with the length of the header,
the header as JSON, the tensors. The safetensors library reads headers too, but its errors do not say what to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

MAX_HEADER = 100_000_000  # bytes; the format's own limit
_FOREIGN = {  # first bytes of what people have in place of a safetensors file
    b"PK\x03\x04": "it is a PyTorch file. Choose its safetensors version",
    b"GGUF": "it is a GGUF file. Load it with a GGUF loader node",
    b"version ": "it is a Git LFS pointer, a note that stands for the file. Download the file itself",
    b"<!DOCTYP": "it is a web page, saved in place of the file. Download the file itself",
    b"<!doctyp": "it is a web page, saved in place of the file. Download the file itself",
    b"<html": "it is a web page, saved in place of the file. Download the file itself",
}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header lists it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]

    def size(self, name: str, axis: int) -> int | None:
        """Returns the length of one axis of a tensor, None where the file has no such tensor or axis."""
        info = self.tensors.get(name)
        return info.shape[axis] if info and axis < len(info.shape) else None


class _DamageError(ValueError):
    """Why a file is refused, as the middle of a sentence."""


class _ForeignError(_DamageError):
    """The file has another format; the text holds its own remedy."""


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
    try:
        return _read(path)
    except FileNotFoundError as err:
        raise FileNotFoundError(f"'{path.name}' is no longer there. Refresh the page and choose another file.") from err
    except OSError as err:  # its own text holds the whole path
        raise RuntimeError(f"'{path.name}' cannot be read: {err.strerror}. Check disk and permissions.") from err
    except _ForeignError as err:
        raise ValueError(f"'{path.name}' is not a whole safetensors file: {err}.") from err
    except (ValueError, RecursionError) as err:
        reason = str(err) if isinstance(err, _DamageError) else "its header is not the JSON of the format"
        raise ValueError(f"'{path.name}' is not a whole safetensors file: {reason}. Download it again.") from err


def _read(path: Path) -> Header:
    total = path.stat().st_size
    if not path.is_file():  # opening a pipe would wait for ever
        raise _ForeignError("it is a folder or a device. Choose a file")
    with path.open("rb") as file:
        start = file.read(8)
        for magic, reason in _FOREIGN.items():
            if start.startswith(magic):
                raise _ForeignError(reason)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length < 2:
            raise _DamageError(f"it has {total} bytes and no header")
        if length > MAX_HEADER:
            raise _DamageError(f"its header would be {length} bytes long, at most {MAX_HEADER} are allowed")
        if total < 8 + length:
            raise _DamageError(f"it ends within its header, after {total} bytes")
        raw = file.read(length)
    return _parse(raw, total - 8 - length)


def _parse(raw: bytes, data_size: int) -> Header:
    listed = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    if not isinstance(listed, dict):
        raise _DamageError("its header lists no tensors")
    metadata = _checked_metadata(listed.pop("__metadata__", None) or {})
    tensors, spans = {}, []
    for name, entry in listed.items():
        name.encode("utf-8")  # JSON can smuggle in half characters, which no log or page can show
        tensors[name], span = _parse_entry(entry)
        spans.append(span)
    _check_layout(sorted(spans), data_size)
    return Header(tensors, metadata)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DamageError("a name occurs twice in its header")
    return found


def _checked_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _DamageError("its metadata is not a table of texts")
    for text in (*metadata, *metadata.values()):
        text.encode("utf-8")
    return metadata


def _parse_entry(entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if all(
            type(number) is int and number >= 0 for number in (*shape, begin, end)
        ):
            return TensorInfo(dtype, tuple(shape)), (begin, end)
    raise _DamageError("an entry of its header is not the type, shape and place of a tensor")


def _check_layout(spans: list[tuple[int, int]], data_size: int) -> None:
    needed = max((end for _, end in spans), default=0)
    if needed > data_size:
        raise _DamageError(f"it holds {data_size} of the {needed} bytes that its header lists")
    edges = [(0, 0), *spans, (data_size, data_size)]
    if any(begin != last for (_, last), (begin, _) in pairwise(edges)):
        raise _DamageError("its tensors overlap or leave gaps")
