"""Brings a LoRA's tensors into the one form that ComfyUI's patcher reads fully, and sets aside what cannot work.

ComfyUI reads many spellings but not all (it passes over diffusers' names for Wan, lightx2v's `diff_m`, PEFT's magnitude
vectors and the alpha in PEFT's settings). Where a tensor has the wrong size it logs an error and goes on without, and
where a layer has two kinds of change it keeps the last. So every tensor is renamed here, what cannot be applied is
named before the patcher sees it, and a second kind of change goes in a pass of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, tensor

from ..formats.header import DamageError, listed
from ..lora_experts import experts_of
from ..lora_keys import UP_BIAS, Key, Layers, split
from ..names import Expert
from ..peft import Scaling
from .sizes import Shape, adapter_fits

PREFIX = "diffusion_model."  # of ComfyUI's generic form

Parts = dict[str, tuple[str | None, Tensor]]  # of one layer: part -> (the file's own key if it has one, tensor)

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
_KNOWN = {"diffusion_model", "transformer", "unet", "model", "base_model", "dit", "net", "pipe"}  # wrappers


@dataclass
class Conformed:
    """A LoRA in ComfyUI's generic form.

    Args:
        passes: Tensors by ComfyUI's name, `diffusion_model.<layer>.<part>`; one pass after the other is patched in.
        origin: The file's own key of each name, pass by pass; a tensor made from the file's settings has none.
        unmatched: The file's keys whose layers change nothing, in the file's order.
        ignored: Keys that say nothing to a layer which other keys change.
        other_expert: Keys that the file itself gives to the other expert.
        zeros: Layers whose change is zero, whatever the strength.
    """

    passes: list[dict[str, Tensor]] = field(default_factory=list)
    origin: list[dict[str, str]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    other_expert: list[str] = field(default_factory=list)
    zeros: set[str] = field(default_factory=set)

    def add(self, number: int, name: str, value: Tensor, key: str | None) -> None:
        """Puts a tensor into a pass."""
        while len(self.passes) <= number:
            self.passes.append({})
            self.origin.append({})
        self.passes[number][name] = value
        if key is not None:
            self.origin[number][name] = key


def conform(
    tensors: Mapping[str, Any],
    shapes: Mapping[str, Shape | None],
    scaling: Scaling | None = None,
    expert: Expert = "high",
) -> Conformed:
    """Renames a LoRA's tensors for one expert.

    Args:
        tensors: As read from the file; what is no tensor counts as unmatched.
        shapes: The model's parameters, weights by their layer, biases as `<layer>.bias`; None where one is not known.
        scaling: PEFT's settings, where the file has them.
        expert: Some files hold both experts under two names.

    Raises:
        DamageError: It names parts of a model that are not known, so that nobody can tell what is for which expert.
    """
    layers = Layers(name for name in shapes if not name.endswith(".bias"))
    for_one = experts_of(tensors, layers.find)
    result = Conformed(other_expert=[key for key, named in for_one.items() if named != expert])
    others = set(result.other_expert)
    groups = _grouped({key: value for key, value in tensors.items() if key not in others}, layers)
    used: set[str | None] = set()
    chosen: dict[str, str] = {}
    for (layer, written), parts in groups.items():
        if layer in chosen:  # a second spelling or adapter of the same layer
            _refuse_rivals(layers, chosen[layer], written, any(_fits(kind, parts, layer, shapes) for kind in _KINDS))
            continue
        if _fits("lora", parts, layer, shapes):
            _complete(parts, written, scaling)
        kinds = [kind for kind in _KINDS if _fits(kind, parts, layer, shapes)]
        for number, kind in _passes(kinds):
            for part in _KINDS[kind]:
                if part in parts:
                    key, value = parts[part]
                    result.add(number, f"{PREFIX}{layer}.{part}", value, key)
                    used.add(key)
        if kinds:
            chosen[layer] = written
    for key in (key for key in tensors if key not in used and key not in others):
        place = layers.find(key)
        (result.ignored if place and place.layer in chosen else result.unmatched).append(key)
    return result


def _refuse_rivals(layers: Layers, first: str, second: str, complete: bool) -> None:
    """Refuses two whole changes of one layer under wrappers of which one is not known: they may be of two experts."""
    wrappers = [layers.wrappers(name) for name in (first, second)]
    strange = [part for part in set(wrappers[0]) ^ set(wrappers[1]) if part not in _KNOWN]
    if complete and strange:
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


def _complete(parts: Parts, written: str, scaling: Scaling | None) -> None:
    """Adds to a LoRA what PEFT says in another way: alpha in its settings, a bias of the second factor."""
    rank = len(parts["lora_down.weight"][1])
    if scaling and "alpha" not in parts:
        parts["alpha"] = (None, tensor(scaling.alpha(written, rank)))
    if UP_BIAS in parts and "diff_b" not in parts:  # the factors are scaled by alpha / rank, and their bias with them
        key, bias = parts[UP_BIAS]
        alpha = parts["alpha"][1].item() if "alpha" in parts else rank
        parts["diff_b"] = (key, bias.float() * (alpha / rank))


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


def _fits(kind: str, parts: Parts, layer: str, shapes: Mapping[str, Shape | None]) -> bool:
    sizes = {part: tuple(parts[part][1].shape) for part in _KINDS[kind] if part in parts}
    if kind in ("lora", "loha", "lokr"):
        return adapter_fits(kind, sizes, shapes[layer]) and ("alpha" not in parts or _is_scalar(parts["alpha"][1]))
    place = f"{layer}.bias" if _KINDS[kind][0] in OF_BIAS else layer
    size = next(iter(sizes.values()), None)
    return size is not None and place in shapes and shapes[place] in (None, size)


def _is_scalar(value: Tensor) -> bool:
    return value.numel() == 1


def _passes(kinds: list[str]) -> list[tuple[int, str]]:
    """Numbers the kinds of change of one layer so that no pass has two of one parameter."""
    counts = {"weight": 0, "bias": 0}
    numbered = []
    for kind in kinds:
        place = "bias" if _KINDS[kind][0] in OF_BIAS else "weight"
        numbered.append((counts[place], kind))
        counts[place] += 1
    return numbered
