"""Whether ComfyUI reads a quantised file as it is meant: without their scales weights are noise, and no error says so.

ComfyUI (comfy.ops, comfy.utils.convert_old_quants) applies a layer's scale where a tensor `comfy_quant` beside it, or
the metadata `_quantization_metadata`, names the layer's format, or where the older mark `scaled_fp8` is in the file. It
multiplies a weight in fp8 by one number (comfy.quant_ops, comfy_kitchen's layouts), one in int8 by one number or one
for each row. A scale under another name is left out, one of another shape is spread over the wrong numbers or ends in
PyTorch's own error after minutes of loading. What a scale of another name means, whether to multiply or to divide, only
its maker knows; so such a file is refused before it is loaded, and no 8-bit number goes without its scale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from math import inf, prod
from typing import TYPE_CHECKING, Any, NamedTuple

from ...common.text import printable, read_json
from ..formats.header import Header, ModelFile, TensorInfo, explained, open_file
from .transformer import layout_of, wan_prefix

if TYPE_CHECKING:  # whoever reads headers alone goes without torch
    from ..formats.model_file import Read

METADATA = "_quantization_metadata"
MAX_TEXT = 10_000  # bytes of a `comfy_quant` tensor; a usual one has a hundred
MARK = "scaled_fp8"  # the older mark of a file whose scales are named `scale_weight`
OLD = "scale_weight"
QUANTISED = ("F8_E4M3", "F8_E5M2", "I8", "U8", "F4")  # types of weights that mean little without their scale
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


class Layer(NamedTuple):
    """A layer whose weight is quantised: its name without prefix, its scales by their part of the name, its format."""

    name: str
    weight: TensorInfo
    scales: Mapping[str, TensorInfo]
    format: str


def check_storage(file: ModelFile, known: Collection[str]) -> list[Layer]:
    """Refuses a quantised file that the running ComfyUI does not compute with.

    Args:
        file: The file, of which the formats of its layers are read.
        known: The quantised formats that ComfyUI knows, by its own names.

    Returns:
        Its quantised layers, of which the numbers are not looked at yet.

    Raises:
        FileNotFoundError, RuntimeError: It is gone meanwhile, or the system does not let us read it.
        ValueError: ComfyUI does not know a format in it, does not apply its scales, or would read them otherwise.
    """
    formats = _formats(file)
    named = list(formats.values()) or list(filter(None, [layout_of(file.header)]))
    unknown = [found for found in named if found not in known]
    if unknown:
        raise ValueError(
            f"'{file.name}' stores its weights as {unknown[0]}, which this version of ComfyUI does not compute "
            "with. Update ComfyUI, or choose the file's fp8_scaled version."
        )
    layers = layers_of(file.header, formats)
    mark = f"{wan_prefix(file.header) or ''}{MARK}"
    scaled = mark in file.header.tensors or any(layer.format or layer.scales for layer in layers)
    problem = next(filter(None, (_problem(layer, scaled) for layer in layers)), "")
    if problem:
        raise ValueError(f"'{file.name}' {problem}")
    return layers


def layers_of(header: Header, formats: Mapping[str, str]) -> list[Layer]:
    """Returns the layers whose weight is said, in `formats`, or looks to be quantised, with all that may be a scale."""
    prefix = wan_prefix(header) or ""
    tensors = {name.removeprefix(prefix): info for name, info in header.tensors.items()}
    weights = {name.removesuffix(".weight"): info for name, info in tensors.items() if name.endswith(".weight")}
    weights = {name: info for name, info in weights.items() if name in formats or info.dtype in QUANTISED}
    beside: dict[str, dict[str, TensorInfo]] = {name: {} for name in weights}
    for name, info in tensors.items():
        layer, _, part = name.rpartition(".")
        if layer.endswith(".weight"):  # as bitsandbytes and quanto name what belongs to one
            layer, part = layer.removesuffix(".weight"), f"weight.{part}"
        if layer in beside and SCALE.search(part):
            beside[layer][part] = info
    old = MARK in tensors and METADATA not in header.metadata
    return [
        Layer(name, info, beside[name], formats.get(name) or (_old_format(info) if old and OLD in beside[name] else ""))
        for name, info in weights.items()
    ]


def _old_format(weight: TensorInfo) -> str:
    return "float8_e5m2" if weight.dtype == "F8_E5M2" else "float8_e4m3fn"


def is_misread(header: Header) -> bool:
    """Returns whether ComfyUI takes a file's fp8_e5m2 for fp8_e4m3, as it does where the older mark tells of scales."""
    if not any(info.dtype == "F8_E5M2" for info in header.tensors.values()):
        return False
    return any(layer.format == "float8_e5m2" and OLD in layer.scales for layer in layers_of(header, {}))


