"""Model files of any format: opened, hashed, and read tensor by tensor at the moment of use, with a look for NaN.

Reading 14 GB again to look at each number is not worth it. Looked at are the tensors that are small (norms, biases,
modulation, scales: about 20 MB of a 14B expert), and all of a VAE, which is read at once anyway.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch

from ...common.text import printable
from .header import ModelFile, TensorInfo, explained, is_safetensors, open_file, read_safetensors
from .torch_file import read_torch

DTYPES = {  # safetensors' names of the types that models are stored in
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_OTHERS = {"U8": torch.uint8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "BOOL": torch.bool}
_FLOATS = ("F64", "F32", "F16", "BF16")
_SMALL = 2**17  # bytes; the modulation of a 14B block in fp32 has 123 kB
_JOINED = 64  # small tensors that are read into one row, of 16 MB at most
WHOLE = 2**30  # bytes; up to here all of a file is hashed, in a second or two
SAMPLE = 2**20  # bytes
SAMPLES = 32


def open_model(path: str | Path) -> ModelFile:
    """Lists the tensors of a safetensors or PyTorch file, which its suffix tells apart, as in ComfyUI.

    Of a PyTorch file they are taken from "state_dict" or the only entry, where there is one, as in ComfyUI.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The system does not let us read it.
        ValueError: It is no whole file of tensors.
    """
    path = Path(path)
    form, read = ("safetensors", read_safetensors) if is_safetensors(path) else ("PyTorch", read_torch)
    with explained(path, form), open_file(path) as file:
        return ModelFile(path, read(file, path.stat().st_size))


def fingerprint(path: str | Path) -> str:
    """Hashes a file, by which it is known whatever it is called; that takes seconds, also for 14 GB.

    Returns:
        "sha256:" and the digest of the whole file, by which LoRAs are looked up in public, if it has at most 1 GiB.
        A larger one gives "sampled-sha256:" and the digest of its size in bytes (8 bytes, little endian) and of 32
        samples of 1 MiB, evenly spaced, the first and the last MiB among them.

    Raises:
        OSError: The file cannot be read.
    """
    status = os.stat(path)
    return _hash(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash(path: str, size: int, _modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if size <= WHOLE:
            while block := file.read(SAMPLE):
                digest.update(block)
            return f"sha256:{digest.hexdigest()}"
        digest.update(size.to_bytes(8, "little"))
        for sample in range(SAMPLES):
            file.seek((size - SAMPLE) * sample // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return f"sampled-sha256:{digest.hexdigest()}"


class LazyTensor:
    """Stands for a tensor in a state dict: shape and type are known, the numbers are made on use, each time anew.

    PyTorch takes anything with `__torch_function__` where it takes a tensor, `load_state_dict` included. So a model is
    never in memory twice.

    Args:
        shape: Sizes of the tensor.
        dtype: Its type.
        make: Returns the tensor itself.
    """

    is_meta = False

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, make: Callable[[], torch.Tensor]) -> None:
        self.shape = torch.Size(shape)
        self.dtype = dtype
        self.make = make

    def numel(self) -> int:
        """Returns the number of elements."""
        return self.shape.numel()

    nelement = numel

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = [argument.make() if isinstance(argument, cls) else argument for argument in args]
        return function(*made, **(kwargs or {}))


class Read:
    """Reads tensors of an open file, whatever its format.

    Args:
        file: The file.
    """

    def __init__(self, file: io.BufferedReader[io.FileIO]) -> None:
        self._file = file

    def __call__(self, info: TensorInfo) -> torch.Tensor:
        """Returns a tensor."""
        return self._filled([info]).view(info.shape)

    def joined(self, infos: Iterable[TensorInfo]) -> Iterator[torch.Tensor]:
        """Returns the numbers of small tensors as few long rows, each of one type: one look at each is enough."""
        rows: dict[str, list[TensorInfo]] = {}
        for info in infos:
            rows.setdefault(info.dtype, []).append(info)
        for row in rows.values():
            for first in range(0, len(row), _JOINED):
                yield self._filled(row[first : first + _JOINED])

    def _filled(self, infos: Sequence[TensorInfo]) -> torch.Tensor:
        """Returns the numbers of tensors of one type in a row."""
        row = torch.empty(sum(info.length for info in infos), dtype=torch.uint8)
        room, begin = memoryview(cast(Any, row.numpy())), 0
        for info in infos:
            end = begin + info.length
            self._file.seek(info.begin or 0)
            if self._file.readinto(room[begin:end]) < info.length:
                raise RuntimeError(f"'{Path(self._file.name).name}' became shorter while it was read. Load it again.")
            begin = end
        return row.view(DTYPES[infos[0].dtype])


@contextmanager
def tensors_of(path: Path) -> Iterator[Read]:
    """Opens a file to read its tensors."""
    with open_file(path) as raw, io.BufferedReader(raw) as file:
        yield Read(file)


def mapped(file: ModelFile) -> dict[str, torch.Tensor]:
    """Returns all tensors of a safetensors file, which the system reads from it as they are used.

    safetensors' own reader does the same, and refuses a file with bytes after its last tensor.

    Raises:
        ValueError: A tensor has a type that models are not stored in.
    """
    types, tensors = DTYPES | _OTHERS, file.header.tensors
    strange = next((info.dtype for info in tensors.values() if info.dtype not in types), None)
    if strange:
        raise ValueError(
            f"'{file.name}' has {file.header.spare} bytes after its last tensor, and stores some as {strange}, which "
            "is not read here in such a file. Choose another version."
        )
    whole = torch.from_file(str(file.path), shared=False, size=file.path.stat().st_size, dtype=torch.uint8)
    return {name: _piece(whole, info, types[info.dtype]) for name, info in tensors.items()}


def _piece(whole: torch.Tensor, info: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
    if not info.length:
        return torch.empty(info.shape, dtype=dtype)
    begin = info.begin or 0
    piece = whole[begin : begin + info.length]
    if begin % dtype.itemsize:  # a number may only begin where its type allows
        piece = piece.clone()
    return piece.view(dtype).view(info.shape)


def extremes(tensor: torch.Tensor) -> tuple[float, float]:
    """Returns the smallest and the largest number of a tensor, NaN where one is NaN, in one pass without a copy."""
    smallest, largest = (tensor.float() if tensor.itemsize == 1 else tensor).aminmax()
    return float(smallest), float(largest)


def is_finite(tensor: torch.Tensor) -> bool:
    """Returns whether all numbers of a tensor are finite."""
    if not tensor.numel() or tensor.dtype not in DTYPES.values() or tensor.dtype is torch.int8:
        return True
    return all(map(math.isfinite, extremes(tensor)))


def check_small(file: ModelFile) -> None:
    """Refuses a file of which a small tensor holds NaN or infinity, of which one makes every picture black.

    Raises:
        FileNotFoundError: It is gone meanwhile.
        RuntimeError: The system does not let us read it.
        ValueError: It does.
    """
    small = {name: info for name, info in file.header.tensors.items()
             if info.dtype in _FLOATS and 0 < info.length <= _SMALL and info.begin is not None}  # fmt: skip
    with explained(file.path, "safetensors"), tensors_of(file.path) as read:
        if not all(map(is_finite, read.joined(small.values()))):
            in_order = sorted(small, key=lambda name: small[name].begin or 0)
            _refuse(file, next((name for name in in_order if not is_finite(read(small[name]))), None))


def check_all(file: ModelFile, state: Mapping[str, torch.Tensor]) -> None:
    """Refuses a file of whose tensors one holds NaN or infinity."""
    _refuse(file, next((name for name, tensor in state.items() if not is_finite(tensor)), None))


def _refuse(file: ModelFile, name: str | None) -> None:
    if name is not None:
        raise ValueError(
            f"'{file.name}' holds NaN or infinity in {printable(name, 200)}, which would make every picture black. It "
            "was damaged when it was made or copied: download it again, or choose another version."
        )
