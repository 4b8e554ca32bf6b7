"""Whether a quantised layer has the scale that its numbers need, in the shape and with the values that ComfyUI reads.

ComfyUI multiplies a weight in fp8 by one number (comfy.quant_ops, comfy_kitchen's layouts), one in int8 by one number
or one for each row. A scale under another name is left out, one of another shape is spread over the wrong numbers or
ends in PyTorch's own error after minutes of loading. What a scale of another name means, whether to multiply or to
divide, only its maker knows; so such a file is refused before it is loaded, and no 8-bit number goes without its scale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from math import prod
from typing import Any, NamedTuple

from ..formats.header import TensorInfo, printable

QUANTISED = ("F8_E4M3", "F8_E5M2", "I8", "U8", "F4")  # types of weights that mean little without their scale
OLD = "scale_weight"
SCALE = re.compile(r"scale|SCB|absmax|quant_(?:map|state)|zero|_inv$|^(?:q|g_idx)", re.IGNORECASE)
_APPLIED = {"weight_scale", "input_scale"}  # by ComfyUI; further ones by some formats
_FURTHER = {"nvfp4": {"weight_scale_2", "pre_quant_scale"}}
_OLD_APPLIED = {OLD, "scale_input"}
_STORED = {  # how the weights of ComfyUI's formats are stored
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "mxfp8": "F8_E4M3", "nvfp4": "U8",
    "int8_tensorwise": "I8", "convrot_w4a4": "I8",
}  # fmt: skip
_BLOCKS = {"mxfp8": (32, 1), "nvfp4": (16, 2)}  # format -> (numbers that share a scale, numbers in a byte)
_READ = ("F64", "F32", "F16", "BF16")
_SMALL = 2**18  # bytes of a scale that is looked into; the rows of a large int8 matrix have 55 kB, blocks have more
_LOOKED_AT, _PIECE = 8, 2**16  # matrices of fp8 without a scale that are looked into, and bytes of each
_LARGE = 64  # no weight of a trained matrix is larger; one made for a scale goes up to 448 or 57344
_CHOOSE = "Choose the file's ComfyUI version, or an fp8_scaled file."

Read = Callable[[TensorInfo], Any]  # gives a torch.Tensor


class Layer(NamedTuple):
    """A layer whose weight is quantised: its name without prefix, its scales by their part of the name, its format."""

    name: str
    weight: TensorInfo
    scales: Mapping[str, TensorInfo]
    format: str


def problem(layer: Layer, scaled: bool) -> str:
    """Says why ComfyUI would not read a layer as it is meant, as the rest of a sentence; nothing where it does.

    Args:
        layer: The layer.
        scaled: Other layers of the file have scales.
    """
    if not layer.format:
        return _without_format(layer, scaled)
    stored = _STORED.get(layer.format, layer.weight.dtype)
    if layer.weight.dtype != stored:
        return (
            f"says that the layer {_name(layer)} is stored as {layer.format}, but stores it as {layer.weight.dtype}. "
            f"{_CHOOSE}"
        )
    applied = _APPLIED | _FURTHER.get(layer.format, set()) | (_OLD_APPLIED if OLD in layer.scales else set())
    strange = [part for part in layer.scales if part not in applied]
    if strange:
        return _not_applied(layer, strange[0])
    if not {"weight_scale", OLD} & layer.scales.keys() or (
        layer.format == "nvfp4" and "weight_scale_2" not in layer.scales
    ):
        return _lacking(layer)
    misfit = next((part for part, info in layer.scales.items() if not _has_size(layer, part, info)), None)
    return _not_applied(layer, misfit) if misfit else ""


def _without_format(layer: Layer, scaled: bool) -> str:
    if layer.scales:
        part = next(iter(layer.scales))
        return _not_applied(layer, "" if part in ("weight_scale", OLD) else part)
    return _lacking(layer) if scaled or not layer.weight.dtype.startswith("F8") else ""


def _name(layer: Layer) -> str:
    return printable(layer.name, 200)


def _not_applied(layer: Layer, part: str) -> str:
    shape = list(layer.scales[part].shape) if part else []
    detail = f" ({printable(part)}{f' of shape {shape}' if shape else ''})" if part else ""
    said = f"stores scales in a way that ComfyUI does not apply, for example of the layer {_name(layer)}{detail}"
    return f"{said}. {_CHOOSE}"


def _lacking(layer: Layer) -> str:
    return (
        f"lacks the scale of the layer {_name(layer)}, which is stored as {layer.weight.dtype} and means nothing "
        f"without one. {_CHOOSE}"
    )


def _has_size(layer: Layer, part: str, info: TensorInfo) -> bool:
    """Says whether a scale has one of the sizes that ComfyUI's layout of the format takes."""
    count = prod(info.shape)
    if part == "pre_quant_scale" or layer.format == "convrot_w4a4":
        return True
    rows, *columns = layer.weight.shape or (0,)
    if part == "weight_scale" and layer.format in _BLOCKS:
        block, packed = _BLOCKS[layer.format]
        least = rows * -(-prod(columns) * packed // block)
        return least <= count <= _up(rows, 128) * _up(-(-prod(columns) * packed // block), 4)
    by_row = info.shape in ((rows,), (rows, 1))
    return count == 1 or (by_row and part == "weight_scale" and layer.format == "int8_tensorwise")


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def problem_of_numbers(layers: Iterable[Layer], read: Read) -> str:
    """Looks into the scales, but for large ones, and into a few fp8 matrices that have none.

    Args:
        layers: Of one file, in none of which there is a `problem`.
        read: Reads a tensor.
    """
    layers = list(layers)
    for layer in layers:
        for part, info in layer.scales.items():
            if info.dtype in _READ and info.length <= _SMALL and info.begin is not None and not _is_sound(read(info)):
                return (
                    f"holds a scale that is NaN, infinite, negative or zero: {_name(layer)}.{part}. The file is "
                    "damaged: download it again, or choose another version."
                )
    bare = (layer for layer in layers if not layer.format and layer.weight.begin is not None)
    for layer in islice((each for each in bare if len(each.weight.shape) > 1), _LOOKED_AT):
        largest = _largest(layer.weight, read)
        if largest > _LARGE:
            return (
                f"holds 8-bit numbers as large as {largest:g}, for example in the layer {_name(layer)}, which are "
                f"meant to be multiplied by a scale, and it has none. {_CHOOSE}"
            )
    return ""


def _is_sound(scale: Any) -> bool:
    return bool(scale.isfinite().all() and (scale >= 0).all() and (scale > 0).any())


def _largest(weight: TensorInfo, read: Read) -> float:
    length = min(weight.length, _PIECE)
    return float(read(TensorInfo(weight.dtype, (length,), weight.begin, length)).float().abs().nan_to_num().max())
