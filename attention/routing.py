"""Which blocks of keys a block of queries attends to exactly, and what stands for the rest.

The rule is that of `sol_attn` in comfy-kitchen, so that every kernel computes the same thing: gather and flex take the
blocks chosen here; `sol_attn` chooses its own (`kitchen.py`), and what is kept here then is the receipt's density.
"""

from typing import Literal, NamedTuple

import torch

from .order import TokenOrder

HEAD = 128  # channels of a head in every Wan model
SCALE = HEAD**-0.5

# What stands for the blocks that are left out. row: a query's own score of their mean key. block: the score that the
# mean of the query's block has. none: nothing, as in models that were trained so.
Tail = Literal["row", "block", "none"]


class Pattern(NamedTuple):
    """Which part of attention is exact.

    Args:
        density: Share of key blocks that a query block keeps, those of the first frame among them.
        sink: Whether the first latent frame is always kept.
        tail: What stands for the rest.
    """

    density: float
    sink: bool = True
    tail: Tail = "row"


class Summary(NamedTuple):
    """What stands for the key blocks that are left out.

    Args:
        keys: Tensor[B, H, n, D], float32, a key for each key block.
        values: Tensor[B, H, n, D], float32, the mean value of each.
        bias: Tensor[B, H, n, n], float32, added to the scores of `keys`; -inf where the block is kept.
    """

    keys: torch.Tensor
    values: torch.Tensor
    bias: torch.Tensor


class Routing(NamedTuple):
    """What a kernel computes, of heads whose tokens are arranged in blocks.

    Args:
        kept: Tensor[B, H, n, n], bool: query block, key block.
        tail: What stands for the rest; None without one.
    """

    kept: torch.Tensor
    tail: Summary | None = None


def sink_of(order: TokenOrder, pattern: Pattern) -> int:
    """Returns how many leading blocks every query block attends to: at density 1, all."""
    if pattern.density >= 1:
        return order.blocks
    return order.sink if pattern.sink else 0


def routed_count(blocks: int, sink: int, density: float) -> int:
    """Returns how many key blocks are chosen by their score, beside the sink; one at least, where there are two."""
    return max(0, min(blocks - sink - 1, max(1, round(density * blocks) - sink)))


def route(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, order: TokenOrder, pattern: Pattern
) -> Routing:
    """Chooses the key blocks of each head and query block.

    Kept are the best by mean query . (mean key - mean of the mean keys), the query block itself with both neighbours,
    and the sink.

    Args:
        queries: Tensor[B, H, n, D], float32, the mean of each block, as `keys` and `values` are.
        keys: Of the keys.
        values: Of the values.
        order: Of the tokens.
        pattern: How many, and what stands for the rest.
    """
    blocks, sink = order.blocks, sink_of(order, pattern)
    middle = keys.mean(2, keepdim=True)
    scores = queries @ (keys - middle).transpose(-1, -2)
    kept = _best(scores, sink, routed_count(blocks, sink, pattern.density))
    place = torch.arange(blocks, device=scores.device)
    kept |= (place[:, None] - place).abs() <= 1
    kept[..., :sink] = True
    if pattern.tail == "none":
        return Routing(kept)
    weight = order.lengths().log()  # a key that stands for 64 weighs as much as 64 keys
    bias = weight.expand_as(scores) if pattern.tail == "row" else scores * SCALE + weight
    keys = keys if pattern.tail == "row" else middle.expand_as(keys)
    bias = bias.masked_fill(kept, -torch.inf)
    return Routing(kept, Summary(keys, values, bias))


def density_of(kept: torch.Tensor, order: TokenOrder) -> torch.Tensor:
    """Returns the share of scores that are computed exactly, as a scalar tensor."""
    lengths = order.lengths()
    return torch.einsum("bhij,i,j->", kept.float(), lengths, lengths) / (kept[..., 0, 0].numel() * order.length**2)


def _best(scores: torch.Tensor, sink: int, count: int) -> torch.Tensor:
    if not count:
        return torch.zeros_like(scores, dtype=torch.bool)
    ranked = scores.clone()
    ranked[..., :sink] = -torch.inf
    return ranked >= ranked.topk(count).values[..., -1:]
