"""Torch alone: the kept blocks are gathered and given to `scaled_dot_product_attention`. It runs everywhere."""

from collections.abc import Iterator
from itertools import product

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from .order import BLOCK, TokenOrder
from .routing import Pattern, Summary, density_of, route
from .trained import Blocks

GATHERED = 512 * 2**20  # bytes of keys and values at a time on a GPU; a processor gathers a query block for each thread


def run(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, pattern: Pattern, attended: torch.Tensor
) -> torch.Tensor:
    """Computes attention head by head. Its arguments are those of `kernels.Run`.

    Rows are taken from where they are, and put where they belong: a copy in the order of the blocks would be 3 more
    tensors of a head, and what the C library keeps of them would stay for the rest of the model.
    """
    routing = route(*(means(x, order) for x in (q, k, v)), order, pattern)
    for clip, head in product(range(q.shape[0]), range(q.shape[2])):
        tail = routing.tail and Summary(*(x[clip, head].to(q.dtype) for x in routing.tail))
        rows = (x[clip, :, head] for x in (q, k, v, attended))
        _one_head(*rows, order, routing.kept[clip, head], tail)
    return density_of(routing.kept, order)


def means(x: torch.Tensor, order: TokenOrder) -> torch.Tensor:
    """Returns the mean of each block of Tensor[B, L, H, D], Tensor[B, H, blocks, D], float32."""
    found = x.new_empty(x.shape[0], x.shape[2], order.blocks, x.shape[3], dtype=torch.float32)
    for clip, head in product(range(x.shape[0]), range(x.shape[2])):
        for start, count in _chunks(order.blocks, 64):
            rows = x[clip, :, head].index_select(0, order.tokens[start * BLOCK : (start + count) * BLOCK])
            blocks = pad(rows, (0, 0, 0, -len(rows) % BLOCK)).view(count, BLOCK, -1)
            torch.sum(blocks, 1, dtype=torch.float32, out=found[clip, head, start : start + count])
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
        found = []
        for start in range(0, len(queries), chunk):
            taken, part = chosen[clip, head, start : start + chunk].flatten(), queries[start : start + chunk]
            gathered = (table.index_select(0, taken).view(len(part), 1, -1, channels) for table in tables)
            mask = exists.view(-1, blocks.keys).index_select(0, taken).view(len(part), 1, 1, -1)
            mask = mask.expand(-1, -1, blocks.queries, -1) if length % blocks.keys else None
            found.append(scaled_dot_product_attention(part, *gathered, attn_mask=mask))
        attended[clip, head] = torch.cat(found).view(-1, channels)[:length]
    return attended


def _at_once(q: torch.Tensor, keys: int) -> int:
    if q.device.type == "cpu":  # the keys of more query blocks would not stay in its cache
        return torch.get_num_threads()
    return max(1, GATHERED // (3 * keys * q.shape[-1] * q.element_size()))  # keys, values, and one of them twice


def _one_head(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attended: torch.Tensor,
    order: TokenOrder,
    kept: torch.Tensor,
    tail: Summary | None,
) -> None:
    """Puts the attention of Tensor[L, D] into `attended`."""
    tokens, hidden = _tokens(order, q.dtype)
    slots = _slots(kept)
    exact, pooled = slots.shape[1] * BLOCK, order.blocks if tail else 0
    most = min(order.blocks, _at_once(q, exact + pooled))
    # Made once for a head: from chunk to chunk the C library would give them back to the system, and ask for them anew.
    keys, values = (x.new_empty(most, 1, exact + pooled, x.shape[1]) for x in (k, v))
    mask = q.new_empty(most, 1, 1, exact + pooled)
    if tail:
        keys[:, 0, exact:], values[:, 0, exact:] = tail.keys, tail.values
    for start, count in _chunks(order.blocks, most):
        chosen, own = slots[start : start + count], tokens[start : start + count]
        mask[:count, 0, 0, :exact] = hidden[chosen].flatten(1)
        if tail:
            mask[:count, 0, 0, exact:] = tail.bias[start : start + count]
        for x, found in ((k, keys), (v, values)):
            _take(x, tokens[chosen].flatten(1), found[:count, 0, :exact])
        queries = q.index_select(0, own.flatten()).view(count, 1, BLOCK, -1)
        masked = mask[:count].expand(-1, -1, BLOCK, -1)
        found = scaled_dot_product_attention(queries, keys[:count], values[:count], attn_mask=masked)
        own = order.tokens[start * BLOCK : (start + count) * BLOCK]
        attended.index_copy_(0, own, found.reshape(count * BLOCK, -1)[: len(own)])


def _chunks(blocks: int, count: int) -> Iterator[tuple[int, int]]:
    """Yields start and count of query blocks that are computed at a time."""
    return ((start, min(count, blocks - start)) for start in range(0, blocks, count))


def _take(x: torch.Tensor, rows: torch.Tensor, found: torch.Tensor) -> None:
    """Puts rows [m, n] of Tensor[L, D] into Tensor[m, n, D]; on a processor, of few blocks, without a copy."""
    if x.device.type != "cpu":
        found.copy_(x[rows])
        return
    for some, place in zip(rows, found, strict=True):
        torch.index_select(x, 0, some, out=place)


def _tokens(order: TokenOrder, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists the tokens of each block and of one that is empty, [n + 1, 64], and what is added to their scores.

    The last block is filled up with any token, and so is the empty one; to their scores -inf is added.
    """
    room = (order.blocks + 1) * BLOCK - order.length
    tokens, hidden = pad(order.tokens, (0, room)), order.tokens.new_zeros(order.length, dtype=dtype)
    return tokens.view(-1, BLOCK), pad(hidden, (0, room), value=-torch.inf).view(-1, BLOCK)


def _slots(kept: torch.Tensor) -> torch.Tensor:
    """Lists the blocks that each query block attends to, equally many: the empty one where it keeps fewer than others.

    Args:
        kept: Tensor[n, n], bool.

    Returns:
        Tensor[n, slots] of blocks, of which n is the empty one.
    """
    is_kept, chosen = kept.int().topk(int(kept.sum(-1).max()))
    return torch.where(is_kept > 0, chosen, len(kept))
