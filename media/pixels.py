"""Decoded frames as the pictures that this pack works in: upright, RGB, float, with the colours of BT.709."""

from typing import Any, NamedTuple

import numpy as np
from av.sidedata.sidedata import Type

from . import hdr
from .opencv import cv2

LIMITED_RANGE, FULL_RANGE = 1, 2  # FFmpeg's numbers
BT601 = (0.299, 0.114)  # weights of red and blue in luma
# The same of other matrices, by FFmpeg's numbers. A file that does not say has BT.601, as FFmpeg and ComfyUI read it.
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}


class Orientation(NamedTuple):
    """How a frame is turned upright: rows and columns swapped, then mirrored left to right and top to bottom."""

    swapped: bool = False
    mirrored: bool = False
    flipped: bool = False

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """Turns [H, W, C]."""
        picture = picture.swapaxes(0, 1) if self.swapped else picture
        picture = picture[:, ::-1] if self.mirrored else picture
        return np.ascontiguousarray(picture[::-1] if self.flipped else picture)


def orientation_of(frame: Any) -> Orientation:
    """Reads the display matrix of a decoded frame, to the nearest quarter of a turn."""
    for side in frame.side_data:
        if side.type == Type.DISPLAYMATRIX:
            a, b, _, c, d, *_ = np.frombuffer(bytes(side), np.int32).tolist()
            if abs(b) + abs(c) > abs(a) + abs(d):
                return Orientation(True, c < 0, b < 0)
            return Orientation(False, a < 0, d < 0)
    return Orientation()


def to_rgb(frame: Any, transfer: int = 1, primaries: int = 1) -> np.ndarray:
    """Converts a decoded frame, without its alpha.

    Args:
        frame: PyAV's, of any pixel format.
        transfer: FFmpeg's number for its curve of brightness.
        primaries: FFmpeg's number for its primaries.

    Returns:
        float32[H, W, 3], RGB in [0, 1].
    """
    rgb = _of_yuv(frame) if is_yuv(frame) else _of_rgb(frame)
    return hdr.to_bt709(rgb, transfer, primaries)


def is_yuv(frame: Any) -> bool:
    """Returns whether a frame is stored as luma and colour differences."""
    return not frame.format.is_rgb and not frame.format.has_palette and len(frame.format.components) >= 3


def bits_of(frame: Any) -> int:
    """Returns how many bits a colour has."""
    return max(component.bits for component in frame.format.components)


def has_alpha(frame: Any) -> bool:
    """Returns whether some of a frame may be transparent."""
    return frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)


def converted(frame: Any, form: str) -> Any:
    """Returns a frame in another pixel format of FFmpeg's, converted by one thread.

    PyAV 17 lets several threads convert a band of rows each. Where a row ends within a vector, the last row of a band
    writes over the first pixels of the next band, before or after these are there: at 854x480 in most frames of 16-bit
    planes. In `rgb24`, which content filters read, none differed at 24 widths on x86, with up to 16 threads.
    """
    try:
        return frame.reformat(format=form, threads=1)
    except TypeError:  # an older PyAV, which has but one
        return frame.reformat(format=form)


def _of_rgb(frame: Any) -> np.ndarray:
    deep = bits_of(frame) > 8
    codes = converted(frame, "rgb48le" if deep else "rgb24").to_ndarray()
    is_grey = not frame.format.is_rgb and not frame.format.has_palette
    if is_grey and int(frame.color_range) == LIMITED_RANGE:  # which FFmpeg leaves in the codes of grey alone
        levels = codes / np.float32(256 if deep else 1)
        return np.clip((levels - 16) / 219, 0, 1, dtype=np.float32)
    return codes / np.float32(65535 if deep else 255)


def _of_yuv(frame: Any) -> np.ndarray:
    """FFmpeg spreads the chroma only: its own matrices round down, which darkens a picture with each generation."""
    planes = [
        np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width]
        for plane in converted(frame, "yuv444p16le").planes
    ]
    codes = cv2.merge([plane.astype(np.float32) for plane in planes])
    rgb = cv2.transform(codes, _matrix(frame))
    return np.clip(rgb, 0, 1, out=rgb)


def _matrix(frame: Any) -> np.ndarray:
    """float32[3, 4]: from codes of 16 bits to RGB in [0, 1]."""
    red, blue = WEIGHTS.get(int(frame.colorspace), BT601)
    green = 1 - red - blue
    to_red, to_blue = 2 * (1 - red), 2 * (1 - blue)
    weights = np.array(
        [[1, 0, to_red], [1, -blue * to_blue / green, -red * to_red / green], [1, to_blue, 0]],
    )
    unit = 256.0  # a level of 8 bits
    if int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj"):
        bits = bits_of(frame)
        span = (2**bits - 1) * 2.0 ** (8 - bits) * unit
        scale, zero = np.array([span, span, span]), np.array([0, 128, 128]) * unit
    else:
        scale, zero = np.array([219, 224, 224]) * unit, np.array([16, 128, 128]) * unit
    scaled = weights / scale
    return np.column_stack([scaled, -scaled @ zero]).astype(np.float32)
