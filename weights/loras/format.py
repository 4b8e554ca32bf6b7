"""Brings a LoRA's tensors into the one form that ComfyUI's patcher reads fully, and sets aside what cannot work.

ComfyUI reads many spellings but not all (it passes over diffusers' names for Wan, lightx2v's `diff_m`, PEFT's magnitude
vectors and the alpha in PEFT's settings). Where a tensor has the wrong size it logs an error and goes on without, and
where a layer has two kinds of change it keeps the last; one NaN makes the whole clip NaN, and no error says so. So
every tensor is renamed here, what cannot be applied is named before the patcher sees it, and a second kind of change
goes in a pass of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, int8, tensor, uint8

from ...common.text import printable
from ..formats.header import DamageError, listed
from ..formats.model_file import extremes
from ..lora_keys import FACTOR, UP_BIAS, Key, Layers, Scaling, experts_of, split
from .report import Match

PREFIX = "diffusion_model."  # of ComfyUI's generic form

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape | None]  # of a model's parameters
Sizes = Mapping[str, Shape]  # of the parts of one change
Matrix = tuple[int, int]  # (rows, columns); a kernel counts as a matrix of its flattened inputs
# Tensors by their part of one layer, or of one pass by ComfyUI's name `diffusion_model.<layer>.<part>`; each with the
# file's own key, None where it is made from the file's settings.
Parts = dict[str, tuple[str | None, Tensor]]

_OF_ADAPTERS = ("alpha", "dora_scale")
_KINDS = {  # the parts that make one change of a weight together
    "lora": ("lora_down.weight", "lora_up.weight", "lora_mid.weight", *_OF_ADAPTERS),
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", *_OF_ADAPTERS),
    "lokr": ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", *_OF_ADAPTERS),
    "diff": ("diff",),
    "norm": ("w_norm",),
    "bias": ("diff_b",),
    "norm's bias": ("b_norm",),
}
OF_BIAS = ("diff_b", "b_norm")
_SCALES = ("scale", "absmax")  # in the name of what belongs to a factor of 8 bits
_OTHER_VERSION = "Choose its bf16 or fp16 version."


class Change(NamedTuple):
    """What a file does to one layer: the layer as the file spells it, its tensors, and the kinds that are whole."""

    written: str
    parts: Parts
    kinds: list[str]


def conform(tensors: Mapping[str, Any], shapes: Shapes, match: Match, scaling: Scaling | None = None) -> list[Parts]:
    """Renames a LoRA's tensors for one expert, and notes in `match` the keys that change nothing.

    Args:
        tensors: As read from the file; what is no tensor counts as unmatched.
        shapes: The model's parameters, weights by their layer, biases as `<layer>.bias`; None where one is not known.
        match: Of the file and the expert; some files hold both experts under two names.
        scaling: PEFT's settings, where the file has them.

    Returns:
        The passes that are patched in one after the other, each with one change of a parameter at most.

    Raises:
        DamageError: It names parts of a model that are not known, so that nobody can tell what is for which expert.
    """
    layers = Layers(name for name in shapes if not name.endswith(".bias"))
    named = experts_of(tensors, layers.find)
    match.other_expert = [key for key, expert in named.items() if expert != match.expert]
    ours = {key: value for key, value in tensors.items() if named.get(key, match.expert) == match.expert}
    changes = _changes(ours, layers, shapes, scaling)
    passes = _in_passes(changes)
    used = {key for parts in passes for key, _ in parts.values()}
    for key in (key for key in ours if key not in used):
        place = layers.find(key)
        (match.ignored if place and place.layer in changes else match.unmatched).append(key)
    return passes


def _changes(tensors: Mapping[str, Any], layers: Layers, shapes: Shapes, scaling: Scaling | None) -> dict[str, Change]:
    """Returns the change of each layer: of several spellings or adapters of a layer the first that is whole."""
    changes: dict[str, Change] = {}
    for (layer, written), parts in _grouped(tensors, layers).items():
        if layer in changes:
            _refuse_rivals(layers, changes[layer].written, written, bool(_fitting(parts, layer, shapes)))
            continue
        if _fits("lora", parts, layer, shapes):
            _complete(parts, written, scaling)
        kinds = _fitting(parts, layer, shapes)
        if kinds:
            changes[layer] = Change(written, parts, kinds)
    return changes


def _refuse_rivals(layers: Layers, first: str, second: str, whole: bool) -> None:
    """Refuses two whole changes of one layer under wrappers of which one is not known: they may be of two experts."""
    strange = set(layers.wrappers(first)) ^ set(layers.wrappers(second))
    if whole and strange:
        raise DamageError(
            f"holds the same layers twice, under names that are not known here, such as {listed(sorted(strange))}. "
            "Which of them are for which expert cannot be told. Choose its version for ComfyUI, one file for each "
            "expert."
        )


def _grouped(tensors: Mapping[str, Any], layers: Layers) -> dict[tuple[str, str], Parts]:
    """Sorts tensors by layer and by the layer's spelling in the file, each spelling with its first adapter alone."""
    groups: dict[tuple[str, str], Parts] = {}
    adapters: dict[tuple[str, str], str] = {}
    for key, value in tensors.items():
        place, written = layers.find(key), split(key)
        if place is None or not _is_usable(place, value):
            continue
        # `diff_m` stands beside the layers of its block, and is one of its own
        group = (place.layer, place.layer if written.part == "diff_m" else written.layer)
        if written.adapter and adapters.setdefault(group, written.adapter) != written.adapter:
            continue
        groups.setdefault(group, {}).setdefault(place.part, (key, _matrix(value, place.part)))
    return groups