def in_new_names(
    state: dict[str, Any], metadata: Mapping[str, str] | None, header: Header
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns a file that `is_misread` with today's names and metadata, which say the format of each layer.

    Such layers are multiplied in full precision: a product of two e5m2 matrices is none that a GPU computes.

    Args:
        state: Its tensors, without the model's prefix.
    """
    found = {layer.name: layer.format for layer in layers_of(header, {}) if layer.format}
    settings = {name: {"format": form, "full_precision_matrix_mult": True} for name, form in found.items()}
    renamed = {
        name.replace(f".{OLD}", ".weight_scale").replace(".scale_input", ".input_scale"): tensor
        for name, tensor in state.items()
        if name != MARK
    }
    return renamed, {**(metadata or {}), METADATA: json.dumps({"layers": settings})}


def without_prefix(metadata: dict[str, str] | None, prefix: str) -> dict[str, str] | None:
    """Returns metadata that names a model's layers without the prefix that its tensors were saved with."""
    if not metadata or METADATA not in metadata:
        return metadata
    listed = read_json(metadata[METADATA])
    layers = {name.removeprefix(prefix): settings for name, settings in listed["layers"].items()}
    return metadata | {METADATA: json.dumps(listed | {"layers": layers})}


def _formats(file: ModelFile) -> dict[str, str]:
    """Returns the format that each layer, named without prefix, is said to have."""
    prefix = wan_prefix(file.header) or ""
    try:
        with explained(file.path, "safetensors"):
            named = _of_metadata(file.header) | _of_tensors(file)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(
            f"'{file.name}' does not say in ComfyUI's way how its layers are quantised. Download it again."
        ) from err
    return {layer.removeprefix(prefix): name for layer, name in named.items()}


def _of_metadata(header: Header) -> dict[str, str]:
    if METADATA not in header.metadata:
        return {}
    layers = read_json(header.metadata[METADATA])["layers"]
    return {layer: _format(settings) for layer, settings in layers.items()}


def _of_tensors(file: ModelFile) -> dict[str, str]:
    texts = {name: info for name, info in file.header.tensors.items() if name.endswith(".comfy_quant")}
    if not texts:
        return {}
    named = {}
    with open_file(file.path) as opened:
        for name, info in texts.items():
            if info.begin is None or info.length > MAX_TEXT:
                raise ValueError(name)
            opened.seek(info.begin)
            named[name.removesuffix(".comfy_quant")] = _format(read_json(opened.read(info.length).decode()))
    return named


def _format(settings: Any) -> str:
    if settings is None:
        raise ValueError("no JSON")
    name = settings.get("format") if isinstance(settings, dict) else None
    return printable(name if isinstance(name, str) else json.dumps(name))


def _problem(layer: Layer, scaled: bool) -> str:
    """Returns why ComfyUI would not read a layer as it is meant, in a file with or without scales, or nothing."""
    if not layer.format:
        return _without_format(layer, scaled)
    if layer.weight.dtype != _STORED.get(layer.format, layer.weight.dtype):
        return (
            f"says that the layer {_name(layer)} is stored as {layer.format}, but stores it as {layer.weight.dtype}. "
            f"{_CHOOSE}"
        )
    applied = _APPLIED | _FURTHER.get(layer.format, set()) | (_OLD_APPLIED if OLD in layer.scales else set())
    strange = next((part for part in layer.scales if part not in applied), None)
    if strange:
        return _not_applied(layer, strange)
    second = layer.format != "nvfp4" or "weight_scale_2" in layer.scales
    if not second or not {"weight_scale", OLD} & layer.scales.keys():
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
    """Returns whether a scale has one of the sizes that ComfyUI's layout of the format takes."""
    count = prod(info.shape)
    if part == "pre_quant_scale" or layer.format == "convrot_w4a4":
        return True
    rows, *columns = layer.weight.shape or (0,)
    if part == "weight_scale" and layer.format in _BLOCKS:
        block, packed = _BLOCKS[layer.format]
        in_a_row = -(-prod(columns) * packed // block)
        return rows * in_a_row <= count <= _up(rows, 128) * _up(in_a_row, 4)
    by_row = info.shape in ((rows,), (rows, 1))
    return count == 1 or (by_row and part == "weight_scale" and layer.format == "int8_tensorwise")


def _up(size: int, step: int) -> int:
    return -(-size // step) * step


def check_scales(layers: Iterable[Layer], file_name: str, read: Read) -> None:
    """Looks into the scales, but for large ones, and into a few fp8 matrices that have none.

    Args:
        layers: What `check_storage` has returned.
        file_name: For the message.
        read: Reads tensors of the file.

    Raises:
        ValueError: A scale is none, or fp8 numbers were made for scales that are gone.
    """
    layers = list(layers)
    scales = [(layer, part, info) for layer in layers for part, info in layer.scales.items() if _is_looked_into(info)]
    # A zero among other numbers is no fault, and a scale without numbers is one: then each is looked into by itself.
    whole = all(info.length for *_, info in scales)
    if not whole or not all(map(_are_positive, read.joined(info for *_, info in scales))):
        for layer, part, info in scales:
            if not _is_sound(read(info)):
                raise ValueError(
                    f"'{file_name}' holds a scale that is NaN, infinite, negative or zero: {_name(layer)}.{part}. The "
                    "file is damaged: download it again, or choose another version."
                )
    bare = (layer for layer in layers if not layer.format and layer.weight.begin is not None)
    for layer in islice((each for each in bare if len(each.weight.shape) > 1), _LOOKED_AT):
        length = min(layer.weight.length, _PIECE)
        piece = read(TensorInfo(layer.weight.dtype, (length,), layer.weight.begin, length))
        largest = float(piece.float().abs().nan_to_num().max())
        if largest > _LARGE:
            raise ValueError(
                f"'{file_name}' holds 8-bit numbers as large as {largest:g}, for example in the layer {_name(layer)}, "
                f"which are meant to be multiplied by a scale, and it has none. {_CHOOSE}"
            )


def _is_looked_into(scale: TensorInfo) -> bool:
    return scale.dtype in _READ and scale.length <= _SMALL and scale.begin is not None


def _are_positive(scales: Any) -> bool:
    smallest, largest = map(float, scales.aminmax())  # NaN where one is
    return 0 < smallest <= largest < inf


def _is_sound(scale: Any) -> bool:
    return bool(scale.isfinite().all() and (scale >= 0).all() and (scale > 0).any())
