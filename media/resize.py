"""Pixels of a fit: crop, pad or stretch to a size. The geometry is in resolution.py."""

import numpy as np

from .finite import check_pictures
from .opencv import cv2
from .resolution import FITS, Box, Size, check_choice, crop_box, pad_box

# Black, as in a letterbox: a bar that stays a bar and crops off. Mid-grey is how Wan marks what it is to invent.
PAD = 0.0


def resize_frames(frames: np.ndarray, size: Size, fit: str = "crop") -> np.ndarray:
    """Brings frames to a size.

    Shrinking averages pixel areas (no aliasing), enlarging is Lanczos (OpenCV's cubic, at a = -0.75, ripples on
    smooth ramps). Where the size already matches, pixels keep their values. Transparent pixels are composited
    over `PAD` before anything is averaged, so the colours that hide under them cannot bleed in.

    Args:
        frames: float[F, H, W, C], in [0, 1]; grey (C = 1), RGB (3) or RGB with straight alpha (4).
        size: Of the result.
        fit: One of `FITS`: "crop" fills the size, "pad" shows the whole picture, "stretch" distorts it.

    Returns:
        float32[F, h, w, 3], in [0, 1].

    Raises:
        ValueError: `fit` is unknown or `frames` is none of the above.
        NotFiniteError: A frame holds NaN or infinity.
        ImportError: OpenCV is not available.
    """
    check_choice("Fit", fit, FITS)
    _check_frames(frames)
    size = Size(*size)
    out = np.full((len(frames), size.height, size.width, 3), PAD, dtype=np.float32)
    for frame, target in zip(frames, out, strict=True):
        source = Size.of(frame)
        if fit == "crop":
            frame = cut(frame, crop_box(source, size))
        elif fit == "pad":
            target = cut(target, pad_box(source, size))
        pixels = _resample(to_rgb(frame), Size.of(target))
        np.clip(pixels, 0, 1, out=target)  # Lanczos overshoots at edges
    return out


def _check_frames(frames: np.ndarray) -> None:
    if frames.ndim != 4 or frames.shape[3] not in (1, 3, 4):
        raise ValueError(f"Frames have the shape [F, H, W, C] with 1, 3 or 4 channels, got {list(frames.shape)}.")
    check_pictures(frames, "The image")


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """Returns a view of the part of an image, [H, W, C], that a box holds."""
    left, top, width, height = box
    return image[top : top + height, left : left + width]


def to_rgb(image: np.ndarray) -> np.ndarray:
    """float[H, W, 1 | 3 | 4] -> float32[H, W, 3]."""
    image = image.astype(np.float32, copy=False)
    if image.shape[2] == 4:
        alpha = image[..., 3:]
        return image[..., :3] * alpha + PAD * (1 - alpha)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _resample(image: np.ndarray, size: Size) -> np.ndarray:
    """Shrinks the axes that shrink, then enlarges those that grow: each axis gets the filter that suits it."""
    shrunk = Size(min(size.width, image.shape[1]), min(size.height, image.shape[0]))
    if shrunk != Size.of(image):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4)
    return image