def _is_usable(place: Key, value: Any) -> bool:
    if not isinstance(value, Tensor):
        return False
    if place.part == "alpha":  # scripts write it as an integer too
        return not value.is_complex()
    return value.is_floating_point()


def _matrix(value: Tensor, part: str) -> Tensor:
    """Gives a tensor the shape that ComfyUI's arithmetic takes, where that is not the file's."""
    if part == "dora_scale" and value.ndim == 1:  # PEFT's vector is one scale per output
        return value[:, None]
    if part == "lokr_w2" and value.ndim > 2:  # torch.kron would align a kernel's axes with the first factor's
        return value.flatten(1)
    return value


def _complete(parts: Parts, written: str, scaling: Scaling | None) -> None:
    """Adds to a LoRA what PEFT says in another way: alpha in its settings, a bias of the second factor."""
    rank = len(parts["lora_down.weight"][1])
    if scaling and "alpha" not in parts:
        parts["alpha"] = (None, tensor(scaling.alpha(written, rank)))
    if UP_BIAS in parts and "diff_b" not in parts:  # the factors are scaled by alpha / rank, and their bias with them
        key, bias = parts[UP_BIAS]
        alpha = parts["alpha"][1].item() if "alpha" in parts else rank
        parts["diff_b"] = (key, bias.float() * (alpha / rank))


def _in_passes(changes: Mapping[str, Change]) -> list[Parts]:
    """Puts the kinds of change of each layer into passes, so that no pass has two of one parameter."""
    passes: list[Parts] = []
    for layer, change in changes.items():
        counts = {True: 0, False: 0}  # of changes of the bias, and of the weight
        for kind in change.kinds:
            of_bias = _KINDS[kind][0] in OF_BIAS
            if counts[of_bias] == len(passes):
                passes.append({})
            passes[counts[of_bias]] |= {
                f"{PREFIX}{layer}.{part}": change.parts[part] for part in _KINDS[kind] if part in change.parts
            }
            counts[of_bias] += 1
    return passes


def _fitting(parts: Parts, layer: str, shapes: Shapes) -> list[str]:
    return [kind for kind in _KINDS if _fits(kind, parts, layer, shapes)]


def _fits(kind: str, parts: Parts, layer: str, shapes: Shapes) -> bool:
    """Returns whether a kind of change is complete and of its parameter's size; where that is not known, complete.

    A LoRA for a smaller model has all the names and no effect, because the patcher's multiplication fails unseen.
    """
    sizes = {part: tuple(parts[part][1].shape) for part in _KINDS[kind] if part in parts}
    if kind in _CHANGES:
        alpha = sizes.get("alpha", ())
        return math.prod(alpha) == 1 and _adapter_fits(_CHANGES[kind](sizes), sizes.get("dora_scale"), shapes[layer])
    place = f"{layer}.bias" if _KINDS[kind][0] in OF_BIAS else layer
    size = next(iter(sizes.values()), None)
    return size is not None and place in shapes and shapes[place] in (None, size)


def _adapter_fits(change: Matrix | None, dora: Shape | None, shape: Shape | None) -> bool:
    if change is None or min(change) < 1:
        return False
    return shape is None or (change == (shape[0], math.prod(shape[1:])) and (dora is None or _dora_fits(dora, shape)))


def _dora_fits(scale: Shape, shape: Shape) -> bool:
    count, one_row = math.prod(scale), scale[:1] == (1,)
    return (scale[:1] == shape[:1] and count == shape[0]) or (one_row and len(shape) > 1 and count == shape[1])


