"""Draws how far a long clip drifts, part by part: four small charts in one picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .drift import DriftNumbers

SIZE = 960, 640
BACK, INK, GRID = "#1b1b1e", "#f4f4f5", "#3f3f46"
COLOURS = "#38bdf8", "#fb923c"
TITLE, LABEL = 20, 15  # pixels of the letters
MARGIN, TOP = 58, 44

Line = tuple[str, Sequence[float | None]]


def draw(numbers: DriftNumbers) -> np.ndarray:
    """Returns the chart, float32[H, W, 3] in [0, 1]."""
    picture = Image.new("RGB", SIZE, BACK)
    canvas = ImageDraw.Draw(picture)
    parts, seams = numbers.parts, numbers.seams
    charts: list[tuple[str, list[Line], str, float | None]] = [
        (
            "Drift at the end of each part, of 255",
            [("brightness", [part.brightness for part in parts]), ("colour", [part.colour for part in parts])],
            "part", 0.0,
        ),
        ("Likeness to the start picture, of 1", [("", [part.likeness for part in parts])], "part", 1.0),
        ("Edge blur, in pixels", [("", [part.edge_blur for part in parts])], "part", numbers.edge_blur_start),
        ("Speed after a seam, times that before", [("", [seam.ratio for seam in seams])], "seam", 1.0),
    ]  # fmt: skip
    for place, chart in enumerate(charts):
        _chart(canvas, (place % 2 * SIZE[0] // 2, place // 2 * SIZE[1] // 2), *chart)
    return np.asarray(picture, np.float32) / np.float32(255)


def _chart(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    title: str,
    lines: list[Line],
    what: str,
    ideal: float | None,
) -> None:
    """Draws one chart of half the width and height; `ideal` is where a clip without drift would lie."""
    left, top = corner[0] + MARGIN, corner[1] + TOP
    right, bottom = corner[0] + SIZE[0] // 2 - 34, corner[1] + SIZE[1] // 2 - 34
    canvas.text((left, corner[1] + 12), title, INK, _font(TITLE))
    values = [value for _, line in lines for value in line if value is not None]
    if not values:
        canvas.text((left, top + 20), "not measured", INK, _font(LABEL))
        return
    low, high = _range([*values, *([] if ideal is None else [ideal])])
    count = len(lines[0][1])

    def at(index: int, value: float) -> tuple[float, float]:
        across = (left + right) / 2 if count == 1 else left + (right - left) * index / (count - 1)
        return across, bottom - (bottom - top) * (value - low) / (high - low)

    for value in (low, (low + high) / 2, high):
        height = at(0, value)[1]
        canvas.line((left, height, right, height), GRID)
        canvas.text((left - 8, height), f"{value:.3g}", INK, _font(LABEL), anchor="rm")
    if ideal is not None:
        for across in range(left, right, 12):
            canvas.line((across, at(0, ideal)[1], across + 6, at(0, ideal)[1]), INK)
    for index in range(0, count, max(1, count // 8)):
        canvas.text((at(index, low)[0], bottom + 8), f"{what} {index + 1}", INK, _font(LABEL), anchor="ma")
    for colour, (name, line) in zip(COLOURS, lines, strict=False):
        points = [at(index, value) for index, value in enumerate(line) if value is not None]
        canvas.line(points, colour, 3, joint="curve")
        for x, y in points:
            canvas.ellipse((x - 4, y - 4, x + 4, y + 4), colour)
        if name:
            place = (left + 8, top + 4 + 20 * COLOURS.index(colour))
            canvas.text(place, name, colour, _font(LABEL))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Returns the lowest and the highest value that a chart shows, apart by enough that noise looks like noise."""
    low, high = min(values), max(values)
    spare = max(high - low, 0.1) * 0.15
    return low - spare, high + spare


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
