"""`sol_attn` of comfy-kitchen, which comes with ComfyUI: routed blocks in int8, on NVIDIA and AMD cards."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .order import TokenOrder
from .routing import Pattern, routed_count, sink_of

NEEDS = "sol_attn needs comfy-kitchen 0.2.33 or newer"


def why_not(device: torch.device) -> str | None:
    """Returns why it is no choice on a device; None where it is one."""
    try:
        available = getattr(import_module("comfy_kitchen"), "sol_attn_is_available", None)
    except ImportError:
        return f"{NEEDS}, which is not installed"
    if available is None:
        return f"{NEEDS}, and {_version()} is installed"
    if not available(device):
        return f"comfy-kitchen {_version()} has no sol_attn for this {device.type} device"
    return None


def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, pattern: Pattern) -> torch.Tensor:
    """Computes the attention of arranged heads; it routes by itself, by the same rule.

    Raises:
        ValueError: The pattern has a tail for each row, which `sol_attn` has not.
    """
    if pattern.tail == "row":
        raise ValueError("sol_attn has one tail for each query block, got tail 'row'. Choose 'block' or 'none'.")
    kitchen: Any = import_module("comfy_kitchen")
    sink = sink_of(order, pattern)
    ratio = routed_count(order.blocks, sink, pattern.density) / (order.blocks - sink or 1)
    q, k, v = (x[:, :, : order.length].transpose(1, 2) for x in (q, k, v))
    # A ratio of 0 would route by another rule; where there is nothing to route, any other serves.
    tail = pattern.tail == "block"
    attended = kitchen.sol_attn(q, k, v, topk_ratio=ratio or 0.5, sink_blocks=[0, sink], tail=tail)
    return attended.transpose(1, 2)


def _version() -> str:
    try:
        return version("comfy-kitchen")
    except PackageNotFoundError:
        return "an unknown version"
