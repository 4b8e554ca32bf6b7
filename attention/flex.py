"""`torch.nn.attention.flex_attention`: on a GPU it needs nothing but torch and Triton."""

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn.functional import pad

from .order import BLOCK, TokenOrder
from .routing import Routing
from .trained import Blocks


def why_not(device: torch.device) -> str | None:
    """Returns why it is no choice on a device; None where it is one."""
    if device.type != "cuda":
        return f"flex_attention gains nothing on a {device.type} device"
    if find_spec("triton") is None:
        return "flex_attention needs Triton, which is not installed"
    return None


def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, routing: Routing) -> torch.Tensor:
    """Computes the attention of arranged heads."""
    return attend(_compiled(), q, k, v, order, routing)


def attend(
    flex_attention: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, routing: Routing
) -> torch.Tensor:
    """Gives a function of that interface, compiled or not, the blocks of a routing."""
    from torch.nn.attention.flex_attention import BlockMask

    behind, tail = order.blocks * BLOCK, order.room - 1
    kept = pad(routing.kept, (0, tail), value=routing.tail is not None)
    bias = torch.full((*routing.kept.shape[:3], tail * BLOCK), -torch.inf, device=q.device)
    if routing.tail:
        k[:, :, behind : behind + order.blocks] = routing.tail.keys
        v[:, :, behind : behind + order.blocks] = routing.tail.values
        bias[..., : order.blocks] = routing.tail.bias

    def score(score: Any, clip: Any, head: Any, query: Any, key: Any) -> Any:
        own = bias[clip, head, query // BLOCK, (key - behind).clamp(min=0)]
        return torch.where(key < order.length, score, torch.where(key < behind, -torch.inf, score + own))

    def is_kept(clip: Any, head: Any, query: Any, key: Any) -> Any:
        return kept[clip, head, query // BLOCK, key // BLOCK]

    counts, chosen = kept.sum(-1, dtype=torch.int32), kept.int().argsort(dim=-1, descending=True, stable=True).int()
    mask = BlockMask.from_kv_blocks(
        torch.zeros_like(counts), torch.zeros_like(chosen), counts, chosen, BLOCK_SIZE=BLOCK, mask_mod=is_kept
    )
    keys, values = (x[:, :, : behind + tail * BLOCK] for x in (k, v))
    return flex_attention(q, keys, values, score_mod=score, block_mask=mask, kernel_options=tiles(q, BLOCK))


def over_blocks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, chosen: torch.Tensor, blocks: Blocks
) -> torch.Tensor:
    """Computes the softmax over the chosen key blocks alone; its arguments are those of `trained.OverBlocks`."""
    return attend_blocks(_compiled(), q, k, v, chosen, blocks)


def attend_blocks(
    flex_attention: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, chosen: torch.Tensor, blocks: Blocks
) -> torch.Tensor:
    """Gives a function of flex_attention's interface, compiled or not, blocks of any size."""
    from torch.nn.attention.flex_attention import BlockMask

    length = q.shape[2]
    queries = pad(q, (0, 0, 0, -length % blocks.queries))
    keys, values = (pad(x, (0, 0, 0, -length % blocks.keys)) for x in (k, v))
    kept = torch.zeros(*chosen.shape[:3], keys.shape[2] // blocks.keys, dtype=torch.bool, device=q.device)
    kept = kept.scatter_(3, chosen, True)

    def is_kept(clip: Any, head: Any, query: Any, key: Any) -> Any:
        return kept[clip, head, query // blocks.queries, key // blocks.keys] & (key < length)

    counts, order = kept.sum(-1, dtype=torch.int32), kept.int().argsort(dim=-1, descending=True, stable=True).int()
    mask = BlockMask.from_kv_blocks(counts, order, BLOCK_SIZE=(blocks.queries, blocks.keys), mask_mod=is_kept)
    options = tiles(q, blocks.queries)
    return flex_attention(queries, keys, values, block_mask=mask, kernel_options=options)[:, :, :length]


def tiles(q: torch.Tensor, queries: int) -> dict[str, int]:
    """Returns the queries and keys that a GPU computes at a time, which must divide those of a block.

    torch's own choice, which its compiler refuses where it does not divide them, is 128 queries on most cards.

    Args:
        q: Of whose type the rows are; those of float32 take twice the room, and fewer fit into a card's shared memory.
        queries: Of a block.
    """
    halves = q.element_size() == 2
    return {"BLOCK_M": min(queries, 128 if halves else 64), "BLOCK_N": 64 if halves else 16}


@lru_cache(maxsize=1)
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
