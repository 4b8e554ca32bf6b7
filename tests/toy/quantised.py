"""Makes quantised files of the tiny experts, in the layouts in which the real ones are published."""

from __future__ import annotations

import json

from torch import Tensor, dtype, finfo, float8_e4m3fn, float32, ones, tensor, uint8, zeros


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


def packed(state: dict[str, Tensor], form: str, **settings: object) -> dict[str, Tensor]:
    """Returns a state whose blocks' matrices are stored in a format of ComfyUI's, as its own tools store them.

    Args:
        state: An expert, whose sizes are multiples of what the format packs together.
        form: nvfp4 or int8_tensorwise.
        settings: More of the layer's settings, for example convrot=True.
    """
    from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

    layout, found = QUANT_ALGOS[form]["comfy_tensor_layout"], {}
    text = json.dumps({"format": form, **settings})
    for name, weight in state.items():
        if weight.ndim != 2 or not name.startswith("blocks.") or not name.endswith(".weight"):
            found[name] = weight
            continue
        found |= QuantizedTensor.from_float(weight, layout, **settings).state_dict(name)
        layer = name.removesuffix(".weight")
        found[f"{layer}.comfy_quant"] = tensor(list(text.encode()), dtype=uint8)
        if form == "nvfp4":
            found[f"{layer}.input_scale"] = ones(())
    return found
