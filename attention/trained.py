"""Attention as checkpoints were trained with it: the best key blocks alone, in raster order, and SLA's linear branch.

The rule is that of thu-ml/SLA d973e55 (Apache-2.0), sparse_linear_attention/core.py and utils.py, which LightX2V's
dynamic_sparse_attn shares (ModelTC/LightX2V f8aee98, Apache-2.0). Nothing is forced and nothing stands for the rest.
"""

from collections.abc import Callable, Mapping
from math import ceil
from typing import NamedTuple

import torch
from torch.nn.functional import linear, pad

EPSILON = 1e-5  # added to the linear branch's divisor

Projection = tuple[torch.Tensor, torch.Tensor]  # weight [128, 128] and bias [128]


class Blocks(NamedTuple):
    """How many tokens are kept or left out as a whole: the authors have 128 and 64, and 64 and 128 on Hopper cards."""

    queries: int = 128
    keys: int = 64


class Training(NamedTuple):
    """How a pair of experts was trained to be sparse.

    Args:
        name: Of the method, for the receipt.
        projections: Of SLA's linear branch, by expert and block; none where there is no such branch.
        blocks: Tokens of a block.
    """

    name: str
    projections: Mapping[str, Mapping[int, Projection]] = {}
    blocks: Blocks = Blocks()


# Takes q, k and v, Tensor[B, H, L, D], the key blocks of each query block, Tensor[B, H, m, count], and their sizes.
OverBlocks = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Blocks], torch.Tensor]


def choose_blocks(q: torch.Tensor, k: torch.Tensor, density: float, blocks: Blocks) -> torch.Tensor:
    """Returns Tensor[B, H, m, count]: the int(density x n) best of n key blocks for each query block, one at least.

    Best by mean query . mean of (key - mean key). The mean of a last block that is not full is that of its tokens.

    Args:
        q: Tensor[B, H, L, D], as k is.
        k: Keys.
        density: Share of the key blocks.
        blocks: Tokens of a block.
    """
    queries = _means(q, blocks.queries)
    keys = _means(k, blocks.keys) - k.mean(2, keepdim=True, dtype=torch.float32)
    count = max(1, min(keys.shape[2], int(density * keys.shape[2])))
    return (queries @ keys.transpose(-1, -2)).topk(count, sorted=False).indices


def linear_branch(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Returns phi(q) (phi(k)^T v) / (1e-5 + phi(q) . sum phi(k)) over all keys; phi is a softmax over the channels.

    The sum over the keys is divided before it is multiplied by v: phi(k)^T v of a long clip does not fit into fp16.
    """
    queries, keys = (x.softmax(-1, dtype=torch.float32) for x in (q, k))
    total = keys.sum(2, keepdim=True)
    means = (keys / total.clamp(min=torch.finfo(total.dtype).tiny)).to(v.dtype).transpose(-1, -2) @ v
    shares = queries * total
    return (shares / (EPSILON + shares.sum(-1, keepdim=True))).to(v.dtype) @ means


def attend(
    over_blocks: OverBlocks,
    heads: int,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    density: float,
    blocks: Blocks,
    projection: Projection | None = None,
) -> tuple[torch.Tensor, float]:
    """Computes attention as it was trained.

    Args:
        over_blocks: Computes attention over chosen blocks.
        heads: As many at a time.
        q: Tensor[B, L, H, 128] in raster order, as k and v are.
        k: Keys.
        v: Values.
        density: Share of the key blocks that each query block keeps.
        blocks: Tokens of a block.
        projection: Through which SLA's linear branch is added; None where there is no such branch.

    Returns:
        Tensor[B, L, H, 128], and the share of key blocks that was computed.
    """
    attended, share = torch.empty_like(q), 0.0
    weights = projection and [each.to(q.device, q.dtype) for each in projection]
    for start in range(0, q.shape[2], heads):
        some = slice(start, start + heads)
        queries, keys, values = (x[:, :, some].transpose(1, 2).contiguous() for x in (q, k, v))
        chosen = choose_blocks(queries, keys, density, blocks)
        share = chosen.shape[3] / ceil(q.shape[1] / blocks.keys)
        found = over_blocks(queries, keys, values, chosen, blocks)
        if weights:
            found = found + linear(linear_branch(queries, keys, values), *weights)
        attended[:, :, some] = found.transpose(1, 2)
    return attended, share


def _means(x: torch.Tensor, size: int) -> torch.Tensor:
    length = x.shape[2]
    parts = pad(x, (0, 0, 0, -length % size)).unflatten(2, (-1, size))
    lengths = torch.full((parts.shape[2], 1), float(size), device=x.device)
    lengths[-1] = length - size * (parts.shape[2] - 1)
    return parts.sum(3, dtype=torch.float32) / lengths
