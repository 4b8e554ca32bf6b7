"""Whether the numbers in a LoRA can be computed with: NaN and infinity are refused, zeros are told.

One NaN makes the whole clip NaN, and no error says so. Every factor is read to be applied anyway, so looking at its
smallest and largest number costs little beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, int8, uint8

from ..formats.header import DamageError, printable

_FACTOR = re.compile(r"(?:[._](?:lora_(?:up|down|mid|A|B)|lora\.(?:up|down)|hada_[wt]\d|lokr_[wt]\d)|\.diff(?![a-z]))")
_SCALE = re.compile(r"scale|absmax")
_OTHER_VERSION = "Choose its bf16 or fp16 version."


def check_types(tensors: Mapping[str, Any]) -> None:
    """Refuses factors that mean nothing without a scale of their own.

    Raises:
        DamageError: Factors are integers, or 8-bit floats beside a scale.
    """
    factors = {key: found.end() for key, value in tensors.items()
               if isinstance(value, Tensor) and value.itemsize == 1 and (found := _FACTOR.search(key))}  # fmt: skip
    scaled = {found.string[: found.end()] for key in tensors
              if (found := _FACTOR.search(key)) and _SCALE.search(key, found.end())}  # fmt: skip
    for key, end in factors.items():
        if tensors[key].dtype in (int8, uint8):
            raise DamageError(
                f"stores its factors as {str(tensors[key].dtype).removeprefix('torch.')}, as quanto does (for example "
                f"{printable(key)}), which is not read here. {_OTHER_VERSION}"
            )
        if key[:end] in scaled:
            raise DamageError(
                f"stores its factors in 8 bits with a scale for each (for example {printable(key)}), which is not "
                f"applied here. {_OTHER_VERSION}"
            )


def check(passes: Sequence[Mapping[str, Tensor]], origins: Sequence[Mapping[str, str]]) -> set[str]:
    """Refuses NaN and infinity, and finds the layers that change nothing.

    Args:
        passes: Tensors by ComfyUI's name `<layer>.<part>`; each pass has one change of a parameter at most.
        origins: The file's own key of each name, for the message.

    Returns:
        The layers whose change is zero, whatever the strength.

    Raises:
        DamageError: A number is none.
    """
    idle: set[str] = set()
    at_work: set[str] = set()
    for tensors, origin in zip(passes, origins, strict=True):
        parts: dict[str, dict[str, bool]] = {}  # layer -> part -> is all zeros
        for name, value in tensors.items():
            layer, part = _split(name)
            parts.setdefault(layer, {})[part] = _is_zero(value, origin.get(name, name))
        for layer, found in parts.items():
            (idle if _changes_nothing(found) else at_work).add(layer)
    return idle - at_work


def _is_zero(value: Tensor, key: str) -> bool:
    if not value.numel():
        return True
    small, large = map(float, (value.float() if value.itemsize == 1 else value).aminmax())
    if not (math.isfinite(small) and math.isfinite(large)):
        what = "NaN" if math.isnan(small) or math.isnan(large) else "infinity"
        raise DamageError(
            f"holds {what} in {printable(key, 100)}, which would make the whole clip NaN. It was damaged in training "
            "or in a merge: choose an earlier or another version of it."
        )
    return small == large == 0


def _split(name: str) -> tuple[str, str]:
    layer, _, part = name.removesuffix(".weight").rpartition(".")
    return layer, part


def _changes_nothing(parts: Mapping[str, bool]) -> bool:
    of_bias = {part: zero for part, zero in parts.items() if part in ("diff_b", "b_norm")}
    of_weight = {part: zero for part, zero in parts.items() if part not in of_bias}
    if {"lokr_w1", "lokr_w2"} <= of_weight.keys():  # of whole factors alpha is no part
        of_weight.pop("alpha", None)
    weight_stays = "dora_scale" not in of_weight and (any(of_weight.values()) or not of_weight)
    return weight_stays and all(of_bias.values())
