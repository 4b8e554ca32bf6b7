"""Torch alone: the kept blocks are gathered and given to `scaled_dot_product_attention`. It runs everywhere."""

from itertools import product
from math import ceil

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from .order import BLOCK, TokenOrder
from .routing import Pattern, Summary, density_of, route, sink_of
from .trained import Blocks

GATHERED = 512 * 2**20  # bytes of keys and values at a time on a GPU


def run(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, pattern: Pattern, attended: torch.Tensor
) -> torch.Tensor:
    """Computes attention head by head. Its arguments are those of `kernels.Run`.

    Only keys and values are copied in the order of the blocks. Queries are taken from where they are, and results put
    where they belong.
    """
    queries, keys, values = (means(x, order) for x in (q, k, v))
    routing = route(queries, keys, values, order, pattern)
    for clip, head in product(range(q.shape[0]), range(q.shape[2])):
        tail = routing.tail and Summary(*(x[clip, head].to(q.dtype) for x in routing.tail))
        one, found = [x[clip, :, head] for x in (q, k, v)], attended[clip, :, head]
        _one_head(one, found, order, sink_of(order, pattern), routing.kept[clip, head], tail)
    return density_of(routing.kept, order)


def means(x: torch.Tensor, order: TokenOrder) -> torch.Tensor:
    """Returns the mean of each block of Tensor[B, L, H, D], Tensor[B, H, blocks, D], float32."""
    found = x.new_empty(x.shape[0], x.shape[2], order.blocks, x.shape[3], dtype=torch.float32)
    for clip, head in product(range(x.shape[0]), range(x.shape[2])):
        for start in range(0, order.blocks, 32):
            place = found[clip, head, start : start + 32]
            rows = x[clip, :, head].index_select(0, order.tokens[start * BLOCK : (start + len(place)) * BLOCK])
            missing = len(place) * BLOCK - len(rows)
            rows = pad(rows, (0, 0, 0, missing)) if missing else rows
            torch.sum(rows.view(len(place), BLOCK, -1), 1, dtype=torch.float32, out=place)
    return found.div_(order.lengths()[:, None])


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
        for start in range(0, len(queries), chunk):
            taken, part = chosen[clip, head, start : start + chunk].flatten(), queries[start : start + chunk]
            gathered = (table.index_select(0, taken).view(len(part), 1, -1, channels) for table in tables)
            mask = exists.view(-1, blocks.keys).index_select(0, taken).view(len(part), 1, 1, -1)
            mask = mask.expand(-1, -1, blocks.queries, -1) if length % blocks.keys else None
            found = scaled_dot_product_attention(part, *gathered, attn_mask=mask).view(-1, channels)
            place = attended[clip, head, start * blocks.queries :][: len(found)]
            place.copy_(found[: len(place)])
    return attended


def _at_once(q: torch.Tensor, keys: int) -> int:
    if q.device.type == "cpu":  # torch gives half a block of queries to a thread; keys of more would leave its cache
        return ceil(torch.get_num_threads() / 2)
    return max(1, GATHERED // (3 * keys * q.shape[-1] * q.element_size()))  # keys, values, and one of them twice


def _one_head(
    qkv: list[torch.Tensor],
    attended: torch.Tensor,
    order: TokenOrder,
    sink: int,
    kept: torch.Tensor,
    tail: Summary | None,
) -> None:
    """Puts the attention of q, k and v, Tensor[L, D] each, into `attended`."""
    q, *kv = qkv
    tokens, hidden = _tokens(order, q.dtype)
    # One tensor of both: what is above 32 MiB the C library gives back to the system, and smaller ones it would keep.
    tables = q.new_empty(2, len(tokens), BLOCK * q.shape[1])
    for x, table in zip(kv, tables, strict=True):
        torch.index_select(x, 0, tokens.flatten(), out=table.view(-1, q.shape[1]))
    slots = _slots(kept, sink)
    # First what all query blocks attend to, the sink and the tail, which is gathered once; then what each has chosen.
    common, pooled = sink * BLOCK, order.blocks if tail else 0
    start, keys = common + pooled, common + pooled + slots.shape[1] * BLOCK
    count = min(order.blocks, _at_once(q, keys))
    # Made once for a head: from chunk to chunk the C library would give them back to the system, and ask for them anew.
    mask, gathered = q.new_empty(count, 1, 1, keys), [x.new_empty(count, 1, keys, x.shape[1]) for x in kv]
    mask[..., :common] = hidden[:sink].flatten()
    for table, found, pool in zip(tables, gathered, (tail.keys, tail.values) if tail else (None, None), strict=True):
        found[:, 0, :common] = table[:sink].view(common, q.shape[1])
        if pool is not None:
            found[:, 0, common:start] = pool
    for first in range(0, order.blocks, count):
        some = slice(0, min(count, order.blocks - first))
        blocks = slice(first, first + some.stop)
        if tail:
            mask[some, 0, 0, common:start] = tail.bias[blocks]
        mask[some, 0, 0, start:] = hidden[slots[blocks]].flatten(1)
        for table, found in zip(tables, gathered, strict=True):
            _take(table, slots[blocks], found[some, 0, start:].unflatten(1, (slots.shape[1], BLOCK)).flatten(2))
        queries = q.index_select(0, tokens[blocks].flatten()).view(some.stop, 1, BLOCK, -1)
        masked = mask[some].expand(-1, -1, BLOCK, -1)
        found = scaled_dot_product_attention(queries, *(each[some] for each in gathered), attn_mask=masked)
        own = order.tokens[first * BLOCK : blocks.stop * BLOCK]
        attended.index_copy_(0, own, found.reshape(-1, q.shape[1])[: len(own)])


def _take(table: torch.Tensor, slots: torch.Tensor, found: torch.Tensor) -> None:
    """Puts blocks [m, n] of a table into Tensor[m, n, BLOCK x D]; on a processor, where m is small, without a copy."""
    if table.device.type != "cpu":
        found.copy_(table[slots])
        return
    for some, place in zip(slots, found, strict=True):
        torch.index_select(table, 0, some, out=place)


def _tokens(order: TokenOrder, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists the tokens of each block and of one that is empty, [n + 1, 64], and what is added to their scores.

    The last block is filled up with any token, and so is the empty one; to their scores -inf is added.
    """
    room = (order.blocks + 1) * BLOCK - order.length
    tokens, hidden = pad(order.tokens, (0, room)), order.tokens.new_zeros(order.length, dtype=dtype)
    return tokens.view(-1, BLOCK), pad(hidden, (0, room), value=-torch.inf).view(-1, BLOCK)


def _slots(kept: torch.Tensor, sink: int) -> torch.Tensor:
    """Lists what each query block attends to behind the sink, equally many: the empty block where it has fewer.

    Args:
        kept: Tensor[n, n], bool.
        sink: Leading blocks that all attend to.

    Returns:
        Tensor[n, slots] of blocks, of which n is the empty one.
    """
    others = kept[:, sink:].int()
    most = int(others.sum(1).max()) if others.shape[1] else 0
    is_kept, chosen = others.topk(most)
    return torch.where(is_kept > 0, chosen + sink, len(kept))
