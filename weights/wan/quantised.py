"""Whether ComfyUI applies the scales of a quantised file; without them the weights are noise, and no error says so.

ComfyUI (comfy.ops, comfy.utils.convert_old_quants) applies a layer's scale where a tensor `comfy_quant` beside it, or
the metadata `_quantization_metadata`, names the layer's format, or where the older mark `scaled_fp8` is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..formats.header import Header, TensorInfo, explained, open_file, printable, small_json
from . import scales
from .kinds import Storage, storage_of, wan_prefix
from .scales import OLD, QUANTISED, SCALE, Layer

METADATA = "_quantization_metadata"
MAX_TEXT = 10_000  # bytes of a `comfy_quant` tensor; a usual one has a hundred
_LAYOUTS = (Storage.MXFP8, Storage.NVFP4, Storage.INT8_TENSORWISE)
MARK = "scaled_fp8"  # the older mark of a file whose scales are named `scale_weight`


def check_storage(header: Header, path: str | Path, known: Collection[str]) -> list[Layer]:
    """Refuses a quantised file that the running ComfyUI does not compute with.

    Args:
        header: The file's header.
        path: The file, of which the formats of its layers are read.
        known: The quantised formats that ComfyUI knows, by its own names.

    Returns:
        Its quantised layers, of which the numbers are not looked at yet.

    Raises:
        FileNotFoundError: It is gone meanwhile.
        RuntimeError: The system does not let us read it.
        ValueError: ComfyUI does not know a format in it, does not apply its scales, or would read them otherwise.
    """
    path, storage = Path(path), storage_of(header)
    formats = _formats(header, path)
    unknown = [found for found in formats.values() if found not in known]
    if not formats and storage in _LAYOUTS and storage.value not in known:
        unknown = [storage.value]
    if unknown:
        raise ValueError(
            f"'{path.name}' stores its weights as {unknown[0]}, which this version of ComfyUI does not compute "
            "with. Update ComfyUI, or choose the file's fp8_scaled version."
        )
    layers = layers_of(header, formats)
    scaled = (
        any(layer.format or layer.scales for layer in layers) or f"{wan_prefix(header) or ''}{MARK}" in header.tensors
    )
    for layer in layers:
        problem = scales.problem(layer, scaled)
        if problem:
            raise ValueError(f"'{path.name}' {problem}")
    return layers


def layers_of(header: Header, formats: Mapping[str, str]) -> list[Layer]:
    """Returns the layers whose weight is said to be quantised or looks so, with all that may be a scale of it.

    Args:
        header: The file's header.
        formats: By layer without prefix.
    """
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
    """Says whether ComfyUI takes a file's fp8_e5m2 for fp8_e4m3, as it does where the older mark tells of scales."""
    return any(layer.format == "float8_e5m2" and OLD in layer.scales for layer in layers_of(header, {}))


def in_new_names(
    state: dict[str, Any], metadata: Mapping[str, str] | None, header: Header
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns a file that `is_misread` with today's names and metadata, which say the format of each layer.

    Such layers are multiplied in full precision: a product of two e5m2 matrices is none that a GPU computes.

    Args:
        state: Its tensors, without the model's prefix.
        metadata: Its metadata.
        header: Its header.
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
    listed = small_json(metadata[METADATA])
    layers = {name.removeprefix(prefix): settings for name, settings in listed["layers"].items()}
    return metadata | {METADATA: json.dumps(listed | {"layers": layers})}


def _formats(header: Header, path: Path) -> dict[str, str]:
    """Returns the format that each layer, named without prefix, is said to have."""
    prefix = wan_prefix(header) or ""
    try:
        with explained(path, "safetensors"):
            named = _of_metadata(header) | _of_tensors(header, path)
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ValueError(
            f"'{path.name}' does not say in ComfyUI's way how its layers are quantised. Download it again."
        ) from err
    return {layer.removeprefix(prefix): name for layer, name in named.items()}


def _of_metadata(header: Header) -> dict[str, str]:
    if METADATA not in header.metadata:
        return {}
    layers = small_json(header.metadata[METADATA])["layers"]
    return {layer: _format(settings) for layer, settings in layers.items()}


def _of_tensors(header: Header, path: Path) -> dict[str, str]:
    texts = {name: info for name, info in header.tensors.items() if name.endswith(".comfy_quant")}
    if not texts:
        return {}
    named = {}
    with open_file(path) as file:
        for name, info in texts.items():
            if info.begin is None or info.length > MAX_TEXT:
                raise ValueError(name)
            file.seek(info.begin)
            named[name.removesuffix(".comfy_quant")] = _format(small_json(file.read(info.length).decode()))
    return named


def _format(settings: Any) -> str:
    name = settings.get("format") if isinstance(settings, dict) else None
    shown = name if isinstance(name, str) else json.dumps(name)
    return printable(shown)
