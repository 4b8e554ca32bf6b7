"""Writes a tiny expert as TurboDiffusion does: flat patch convolution, int8 tiles with their scales, SLA projections.

The formulas are those of thu-ml/TurboDiffusion (Apache-2.0), turbodiffusion/ops/quant/quant.hpp.
"""

import re
from math import ceil

import torch

TILE = 128
_QUANTISED = re.compile(r"blocks\.\d+\.(self_attn|cross_attn)\.[qkvo]\.weight|blocks\.\d+\.ffn\.[02]\.weight")

State = dict[str, torch.Tensor]


def checkpoint(state: State, int8: bool = True, sla: bool = True) -> State:
    """Returns an expert, given by its official names, as TurboDiffusion lays it out."""
    out: State = {}
    for name, tensor in state.items():
        if name == "patch_embedding.weight":
            out[name] = tensor.reshape(len(tensor), -1)
        elif int8 and _QUANTISED.fullmatch(name):
            layer = name.removesuffix(".weight")
            out[f"{layer}.int8_weight"], out[f"{layer}.scale"] = quantise(tensor)
        else:
            out[name] = tensor
    return out | (projections(state) if sla else {})


def projections(state: State) -> State:
    """Returns SLA's projection of each block; zero in a fresh model, so these are not."""
    generator = torch.Generator().manual_seed(9)
    layers = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    out: State = {}
    for layer in range(layers):
        name = f"blocks.{layer}.self_attn.attn_op.local_attn.proj_l"
        out[f"{name}.weight"] = torch.randn(128, 128, generator=generator)
        out[f"{name}.bias"] = torch.randn(128, generator=generator)
    return out


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantises each tile: scale = max(|tile|, 1e-8) / 128, int8 = round(tile / scale), saturated.

    Returns:
        Tensor[N, K], int8, and Tensor[ceil(N / 128), ceil(K / 128)], float32.
    """
    rows, columns = weight.shape
    int8 = torch.empty(rows, columns, dtype=torch.int8)
    scale = torch.empty(ceil(rows / TILE), ceil(columns / TILE))
    for row in range(0, rows, TILE):
        for column in range(0, columns, TILE):
            tile = weight[row : row + TILE, column : column + TILE].float()
            step = max(float(tile.abs().max()), 1e-8) / 128
            scale[row // TILE, column // TILE] = step
            int8[row : row + TILE, column : column + TILE] = (tile / step).round().clamp(-128, 127).to(torch.int8)
    return int8, scale
