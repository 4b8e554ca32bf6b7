"""Whether ComfyUI applies the scales of a quantised file; without them the weights are noise, and no error says so.

ComfyUI (comfy.ops, comfy.utils.convert_old_quants) applies a layer's scale where a tensor `comfy_quant` beside it, or
the metadata `_quantization_metadata`, names the layer's format, or where the older mark `scaled_fp8` is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .files import Header, explained, open_file, printable, small_json
from .kinds import SCALES, Storage, storage_of, wan_prefix

METADATA = "_quantization_metadata"
MAX_TEXT = 10_000  # bytes of a `comfy_quant` tensor; a usual one has a hundred
_LAYOUTS = (Storage.MXFP8, Storage.NVFP4, Storage.INT8_TENSORWISE)
_QUANTISED = ("F8_E4M3", "F8_E5M2", "I8", "U8", "F4")  # types of weights that mean nothing without their scale


def check_storage(header: Header, path: str | Path, known: Collection[str]) -> None:
    """Refuses a quantised file that the running ComfyUI does not compute with.

    Args:
        header: The file's header.
        path: The file, of which the formats of its layers are read.
        known: The quantised formats that ComfyUI knows, by its own names.

    Raises:
        FileNotFoundError: It is gone meanwhile.
        RuntimeError: The system does not let us read it.
        ValueError: ComfyUI does not know a format in it, or does not apply its scales.
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
    lost = _scaled_layers(header) - formats.keys()
    if lost:
        raise ValueError(
            f"'{path.name}' stores scales in a way that ComfyUI does not apply, for example of the layer "
            f"{min(lost)[:200]}. Choose the file's ComfyUI version, or an fp8_scaled file."
        )


def without_prefix(metadata: dict[str, str] | None, prefix: str) -> dict[str, str] | None:
    """Returns metadata that names a model's layers without the prefix that its tensors were saved with."""
    if not metadata or METADATA not in metadata:
        return metadata
    listed = small_json(metadata[METADATA])
    layers = {name.removeprefix(prefix): settings for name, settings in listed["layers"].items()}
    return metadata | {METADATA: json.dumps(listed | {"layers": layers})}


def _scaled_layers(header: Header) -> set[str]:
    """Returns the layers, without prefix, with a scale that ComfyUI needs to be told of."""
    prefix = wan_prefix(header) or ""
    layers = set()
    for name in header.tensors:
        layer, _, part = name.rpartition(".")
        weight = header.tensors.get(f"{layer}.weight")
        marked = part == "scale_weight" and f"{prefix}scaled_fp8" in header.tensors and METADATA not in header.metadata
        if part in SCALES and weight and weight.dtype in _QUANTISED and not marked:
            layers.add(layer.removeprefix(prefix))
    return layers


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
