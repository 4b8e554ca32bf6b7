"""How much a frame is like the picture that it was to show: the correlation of their colours.

Structural similarity (SSIM) would not tell: of drawn pictures it is .60 to .99 for the same one blurred or compressed,
and .19 to .91 for another. Their correlation is .87 to 1.0 for the same one, and at most .25 for another.
"""

import numpy as np

from .opencv import cv2
from .resolution import Size, crop_box


def likeness(frame: np.ndarray, picture: np.ndarray, size: tuple[int, int]) -> float | None:
    """Returns how well the colours of two pictures go together, 1 where they differ by brightness or contrast alone.

    Args:
        frame: uint8[H, W, 3].
        picture: uint8[h, w, 3], cropped to the shape of the frame as Fit to 720p does by default.
        size: Width and height at which they are compared.

    Returns:
        -1 to 1; None where one is of a single colour.
    """
    width, height = frame.shape[1::-1]
    left, top, across, down = crop_box(Size(picture.shape[1], picture.shape[0]), Size(width, height))
    picture = picture[top : top + max(1, down), left : left + max(1, across)]
    one, other = (cv2.resize(each, size, interpolation=cv2.INTER_AREA).astype(np.float32) for each in (frame, picture))
    one, other = one - one.mean((0, 1)), other - other.mean((0, 1))
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float((one * other).sum()) / lengths if lengths else None
