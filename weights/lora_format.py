"""Brings a LoRA's tensors into the one form that ComfyUI's patcher reads fully, and sets aside what cannot work.

ComfyUI reads many spellings but not all (it passes over diffusers' names for Wan, lightx2v's `diff_m`, PEFT's magnitude
vectors and the alpha in PEFT's settings), and where a tensor has the wrong size it logs an error and goes on without.
So every tensor is renamed here, and layers that cannot be applied are named before the patcher sees them.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor, tensor

from .lora_keys import Layers, split

PREFIX = "diffusion_model."  # of ComfyUI's generic form
Shape = tuple[int, ...]
Parts = dict[str, tuple[str, Tensor]]  # of one layer: part -> (the file's own key, tensor)


@dataclass(frozen=True)
class Conformed:
    """A LoRA in ComfyUI's generic form.

    Args:
        tensors: By ComfyUI's name, `diffusion_model.<layer>.<part>`.
        origin: The file's own key of each; a tensor made from the file's settings has none.
        unmatched: The file's keys that fit nowhere in the model, in the file's order.
    """

    tensors: dict[str, Tensor]
    origin: dict[str, str]
    unmatched: list[str]


def conform(tensors: Mapping[str, Any], shapes: Mapping[str, Shape | None], metadata: Mapping[str, str]) -> Conformed:
    """Renames a LoRA's tensors for one model.

    Args:
        tensors: As read from the file; what is no tensor counts as unmatched.
        shapes: The model's weights: name without `.weight` -> shape, None where it is not known.
        metadata: Of the file's header; PEFT's settings are taken from it.
    """
    layers, scaling = Layers(shapes), Scaling.of(metadata)
    groups: dict[str, Parts] = defaultdict(dict)
    for key, value in tensors.items():
        place = layers.find(key)
        if place and isinstance(value, Tensor) and value.is_floating_point():
            groups[place.layer].setdefault(place.part, (key, _matrix(value, place.part)))
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for layer, parts in groups.items():
        if not fits(parts, shapes[layer]):
            continue
        for part, (key, value) in parts.items():
            found[f"{PREFIX}{layer}.{part}"] = value
            origin[f"{PREFIX}{layer}.{part}"] = key
        if "lora_down.weight" in parts and "alpha" not in parts and scaling:
            key, down = parts["lora_down.weight"]
            found[f"{PREFIX}{layer}.alpha"] = tensor(scaling.alpha(split(key).layer, down.shape[0]))
    matched = set(origin.values())
    return Conformed(found, origin, [key for key in tensors if key not in matched])


def _matrix(value: Tensor, part: str) -> Tensor:
    """Gives a tensor the shape that ComfyUI's arithmetic takes, where that is not the file's."""
    if part == "dora_scale" and value.ndim == 1:  # PEFT's vector is one scale per output
        return value[:, None]
    if part == "lokr_w2" and value.ndim > 2:  # torch.kron would align a kernel's axes with the first factor's
        return value.flatten(1)
    return value


def fits(parts: Parts, shape: Shape | None) -> bool:
    """Says whether a layer's tensors are complete and make a change of the weight's size.

    A LoRA for a smaller model has all the names and no effect, and the patcher's multiplication would fail unseen.
    """
    sizes = {part: tuple(value.shape) for part, (_, value) in parts.items()}
    if math.prod(sizes.get("alpha", (1,))) != 1:
        return False
    changes = [_lora_change(sizes), _loha_change(sizes), _lokr_change(sizes)]
    weight = math.prod(shape) if shape is not None else None
    for change in changes:
        if change is not None and (change < 0 or (weight not in (None, change) and "reshape_weight" not in sizes)):
            return False
    if shape is not None and any(sizes[part] != shape for part in ("diff", "set_weight", "w_norm") if part in sizes):
        return False
    scales = math.prod(sizes.get("dora_scale", (1,)))
    if shape is not None and "dora_scale" in sizes and scales not in (shape[0], math.prod(shape[1:])):
        return False
    return bool(sizes.keys() - {"alpha", "dora_scale", "reshape_weight", "rescale"})


_BROKEN = -1  # in place of a size, where tensors are missing or do not belong together


def _lora_change(sizes: Mapping[str, Shape]) -> int | None:
    """Returns how many numbers B A has, None where there is no LoRA."""
    up, down, mid = (sizes.get(f"lora_{name}.weight") for name in ("up", "down", "mid"))
    if up is None and down is None and mid is None:
        return None
    # ComfyUI's Tucker form knows two-dimensional kernels alone, and Wan's only convolution has three.
    if not up or not down or mid is not None or len(up) < 2 or math.prod(up[1:]) != down[0]:
        return _BROKEN
    return up[0] * math.prod(down[1:])


def _loha_change(sizes: Mapping[str, Shape]) -> int | None:
    """Returns how many numbers (w1_a w1_b) * (w2_a w2_b) has, None where there is no LoHa."""
    names = [f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")]
    if sizes.keys().isdisjoint(names):
        return None
    first_a, first_b, second_a, second_b, *tucker = (sizes.get(name) for name in names)
    if not (first_a and first_b and second_a and second_b) or any(tucker):
        return _BROKEN
    first, second = _product(first_a, first_b), _product(second_a, second_b)
    return first if first == second else _BROKEN


def _lokr_change(sizes: Mapping[str, Shape]) -> int | None:
    """Returns how many numbers the Kronecker product of w1 and w2 has, None where there is no LoKr."""
    names = [name for name in sizes if name.startswith("lokr_")]
    if not names:
        return None
    factors = [_lokr_factor(sizes, name) for name in ("lokr_w1", "lokr_w2")]
    if "lokr_t2" in names or min(factors) <= 0:
        return _BROKEN
    return math.prod(factors)


def _lokr_factor(sizes: Mapping[str, Shape], name: str) -> int:
    whole, a, b = (sizes.get(f"{name}{end}") for end in ("", "_a", "_b"))
    if whole:
        return math.prod(whole) if len(whole) == 2 else _BROKEN
    return _product(a, b) if a and b else _BROKEN


def _product(a: Shape, b: Shape) -> int:
    """Returns how many numbers a b has, `_BROKEN` where they cannot be multiplied."""
    return a[0] * math.prod(b[1:]) if len(a) == 2 and a[1] == b[0] else _BROKEN


@dataclass(frozen=True)
class Scaling:
    """PEFT's settings of a LoRA, which say what other trainers write as alpha tensors.

    Source: `LoraConfig` of huggingface/peft; diffusers stores it in the header as `lora_adapter_metadata`.
    """

    lora_alpha: float
    by_layer: Mapping[
        str, float
    ]  # PEFT allows patterns; a file's patterns are not run here, plain names are what is met
    rank_stabilised: bool

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Scaling | None:
        """Reads the settings from a header; None where it holds none."""
        settings = _settings(metadata.get("lora_adapter_metadata", ""))
        alpha = settings.get("lora_alpha")
        if not _is_number(alpha):
            return None
        patterns = settings.get("alpha_pattern")
        by_layer = {name: value for name, value in patterns.items() if _is_number(value)} if _is_map(patterns) else {}
        return cls(float(alpha), by_layer, settings.get("use_rslora") is True)

    def alpha(self, layer: str, rank: int) -> float:
        """Returns the alpha that gives a layer PEFT's scale when it is divided by the rank."""
        own = (value for name, value in self.by_layer.items() if f".{layer}".endswith(f".{name}"))
        alpha = next(own, self.lora_alpha)
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha


def _settings(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not _is_map(parsed):
        return {}
    # diffusers puts the component's name before each setting: `transformer.lora_alpha`.
    return {name.rpartition(".")[2]: value for name, value in reversed(parsed.items())}


def _is_map(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
