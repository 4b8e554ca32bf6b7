"""Torch alone: the kept blocks are gathered and given to `scaled_dot_product_attention`. It runs everywhere."""

from itertools import product

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from .order import BLOCK, TokenOrder
from .routing import Routing
from .trained import Blocks

GATHERED = 512 * 2**20  # bytes of keys and values at a time on a GPU; a processor gathers a query block for each thread


def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, routing: Routing) -> torch.Tensor:
    """Computes the attention of arranged heads. The result takes the place of q."""
    if routing.tail:
        put_tail(k, routing.tail.keys, order)
        put_tail(v, routing.tail.values, order)
    for clip, head in product(range(q.shape[0]), range(q.shape[1])):
        bias = routing.tail.bias[clip, head].to(q.dtype) if routing.tail else None
        _one_head(q[clip, head], k[clip, head], v[clip, head], order, routing.kept[clip, head], bias)
    return q


def over_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, chosen: torch.Tensor, blocks: Blocks
) -> torch.Tensor:
    """Computes the softmax over the chosen key blocks alone; its arguments are those of `trained.OverBlocks`."""
    attended, (length, channels) = torch.empty_like(q), q.shape[2:]
    exists = torch.arange(length + -length % blocks.keys, device=q.device) < length
    chunk = _at_once(q, chosen.shape[3] * blocks.keys)
    for clip, head in product(range(q.shape[0]), range(q.shape[1])):
        queries = pad(q[clip, head], (0, 0, 0, -length % blocks.queries)).view(-1, 1, blocks.queries, channels)
        tables = [pad(x[clip, head], (0, 0, 0, -length % blocks.keys)).view(-1, blocks.keys * channels) for x in (k, v)]
        found = []
        for start in range(0, len(queries), chunk):
            taken, part = chosen[clip, head, start : start + chunk].flatten(), queries[start : start + chunk]
            gathered = (table.index_select(0, taken).view(len(part), 1, -1, channels) for table in tables)
            mask = exists.view(-1, blocks.keys).index_select(0, taken).view(len(part), 1, 1, -1)
            mask = mask.expand(-1, -1, blocks.queries, -1) if length % blocks.keys else None
            found.append(scaled_dot_product_attention(part, *gathered, attn_mask=mask))
        attended[clip, head] = torch.cat(found).view(-1, channels)[:length]
    return attended


def put_tail(x: torch.Tensor, tail: torch.Tensor, order: TokenOrder) -> None:
    """Puts the keys or values that stand for blocks into the room behind the tokens'."""
    start = order.blocks * BLOCK
    x[:, :, start : start + order.blocks] = tail


def _one_head(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    order: TokenOrder,
    kept: torch.Tensor,
    tail: torch.Tensor | None,
) -> None:
    queries, keys, values = q.view(order.blocks, BLOCK, -1), _table(k), _table(v)
    slots, exact = _slots(kept, order, with_tail=tail is not None)
    bias = q.new_zeros(len(keys), BLOCK)
    bias.view(-1)[order.length :] = -torch.inf
    chunk = _at_once(q, slots.shape[1] * BLOCK)
    for start in range(0, order.blocks, chunk):
        taken, part = slots[start : start + chunk].flatten(), queries[start : start + chunk, None]
        mask = bias.index_select(0, taken).view(len(part), 1, 1, -1)
        if tail is not None:
            mask[:, 0, 0, exact : exact + order.blocks] = tail[start : start + chunk]
        gathered = (table.index_select(0, taken).view(len(part), 1, -1, q.shape[-1]) for table in (keys, values))
        attended = scaled_dot_product_attention(part, *gathered, attn_mask=mask.expand(-1, -1, BLOCK, -1))
        queries[start : start + chunk] = attended[:, 0]


def _at_once(q: torch.Tensor, keys: int) -> int:
    if q.device.type == "cpu":  # the keys of more query blocks would not stay in its cache
        return torch.get_num_threads()
    return max(1, GATHERED // (2 * keys * q.shape[-1] * q.element_size()))


def _table(x: torch.Tensor) -> torch.Tensor:
    return x.view(-1, BLOCK * x.shape[-1])


def _slots(kept: torch.Tensor, order: TokenOrder, with_tail: bool) -> tuple[torch.Tensor, int]:
    """Lists the blocks that each query block attends to, equally many, and says where those of the tail begin.

    Returns:
        Tensor[n, slots] of blocks: kept ones, the empty one where a query block keeps fewer than others, the tail's.
    """
    most = int(kept.sum(-1).max())
    is_kept, chosen = kept.int().topk(most)
    empty = order.blocks + order.room - 1
    slots = torch.where(is_kept > 0, chosen, empty)
    if with_tail:
        tail = torch.arange(order.blocks, empty, device=kept.device).expand(order.blocks, -1)
        slots = torch.cat([slots, tail], 1)
    return slots, most * BLOCK
