"""A contact sheet: the frames of a clip in rows, on one picture."""

import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from PIL import Image

COLUMNS = 6
TILE = 240  # pixels, the longer side
GAP = 4


class Clip(NamedTuple):
    """What a file says about its video."""

    frames: list[Image.Image]
    rate: Fraction


def read_clip(path: Path) -> Clip:
    """Decodes every frame of a clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        return Clip(frames, Fraction(stream.average_rate or 0))


def contact_sheet(frames: list[Image.Image]) -> Image.Image:
    """Arranges frames in rows of six, in their order."""
    tiles = [frame.copy() for frame in frames]
    for tile in tiles:
        tile.thumbnail((TILE, TILE))
    width, height = tiles[0].size
    rows = math.ceil(len(tiles) / COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % COLUMNS * (width + GAP), index // COLUMNS * (height + GAP)))
    return sheet
