"""Makes quantised files of the tiny experts, in the layouts in which the real ones are published."""

from __future__ import annotations

from torch import Tensor, float8_e4m3fn, float32, tensor, zeros

LARGEST = 448.0  # of float8_e4m3fn


def fp8_scaled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns a state as Comfy-Org's `fp8_scaled` files have it: the blocks' matrices in fp8, with a scale each."""
    quantised: dict[str, Tensor] = {"scaled_fp8": zeros(2, dtype=float8_e4m3fn)}
    for name, weight in state.items():
        if weight.ndim == 2 and name.startswith("blocks.") and name.endswith(".weight"):
            scale = weight.float().abs().max() / LARGEST
            quantised[name] = (weight.float() / scale).to(float8_e4m3fn)
            quantised[name.removesuffix(".weight") + ".scale_weight"] = tensor(scale.item(), dtype=float32)
        else:
            quantised[name] = weight
    return quantised
