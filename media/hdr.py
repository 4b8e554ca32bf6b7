"""Colours of other videos as BT.709: brightness beyond white (PQ, HLG) is brought below it, wide gamuts are cut.

Sources: Recommendations ITU-R BT.2100-2 (PQ and HLG, tables 4 and 5), BT.2408-7 (white at 203 cd/m2), BT.2390-11 (item
5.4, the curve that brings highlights down), BT.2087 (primaries) and BT.1886 (how screens show BT.709); SMPTE EG 432-1.
"""

from functools import cache

import numpy as np

from .opencv import cv2

# FFmpeg's numbers.
BT2020, DISPLAY_P3 = 9, 12  # primaries
PQ, HLG = 16, 18  # transfers
NAMES = {PQ: "PQ", HLG: "HLG"}

WHITE = 203.0  # cd/m2 of white in BT.2408
PEAK = 1000.0  # cd/m2 of the brightest picture that is graded; brighter values are clipped
SCREEN_GAMMA = 2.4
LEVELS = 1 << 16  # entries of a table; 64 of them make one level of 10 bits

# Linear RGB of other primaries to linear RGB of BT.709. White is D65 in all of them.
TO_BT709 = {
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    DISPLAY_P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0196, -0.0786, 1.0979]], np.float32),
}


def is_other(transfer: int, primaries: int) -> bool:
    """Returns whether pictures with FFmpeg's numbers for transfer and primaries look wrong if taken for BT.709."""
    return transfer in NAMES or primaries in TO_BT709


def to_bt709(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Converts what a video stores to what BT.709 would store for the same look.

    Args:
        rgb: float32[H, W, 3] in [0, 1], as stored, not linear.
        transfer: FFmpeg's number; PQ, HLG, or anything else for the curve of BT.709.
        primaries: FFmpeg's number; BT.2020, Display P3, or anything else for those of BT.709.

    Returns:
        float32[H, W, 3] in [0, 1].
    """
    if not is_other(transfer, primaries):
        return rgb
    linear = _look_up(_linear(transfer), rgb)
    if transfer == HLG:
        scene = cv2.transform(linear, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
        linear *= np.power(np.maximum(scene, 1e-6), 0.2)[..., None] * (PEAK / WHITE)  # BT.2100's gamma of 1.2
    if transfer in NAMES:
        brightest = linear.max(2)
        linear *= (_look_up(_highlights(), np.minimum(brightest * (WHITE / PEAK), 1)))[..., None]
    if primaries in TO_BT709:
        linear = cv2.transform(linear, TO_BT709[primaries])
    return np.power(np.clip(linear, 0, 1), 1 / SCREEN_GAMMA, dtype=np.float32)


def _look_up(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    return table[np.round(np.clip(values, 0, 1) * (LEVELS - 1)).astype(np.uint16)]


@cache
def _linear(transfer: int) -> np.ndarray:
    """float32[LEVELS]: light, 1 being white, of a stored value from 0 to 1; of HLG that of the scene."""
    stored = np.linspace(0, 1, LEVELS)
    if transfer == PQ:
        light = _light_of_pq(stored) / WHITE
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(stored <= 0.5, stored**2 / 3, (np.exp((stored - c) / a) + b) / 12)
    else:
        light = stored**SCREEN_GAMMA
    return light.astype(np.float32)


@cache
def _highlights() -> np.ndarray:
    """float32[LEVELS]: by what to multiply light of 0 to `PEAK`, so that all of it stays below white."""
    light = np.linspace(0, PEAK, LEVELS)
    top = _pq_of_light(PEAK)
    given, most = _pq_of_light(light) / top, _pq_of_light(WHITE) / top
    knee = 1.5 * most - 0.5
    t = (given - knee) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    kept = _light_of_pq(np.where(given < knee, given, bent) * top)
    return np.divide(kept, light, out=np.ones(LEVELS), where=light > 0).clip(0, 1).astype(np.float32)


M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _light_of_pq(stored: np.ndarray) -> np.ndarray:
    """Returns cd/m2."""
    power = np.power(stored, 1 / M2)
    return 10_000 * np.power(np.maximum(power - C1, 0) / (C2 - C3 * power), 1 / M1)


def _pq_of_light(light: np.ndarray | float) -> np.ndarray:
    """Returns the stored value, in [0, 1], of cd/m2."""
    power = np.power(np.asarray(light) / 10_000, M1)
    return np.power((C1 + C2 * power) / (1 + C3 * power), M2)
