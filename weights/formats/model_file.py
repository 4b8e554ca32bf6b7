"""Tensors that are read from their file at the moment they are used, so that a model is never in memory twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from .header import Header, TensorInfo, open_file

DTYPES = {  # safetensors' names of the types that models are stored in
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_OTHERS = {"U8": torch.uint8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "BOOL": torch.bool}


class LazyTensor:
    """Stands for a tensor in a state dict: shape and type are known, the numbers are made on use, each time anew.

    PyTorch takes anything with `__torch_function__` where it takes a tensor, `load_state_dict` included.

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


@contextmanager
def tensors_of(path: Path) -> Iterator[Callable[[TensorInfo], torch.Tensor]]:
    """Opens a file, and gives a function that reads one of its tensors, whatever the format of the file."""
    with open_file(path) as raw, io.BufferedReader(raw) as file:
        yield lambda info: _read(file, info)


def _read(file: io.BufferedReader[io.FileIO], info: TensorInfo) -> torch.Tensor:
    tensor = torch.empty(info.shape, dtype=DTYPES[info.dtype])
    file.seek(info.begin or 0)
    if file.readinto(cast(Any, tensor.view(-1).view(torch.uint8).numpy())) < info.length:
        name = Path(file.name).name
        raise RuntimeError(f"'{name}' became shorter while it was read. Load it again.")
    return tensor


def mapped(path: Path, header: Header) -> dict[str, torch.Tensor]:
    """Returns all tensors of a safetensors file, which the system reads from it as they are used.

    safetensors' own reader does the same, and refuses a file with bytes after its last tensor.

    Raises:
        ValueError: A tensor has a type that models are not stored in.
    """
    types = DTYPES | _OTHERS
    strange = next((info.dtype for info in header.tensors.values() if info.dtype not in types), None)
    if strange:
        raise ValueError(
            f"'{path.name}' has {header.spare} bytes after its last tensor, and stores some as {strange}, which is not "
            "read here in such a file. Choose another version."
        )
    whole = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    return {name: _piece(whole, info, types[info.dtype]) for name, info in header.tensors.items()}


def _piece(whole: torch.Tensor, info: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
    if not info.length:
        return torch.empty(info.shape, dtype=dtype)
    begin = info.begin or 0
    piece = whole[begin : begin + info.length]
    if begin % dtype.itemsize:  # a number may only begin where its type allows
        piece = piece.clone()
    return piece.view(dtype).view(info.shape)
