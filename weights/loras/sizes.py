"""Whether the factors of a LoRA, LoHa or LoKr are complete and make a change of a weight's size.

A LoRA for a smaller model has all the names and no effect, because the patcher's multiplication fails unseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Shape = tuple[int, ...]
Matrix = tuple[int, int]  # (rows, columns); a kernel counts as a matrix of its flattened inputs
Sizes = Mapping[str, Shape]


def adapter_fits(kind: str, sizes: Sizes, shape: Shape | None) -> bool:
    """Says whether factors can be applied.

    Args:
        kind: "lora", "loha" or "lokr".
        sizes: Shapes of the layer's tensors of that kind.
        shape: Of the weight; None where it is not known, so that only the factors themselves are judged.
    """
    change = {"lora": _lora, "loha": _loha, "lokr": _lokr}[kind](sizes)
    if change is None or min(change) < 1:
        return False
    if shape is None:
        return True
    return change == (shape[0], math.prod(shape[1:])) and _dora_fits(sizes.get("dora_scale"), shape)


def _dora_fits(scale: Shape | None, shape: Shape) -> bool:
    if scale is None:
        return True
    count, one_row = math.prod(scale), scale[:1] == (1,)
    return (scale[:1] == shape[:1] and count == shape[0]) or (one_row and len(shape) > 1 and count == shape[1])


def _lora(sizes: Sizes) -> Matrix | None:
    """Returns the size of B A."""
    up, down = sizes.get("lora_up.weight"), sizes.get("lora_down.weight")
    # ComfyUI's Tucker form knows two-dimensional kernels alone, and Wan's only convolution has three.
    if up is None or down is None or "lora_mid.weight" in sizes or len(up) < 2 or len(down) < 2:
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
    factors = []
    for name in ("lokr_w1", "lokr_w2"):
        whole = sizes.get(name)
        factor = _product(sizes, f"{name}_a", f"{name}_b") if whole is None else whole
        if factor is None or len(factor) != 2:
            return None
        factors.append(factor)
    (rows_1, columns_1), (rows_2, columns_2) = factors
    return rows_1 * rows_2, columns_1 * columns_2


def _product(sizes: Sizes, a: str, b: str) -> Matrix | None:
    left, right = sizes.get(a, ()), sizes.get(b, ())
    return (left[0], right[1]) if len(left) == len(right) == 2 and left[1] == right[0] > 0 else None
