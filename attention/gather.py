"""Torch alone: the kept blocks are gathered and given to `scaled_dot_product_attention`. It runs everywhere."""

from itertools import product

import torch
from torch.nn.functional import scaled_dot_product_attention

from .order import BLOCK, TokenOrder
from .routing import Routing

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
    chunk = _at_once(q, slots.shape[1])
    for start in range(0, order.blocks, chunk):
        taken, part = slots[start : start + chunk].flatten(), queries[start : start + chunk, None]
        mask = bias.index_select(0, taken).view(len(part), 1, 1, -1)
        if tail is not None:
            mask[:, 0, 0, exact : exact + order.blocks] = tail[start : start + chunk]
        gathered = (table.index_select(0, taken).view(len(part), 1, -1, q.shape[-1]) for table in (keys, values))
        attended = scaled_dot_product_attention(part, *gathered, attn_mask=mask.expand(-1, -1, BLOCK, -1))
        queries[start : start + chunk] = attended[:, 0]


def _at_once(q: torch.Tensor, slots: int) -> int:
    if q.device.type == "cpu":  # the keys of more query blocks would not stay in its cache
        return torch.get_num_threads()
    return max(1, GATHERED // (2 * slots * BLOCK * q.shape[-1] * q.element_size()))


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