def _lora(sizes: Sizes) -> Matrix | None:
    """Returns the size of B A."""
    up, down = sizes.get("lora_up.weight", ()), sizes.get("lora_down.weight", ())
    # ComfyUI's Tucker form knows two-dimensional kernels alone, and Wan's only convolution has three.
    if "lora_mid.weight" in sizes or len(up) < 2 or len(down) < 2:
        return None
    rank = math.prod(up[1:])
    return (up[0], math.prod(down[1:])) if rank == down[0] > 0 else None


def _loha(sizes: Sizes) -> Matrix | None:
    """Returns the size of (w1_a w1_b) * (w2_a w2_b)."""
    if "hada_t1" in sizes or "hada_t2" in sizes:
        return None
    first, second = (_product(sizes, f"hada_{name}_a", f"hada_{name}_b") for name in ("w1", "w2"))
    return first if first == second else None


def _lokr(sizes: Sizes) -> Matrix | None:
    """Returns the size of the Kronecker product of w1 and w2, each whole or as a product."""
    if "lokr_t2" in sizes:
        return None
    names = ("lokr_w1", "lokr_w2")
    first, second = (sizes[name] if name in sizes else _product(sizes, f"{name}_a", f"{name}_b") for name in names)
    if first is None or second is None or not len(first) == len(second) == 2:
        return None
    return first[0] * second[0], first[1] * second[1]


_CHANGES = {"lora": _lora, "loha": _loha, "lokr": _lokr}


def _product(sizes: Sizes, a: str, b: str) -> Matrix | None:
    left, right = sizes.get(a, ()), sizes.get(b, ())
    return (left[0], right[1]) if len(left) == len(right) == 2 and left[1] == right[0] > 0 else None


def check_types(tensors: Mapping[str, Any]) -> None:
    """Refuses factors that mean nothing without a scale of their own: integers, and 8-bit floats beside a scale."""
    found = {key: key[: factor.end()] for key in tensors if (factor := FACTOR.search(key))}
    scaled = {stem for key, stem in found.items() if any(word in key[len(stem) :] for word in _SCALES)}
    for key, stem in found.items():
        value = tensors[key]
        if not isinstance(value, Tensor) or value.itemsize > 1:
            continue
        if value.dtype in (int8, uint8):
            raise DamageError(
                f"stores its factors as {str(value.dtype).removeprefix('torch.')}, as quanto does (for example "
                f"{printable(key)}), which is not read here. {_OTHER_VERSION}"
            )
        if stem in scaled:
            raise DamageError(
                f"stores its factors in 8 bits with a scale for each (for example {printable(key)}), which is not "
                f"applied here. {_OTHER_VERSION}"
            )


def idle_layers(passes: Sequence[Parts]) -> set[str]:
    """Refuses NaN and infinity, and returns the layers whose change is zero, whatever the strength.

    Every factor is read to be applied anyway, so looking at its smallest and largest number costs little beside it.

    Raises:
        DamageError: A number is NaN or infinite.
    """
    idle: set[str] = set()
    at_work: set[str] = set()
    for parts in passes:
        zeros: dict[str, dict[str, bool]] = {}  # layer -> part -> is all zeros
        for name, (key, value) in parts.items():
            layer, _, part = name.removesuffix(".weight").rpartition(".")
            zeros.setdefault(layer, {})[part] = _is_zero(value, key or name)
        for layer, found in zeros.items():
            (idle if _changes_nothing(found) else at_work).add(layer)
    return idle - at_work


def _is_zero(value: Tensor, key: str) -> bool:
    if not value.numel():
        return True
    found = extremes(value)
    if not all(map(math.isfinite, found)):
        what = "NaN" if any(map(math.isnan, found)) else "infinity"
        raise DamageError(
            f"holds {what} in {printable(key, 100)}, which would make the whole clip NaN. It was damaged in training "
            "or in a merge: choose an earlier or another version of it."
        )
    return found == (0, 0)


def _changes_nothing(zeros: Mapping[str, bool]) -> bool:
    of_bias = {part: zero for part, zero in zeros.items() if part in OF_BIAS}
    of_weight = {part: zero for part, zero in zeros.items() if part not in of_bias}
    if {"lokr_w1", "lokr_w2"} <= of_weight.keys():  # of whole factors alpha is no part
        of_weight.pop("alpha", None)
    weight_stays = "dora_scale" not in of_weight and (any(of_weight.values()) or not of_weight)
    return weight_stays and all(of_bias.values())
