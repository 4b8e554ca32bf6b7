"""Frames of a clip as they would be saved, in 8 bits, and whether one shows anything."""

import numpy as np

from .finite import check_floating, flaw_of
from .opencv import cv2
from .resize import to_rgb

BLACK, SHOWN = 16, 0.02  # a frame is black where a smaller share of its pixels is as bright as this, of 255


def without_alpha(frame: np.ndarray) -> np.ndarray:
    """Returns the colours of a frame as they are under its alpha, which is what Save MP4 keeps."""
    return frame[..., :3] if frame.ndim == 3 and frame.shape[2] == 4 else frame


def eight_bits(frame: np.ndarray, name: str) -> np.ndarray | None:
    """Returns a picture in 8 bits, over black, uint8[H, W, 3]; None for one that holds NaN or infinity.

    Args:
        frame: [H, W] or [H, W, C] with 1, 3 or 4 channels.
        name: Of the frame, as an error begins with it.

    Raises:
        ValueError: It is none.
    """
    pixels = frame[..., None] if frame.ndim == 2 else frame
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise ValueError(f"{name} has the shape {list(frame.shape)}; it must be [H, W, C] with 1, 3 or 4 channels.")
    if pixels.dtype == np.uint8 and pixels.shape[2] != 4:
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels)
    if pixels.dtype != np.uint8:
        check_floating(pixels, name)
    scale = 255 if pixels.dtype == np.uint8 else 1
    if flaw_of(pixels):
        return None
    return cv2.convertScaleAbs(to_rgb(np.clip(pixels / scale if scale > 1 else pixels, 0, 1)), alpha=255)


def is_black(light: np.ndarray) -> bool:
    """Returns whether a picture, uint8[h, w], shows nothing but black."""
    return cv2.countNonZero(cv2.threshold(light, BLACK - 1, 1, cv2.THRESH_BINARY)[1]) < SHOWN * light.size
