"""Whether a model's tensors hold NaN or infinity, of which one makes every picture black, and its scales sense.

Reading 14 GB again to look at each number is not worth it. Looked at are the tensors that are small (norms, biases,
modulation, scales: about 20 MB of a 14B expert), and all of a VAE, which is read at once anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from ..formats.header import Header, explained, printable
from ..formats.model_file import DTYPES, tensors_of
from . import scales

_SMALL = 2**17  # bytes; the modulation of a 14B block in fp32 has 123 kB
_FLOATS = ("F64", "F32", "F16", "BF16")


def check_small(header: Header, path: Path) -> None:
    """Refuses a file of which a small tensor holds NaN or infinity.

    Raises:
        FileNotFoundError: It is gone meanwhile.
        RuntimeError: The system does not let us read it.
        ValueError: It does.
    """
    small = {name: info for name, info in header.tensors.items()
             if info.dtype in _FLOATS and 0 < info.length <= _SMALL and info.begin is not None}  # fmt: skip
    with explained(path, "safetensors"), tensors_of(path) as read:
        bad = next((name for name, info in sorted(small.items(), key=_place) if not is_finite(read(info))), None)
    if bad:
        _refuse(path, bad)


def check_scales(layers: Iterable[scales.Layer], path: Path) -> None:
    """Refuses a file whose scales are none, or whose fp8 numbers were made for scales that are gone.

    Raises:
        FileNotFoundError: It is gone meanwhile.
        RuntimeError: The system does not let us read it.
        ValueError: They are.
    """
    with explained(path, "safetensors"), tensors_of(path) as read:
        problem = scales.problem_of_numbers(layers, read)
    if problem:
        raise ValueError(f"'{path.name}' {problem}")


def check_all(state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuses a file of whose tensors one holds NaN or infinity.

    Raises:
        ValueError: One does.
    """
    bad = next((name for name, tensor in state.items() if not is_finite(tensor)), None)
    if bad:
        _refuse(path, bad)


def is_finite(tensor: torch.Tensor) -> bool:
    """Says whether all numbers of a tensor are finite, in one pass without a copy."""
    if not tensor.numel() or tensor.dtype not in DTYPES.values() or tensor.dtype is torch.int8:
        return True
    smallest, largest = (tensor.float() if tensor.itemsize == 1 else tensor).aminmax()
    return bool(smallest.isfinite() and largest.isfinite())


def _place(item: tuple[str, object]) -> int:
    return getattr(item[1], "begin", 0)


def _refuse(path: Path, name: str) -> None:
    raise ValueError(
        f"'{path.name}' holds NaN or infinity in {printable(name, 200)}, which would make every picture black. It was "
        "damaged when it was made or copied: download it again, or choose another version."
    )
