"""RGB to the 8-bit planes of a video: BT.709, limited range, 4:2:0, rounded once.

Source: Recommendation ITU-R BT.709-6, items 3.2 to 3.4 (luma, colour differences, quantisation).
"""

import numpy as np

from .finite import NotFiniteError, check_floating, flaw
from .opencv import cv2

KR, KB = 0.2126, 0.0722  # weights of red and blue in BT.709 luma
LUMA_SPAN, LUMA_BLACK = 219, 16  # black is 16, white 235
CHROMA_SPAN, CHROMA_ZERO = 224, 128  # 16 to 240 around 128

# The same in FFmpeg's words. Without tags players guess, and guess differently above 576 lines than below.
TAGS = {
    "colorspace": "bt709",
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
    "chroma_sample_location": "left",
}


def _bt709_matrix() -> np.ndarray:
    """float32[3, 4]: rows Y, Cb, Cr in code values; columns R, G, B in [0, 1] and the constant."""
    red, _, blue = np.eye(3)
    luma = np.array([KR, 1 - KR - KB, KB])
    cb = (blue - luma) / (2 * (1 - KB))  # in [-0.5, 0.5], as cr
    cr = (red - luma) / (2 * (1 - KR))
    weights = np.stack([LUMA_SPAN * luma, CHROMA_SPAN * cb, CHROMA_SPAN * cr])
    return np.column_stack([weights, [LUMA_BLACK, CHROMA_ZERO, CHROMA_ZERO]]).astype(np.float32)


MATRIX = _bt709_matrix()
LEFT_SITED = np.array([1, 2, 1], dtype=np.float32) / 4  # centred on even columns, where MPEG-2 and H.264 put chroma
AS_IS = np.ones(1, dtype=np.float32)
ONE = np.float32(1).view(np.uint32)
BAND = 72  # rows at a time: what is made of them stays in the cache


Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def rgb_to_yuv420(frame: np.ndarray, planes: Planes | None = None) -> Planes:
    """Converts one frame, without passing through 8-bit RGB.

    Chroma is sited left: on the even columns, midway between two rows.

    Args:
        frame: float[H, W, 3], RGB in [0, 1], both sides even. Values outside are clamped.
        planes: Where to write; new arrays if None.

    Returns:
        Y uint8[H, W], Cb and Cr uint8[H / 2, W / 2].

    Raises:
        ValueError: `frame` is no floating-point RGB picture with even sides.
        NotFiniteError: It holds NaN or infinity.
        ImportError: OpenCV is not available.
    """
    _check_frame(frame)
    height, width, _ = frame.shape
    if planes is None:
        cb, cr = np.empty((2, height // 2, width // 2), dtype=np.uint8)
        planes = np.empty((height, width), dtype=np.uint8), cb, cr
    luma, cb, cr = planes
    for top in range(0, height, BAND):
        band = slice(top, top + BAND)
        half = slice(top // 2, (top + BAND) // 2)
        rgb = _clean(frame[band])
        if rgb is None:
            raise _not_finite(frame)
        luma[band], cb[half], cr[half] = _convert_band(rgb)
    return planes


def _convert_band(rgb: np.ndarray) -> Planes:
    height, width, _ = rgb.shape
    upper, lower = rgb[0::2].reshape(height // 2, -1), rgb[1::2].reshape(height // 2, -1)
    rows = cv2.addWeighted(upper, 0.5, lower, 0.5, 0).reshape(height // 2, width, 3)
    # Plane by plane: taking three apart costs more than all of these.
    luma, cb, cr = (cv2.transform(part, row) for part, row in zip((rgb, rows, rows), MATRIX[:, None], strict=True))
    return _round(luma), _halve_columns(cb), _halve_columns(cr)


def _clean(band: np.ndarray) -> np.ndarray | None:
    """Returns float32 in [0, 1], or None of what is not finite.

    That is the band itself if it is so already, which costs a quarter of copying it.
    """
    # Read as whole numbers, floats from 0 to 1 are in order, and negative ones and NaN are above them.
    if band.dtype == np.float32 and band.flags.c_contiguous and band.view(np.uint32).max() <= ONE:
        return band
    return np.clip(band, 0, 1, dtype=np.float32, order="C") if np.isfinite(band).all() else None


def _not_finite(frame: np.ndarray) -> NotFiniteError:
    found = flaw(frame)
    assert found is not None
    return NotFiniteError(f"The picture holds {found.value} in {found.place}, which no video shows.", *found)


def _check_frame(frame: np.ndarray) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"A frame has the shape [H, W, 3], got {list(frame.shape)}.")
    check_floating(frame, "A frame")
    height, width, _ = frame.shape
    if height % 2 or width % 2 or not frame.size:
        raise ValueError(
            f"Frame is {width}x{height}; 4:2:0 video needs even sides. Resize it first, for example with Fit to 720p."
        )


def _halve_columns(plane: np.ndarray) -> np.ndarray:
    blurred = cv2.sepFilter2D(plane, -1, LEFT_SITED, AS_IS, borderType=cv2.BORDER_REPLICATE)
    return _round(blurred)[:, ::2]


def _round(plane: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(plane)  # rounds to nearest and saturates; every value is positive
