"""The order of a clip's tokens: the first latent frame, then cubes of 4x4x4, in blocks of 64.

A block is what is kept or left out as a whole, so its tokens should look alike. In raster order 64 tokens are a line of
one frame; in a cube they are neighbours in time, height and width.
"""

from functools import lru_cache
from itertools import pairwise, product
from math import ceil
from typing import NamedTuple

import torch

BLOCK = 64  # tokens of a block, of queries and of keys
CUBE = 4  # frames, rows and columns of tokens
TILE = 8  # rows and columns of a block of the first frame, which has no depth

Grid = tuple[int, int, int]  # latent frames, rows and columns of tokens


class TokenOrder(NamedTuple):
    """Where each token of a grid stands.

    Args:
        tokens: Tensor[length], the raster index of each place.
        places: Tensor[length], the place of each raster index.
        length: Tokens.
        sink: Leading blocks that hold tokens of the first latent frame.
    """

    tokens: torch.Tensor
    places: torch.Tensor
    length: int
    sink: int

    @property
    def blocks(self) -> int:
        """Blocks, the last one perhaps not full."""
        return ceil(self.length / BLOCK)

    @property
    def room(self) -> int:
        """Blocks behind the keys: enough for one key that stands for each block, and one that stays empty."""
        return ceil(self.blocks / BLOCK) + 1

    def lengths(self) -> torch.Tensor:
        """Returns Tensor[blocks], float32: the tokens of each block."""
        found = torch.full((self.blocks,), float(BLOCK), device=self.tokens.device)
        found[-1] = self.length - BLOCK * (self.blocks - 1)
        return found

    def arrange(self, x: torch.Tensor, room: int = 0) -> torch.Tensor:
        """Returns Tensor[B, L, H, D] as Tensor[B, H, (blocks + room) x 64, D], contiguous, filled up with zeros."""
        batch, _, heads, channels = x.shape
        arranged = x.new_empty(batch, heads, (self.blocks + room) * BLOCK, channels)
        arranged[:, :, self.length :] = 0
        for clip, head in product(range(batch), range(heads)):
            torch.index_select(x[clip, :, head], 0, self.tokens, out=arranged[clip, head, : self.length])
        return arranged

    def means(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the mean of each block of what `arrange` made: Tensor[B, H, blocks, D], float32."""
        blocks = x[:, :, : self.blocks * BLOCK].unflatten(2, (-1, BLOCK))
        return blocks.sum(3, dtype=torch.float32) / self.lengths()[:, None]

    def restore(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what `arrange` made as it was."""
        return x.transpose(1, 2).index_select(1, self.places)


@lru_cache(maxsize=8)
def cube_order(grid: Grid, device: torch.device) -> TokenOrder:
    """Returns the order of a clip's tokens.

    The first latent frame comes first, in blocks of its own: for image to video it is the picture, which every block
    attends to, and behind it a clip of 81 frames has 20 latent frames, five cubes. Sides that are no multiple of four
    are divided evenly. From cube to cube the way turns back at each edge, so that a block that begins in one cube
    ends in its neighbour; nothing is padded but the last block.
    """
    frames, rows, columns = grid
    raster = torch.arange(frames * rows * columns).view(grid)
    parts = [*_along(raster[:1], 1, TILE), *_along(raster[1:], CUBE, CUBE)]
    tokens = torch.cat(parts)
    places = torch.empty_like(tokens)
    places[tokens] = torch.arange(len(tokens))
    return TokenOrder(tokens.to(device), places.to(device), len(tokens), ceil(rows * columns / BLOCK))


def _along(raster: torch.Tensor, depth: int, side: int) -> list[torch.Tensor]:
    """Cuts raster indices into boxes of at most depth x side x side, from neighbour to neighbour."""
    slabs, rows, columns = (_cuts(size, most) for size, most in zip(raster.shape, (depth, side, side), strict=True))
    path = [(slab, row, column) for slab in slabs for row in rows for column in columns]
    lines = [path[at : at + len(columns)] for at in range(0, len(path), len(columns))]
    turned = [line[:: -1 if at % 2 else 1] for at, line in enumerate(lines)]
    sheets = [turned[at : at + len(rows)] for at in range(0, len(turned), len(rows))]
    boxes = [box for at, sheet in enumerate(sheets) for line in sheet[:: -1 if at % 2 else 1] for box in line]
    return [raster[slab, row, column].flatten() for slab, row, column in boxes]


def _cuts(size: int, most: int) -> list[slice]:
    parts = ceil(size / most) or 1
    return [slice(start, end) for start, end in pairwise(round(at * size / parts) for at in range(parts + 1))]
