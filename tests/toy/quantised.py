"""Makes quantised files of the tiny experts, in the layouts in which the real ones are published."""

from __future__ import annotations

from torch import Tensor, dtype, finfo, float8_e4m3fn, float32, tensor, zeros


def fp8_scaled(state: dict[str, Tensor], fp8: dtype = float8_e4m3fn) -> dict[str, Tensor]:
    """Returns a state as Comfy-Org's `fp8_scaled` files have it: the blocks' matrices in fp8, with a scale each."""
    quantised: dict[str, Tensor] = {"scaled_fp8": zeros(2, dtype=fp8)}
    for name, weight in state.items():
        if weight.ndim == 2 and name.startswith("blocks.") and name.endswith(".weight"):
            scale = weight.float().abs().max() / finfo(fp8).max
            quantised[name] = (weight.float() / scale).to(fp8)
            quantised[name.removesuffix(".weight") + ".scale_weight"] = tensor(scale.item(), dtype=float32)
        else:
            quantised[name] = weight
    return quantised
