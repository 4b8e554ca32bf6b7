"""The kernels, best first, and which one a device gets: one interface, the same blocks, the same result."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from . import flex, gather, kitchen
from .order import TokenOrder
from .routing import HEAD, Pattern, Routing, Tail, density_of, route
from .trained import OverBlocks

# Takes q, k and v, Tensor[B, L, H, 128] in raster order, the order of their blocks, what is exact, and where the result
# belongs, Tensor[B, L, H, 128]. Returns the density as a scalar tensor.
Run = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, TokenOrder, Pattern, torch.Tensor], torch.Tensor]
Arranged = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, TokenOrder, Routing, Pattern], torch.Tensor]


class Kernel(NamedTuple):
    """A way to compute attention over the kept blocks.

    Args:
        name: As people choose it, and as the receipt names it.
        why_not: Returns why it is no choice on a device, or None.
        run: Computes it.
        tail: The finest that it computes.
        heads: As many at a time, which bounds the memory of copies.
        halves: Whether it takes half precision only.
        over_blocks: Takes blocks of any size, as models were trained with; None where it has its own.
    """

    name: str
    why_not: Callable[[torch.device], str | None]
    run: Run
    tail: Tail
    heads: int
    halves: bool = False
    over_blocks: OverBlocks | None = None


def arranged(run: Arranged) -> Run:
    """Returns how a kernel runs that takes arranged heads, with room behind the keys, and gives such back."""

    def on_heads(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, pattern: Pattern, attended: torch.Tensor
    ) -> torch.Tensor:
        queries = order.arrange(q)
        keys, values = order.arrange(k, order.room), order.arrange(v, order.room)
        routing = route(order.means(queries), order.means(keys), order.means(values), order, pattern)
        attended.copy_(order.restore(run(queries, keys, values, order, routing, pattern)))
        return density_of(routing.kept, order)

    return on_heads


SOL_ATTN = Kernel(
    "sol_attn",
    kitchen.why_not,
    arranged(lambda q, k, v, order, _, pattern: kitchen.run(q, k, v, order, pattern)),
    "block",
    8,
    True,
)
FLEX = Kernel(
    "flex",
    flex.why_not,
    arranged(lambda q, k, v, order, routing, _: flex.run(q, k, v, order, routing)),
    "row",
    8,
    over_blocks=flex.over_blocks,
)
GATHER = Kernel(
    "gather",
    lambda _: None,
    gather.run,
    "row",
    1,
    over_blocks=gather.over_blocks,
)
KERNELS = (SOL_ATTN, FLEX, GATHER)
AUTO = "auto"


def choose(name: str, device: torch.device, dtype: torch.dtype, trained: bool = False) -> tuple[Kernel, list[str]]:
    """Returns the best kernel for a device, and why better ones are none.

    Args:
        name: Of a kernel, or auto.
        device: That the model runs on.
        dtype: That it computes in.
        trained: Whether it must have the blocks that models were trained with.

    Raises:
        ValueError: The kernel of that name is none for the device.
    """
    reasons = []
    for kernel in KERNELS:
        if name not in (AUTO, kernel.name):
            continue
        reason = kernel.why_not(device)
        if reason is None and trained and kernel.over_blocks is None:
            reason = f"{kernel.name} has blocks of 64x64, and models were trained with others"
        if reason is None and kernel.halves and dtype not in (torch.bfloat16, torch.float16):
            reason = f"{kernel.name} computes in bf16 or fp16, and the model in {str(dtype).removeprefix('torch.')}"
        if reason is None:
            return kernel, reasons
        reasons.append(reason)
    raise ValueError(f"The kernel '{name}' must run on this machine, but {reasons[0]}. Choose auto.")


def attend(
    kernel: Kernel, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: TokenOrder, pattern: Pattern
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes sparse attention of a clip.

    Args:
        kernel: That computes it.
        q: Tensor[B, L, H, 128] in raster order, as k and v are.
        k: Keys.
        v: Values.
        order: Of the tokens, in which they are put into blocks and out of them again.
        pattern: What is exact.

    Returns:
        Tensor[B, L, H, 128], and the density as a scalar tensor.
    """
    if q.shape[-1] != HEAD:
        raise ValueError(f"Heads must have {HEAD} channels, as in every Wan model, got {q.shape[-1]}.")
    attended, densities = torch.empty_like(q), []
    for start in range(0, q.shape[2], kernel.heads):
        some = slice(start, start + kernel.heads)
        queries, keys, values, found = (x[:, :, some] for x in (q, k, v, attended))
        densities += [kernel.run(queries, keys, values, order, pattern, found)] * found.shape[2]
    return attended, torch.stack(densities).mean()
