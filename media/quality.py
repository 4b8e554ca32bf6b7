"""How sharp a picture is at the size of the clip, and how much of a JPEG's blocks shows.

A clip is made of what its first frame holds: blur and blocks move along with it. The thresholds are measured:
bench/picture_quality.py degrades drawn pictures, and bench/results/picture_quality.json keeps how often each
degradation is noticed and how often a good picture is called bad. A test holds the constants to that file. Blocks of a
JPEG that was resized afterwards are not found.

Edge blur follows Zhuo and Sim, "Defocus map estimation from a single image" (2011): blurring a step edge once more, by
a known amount, lowers its gradient by a ratio that tells how blurred it was. It is taken at the steepest edges, so
that a soft background or a smooth subject does not count against a picture that is sharp somewhere.
"""

import numpy as np

from .opencv import cv2
from .resize import cut, to_rgb
from .resolution import Size, pad_box

SOFT = 1.05  # pixels of edge blur at the clip's size: 1 in 50 good pictures has more
BLOCKY = 1.4  # of 255, the step that block borders add: 1 in 100 good pictures has more

REBLUR = 1.0  # pixels
EDGE = 0.01  # of full range per pixel; flatter slopes are shading
STEEPEST = 0.0007  # of all pixels: the edges that count
FEWEST_EDGES = 50  # pixels
BLOCK = 8  # pixels, JPEG's
SAMPLED_LINES = 256  # of a picture, spread evenly
LARGEST_STEP = 0.06  # of full range; larger ones are edges of the subject


def describe_quality(source: np.ndarray, fitted: np.ndarray, fit: str) -> str:
    """Returns how sharp a fitted picture is and how blocky its source, and what that means for the clip.

    Args:
        source: float[H, W, C], in [0, 1], as it came; 1, 3 or 4 channels.
        fitted: float[h, w, 3], in [0, 1], at the size of the clip.
        fit: One of `FITS`; bars of "pad" are not looked at.
    """
    blur, blocks = edge_blur(_without_bars(source, fitted, fit)), block_step(source)
    edges = "no edges to measure" if blur is None else f"edge blur {blur:.2f} pixels (soft above {SOFT:g})"
    steps = "too small to measure" if blocks is None else f"{blocks:.1f} of 255 (visible above {BLOCKY:g})"
    lines = [f"Sharpness: {edges}; JPEG blocks: {steps}."]
    if blur is not None and blur > SOFT:
        lines.append("This picture will cost quality: it is soft at this size. Start from a larger or sharper one.")
    if blocks is not None and blocks > BLOCKY:
        lines.append("This picture will cost quality: its JPEG blocks show. Start from a less compressed copy.")
    return "\n".join(lines)


def edge_blur(frame: np.ndarray) -> float | None:
    """Measures the blur of the steepest edges.

    Args:
        frame: float[H, W, C], in [0, 1].

    Returns:
        The standard deviation of the blur in pixels: about 0.8 for a picture that is sharp to the pixel, 2 for one
        enlarged five times. None where there are no edges to judge by.
    """
    luma = _luma(frame)
    slope = _squared_gradient(luma)
    edges = (slope >= cv2.dilate(slope, np.ones((3, 3), np.uint8))) & (slope > EDGE**2)
    found = slope[edges]
    if found.size < FEWEST_EDGES:
        return None
    wanted = max(FEWEST_EDGES, int(STEEPEST * luma.size))
    if found.size > wanted:
        edges &= slope >= np.partition(found, found.size - wanted)[found.size - wanted]
    reblurred = _squared_gradient(cv2.GaussianBlur(luma, (0, 0), REBLUR))
    # A step blurred by s has a gradient in proportion to 1 / s, and the blurs' squares add up.
    lost = slope[edges] / np.maximum(reblurred[edges], EDGE**4) - 1
    return float(np.median(REBLUR / np.sqrt(np.maximum(lost, 1e-3))))


def block_step(frame: np.ndarray) -> float | None:
    """Measures how much more neighbouring pixels differ across the borders of 8x8 blocks than within, at any offset.

    Args:
        frame: float[H, W, C], in [0, 1]; as it came, because resizing moves the borders.

    Returns:
        In levels of 255. None where a side has fewer than 8 blocks.
    """
    height, width = frame.shape[:2]
    if min(height, width) < 8 * BLOCK:
        return None
    rows = _luma(frame[:: max(1, height // SAMPLED_LINES)])
    columns = _luma(frame[:, :: max(1, width // SAMPLED_LINES)])
    return 255 * (_border_step(rows) + _border_step(columns.T)) / 2


def _border_step(luma: np.ndarray) -> float:
    """Compares, along lines, the steps at the offset where they are largest with those at the other seven."""
    steps = np.abs(np.diff(luma, axis=1))
    extra = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
    each = np.clip(extra, -LARGEST_STEP, LARGEST_STEP).mean(axis=0)
    offsets = each[: each.size // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=0)
    border = offsets.argmax()
    return float(offsets[border] - np.delete(offsets, border).mean())


def _without_bars(source: np.ndarray, fitted: np.ndarray, fit: str) -> np.ndarray:
    return cut(fitted, pad_box(Size.of(source), Size.of(fitted))) if fit == "pad" else fitted


def _luma(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(to_rgb(frame)), cv2.COLOR_RGB2GRAY)


def _squared_gradient(luma: np.ndarray) -> np.ndarray:
    across = cv2.Sobel(luma, cv2.CV_32F, 1, 0, scale=1 / 8)  # 8: the weights' sum, so this is a difference per pixel
    down = cv2.Sobel(luma, cv2.CV_32F, 0, 1, scale=1 / 8)
    return across * across + down * down
