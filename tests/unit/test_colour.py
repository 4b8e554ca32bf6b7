"""RGB to planes, against a float64 restatement of ITU-R BT.709 that shares no code with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.media.colour import BAND, rgb_to_yuv420


def bt709(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code values before rounding, float64: BT.709-6 items 3.2, 3.3 and 3.4 and H.264 chroma_sample_loc_type 0."""
    red, green, blue = np.moveaxis(frame.astype(np.float64), 2, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    cb, cr = (blue - luma) / 1.8556, (red - luma) / 1.5748
    return 219 * luma + 16, 224 * left_sited(cb) + 128, 224 * left_sited(cr) + 128


def left_sited(plane: np.ndarray) -> np.ndarray:
    """Weights 1, 2, 1 around every even column, mean of two rows; the picture goes on as its last column."""
    wide = np.pad(plane, ((0, 0), (1, 1)), mode="edge")
    columns = (wide[:, 0:-2:2] + 2 * wide[:, 1:-1:2] + wide[:, 2::2]) / 4
    return (columns[0::2] + columns[1::2]) / 2


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((1, 1, 1), (235, 128, 128)),
        ((0.5, 0.5, 0.5), (126, 128, 128)),  # 125.5: truncation would give 125
        ((1, 0, 0), (63, 102, 240)),
        ((0, 1, 0), (173, 42, 26)),
        ((0, 0, 1), (32, 240, 118)),
        ((1, 1, 0), (219, 16, 138)),
    ],
)
def test_known_colours_have_known_codes(colour, expected):
    planes = rgb_to_yuv420(np.broadcast_to(np.array(colour, dtype=np.float32), (4, 6, 3)))
    for plane, code in zip(planes, expected, strict=True):
        assert (plane == code).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_every_code_is_the_nearest_to_bt709(half_height, half_width, seed):
    frame = noise(2 * half_height, 2 * half_width, seed)
    for plane, exact in zip(rgb_to_yuv420(frame), bt709(frame), strict=True):
        assert plane.shape == exact.shape
        assert plane.dtype == np.uint8
        assert np.abs(plane - exact).max() <= 0.5 + 1e-3


def test_rounding_is_unbiased():
    frame = noise(256, 256)
    for plane, exact in zip(rgb_to_yuv420(frame), bt709(frame), strict=True):
        assert abs((plane - exact).mean()) < 0.02  # truncation would give -0.5


def test_bands_leave_no_seam():
    frame = noise(2 * BAND + 6, 32)
    shifted = rgb_to_yuv420(frame[10:])
    whole = rgb_to_yuv420(frame)
    np.testing.assert_array_equal(whole[0][10:], shifted[0])
    np.testing.assert_array_equal(whole[1][5:], shifted[1])
    np.testing.assert_array_equal(whole[2][5:], shifted[2])


@pytest.mark.parametrize(
    ("column", "weights"),
    [
        (4, {2: 1 / 2}),  # an even column is where a chroma sample sits
        (5, {2: 1 / 4, 3: 1 / 4}),  # an odd one lies midway between two
        (0, {0: 3 / 4}),  # the picture goes on beyond its edge
        (11, {5: 1 / 4}),
    ],
)
def test_chroma_sits_on_the_even_columns(column, weights):
    frame = np.zeros((4, 12, 3), dtype=np.float32)
    frame[:, column] = (1, 0, 0)
    _, _, cr = rgb_to_yuv420(frame)
    expected = np.full(6, 128.0)
    for sample, weight in weights.items():
        expected[sample] += 112 * weight
    np.testing.assert_array_equal(cr, np.tile(expected, (2, 1)))


def test_chroma_lies_midway_between_two_rows():
    frame = np.zeros((4, 4, 3), dtype=np.float32)
    frame[1] = (1, 0, 0)
    _, _, cr = rgb_to_yuv420(frame)
    np.testing.assert_array_equal(cr, [[184, 184], [128, 128]])


def test_values_outside_the_range_are_clamped():
    wild = noise(64, 64) * 3 - 1
    wild[7, 8], wild[9, 9] = np.finfo(np.float32).max, np.finfo(np.float32).min
    tame = np.clip(wild, 0, 1)
    untouched = wild.copy()
    for plane, expected in zip(rgb_to_yuv420(wild), rgb_to_yuv420(tame), strict=True):
        np.testing.assert_array_equal(plane, expected)
    np.testing.assert_array_equal(wild, untouched)


@pytest.mark.parametrize(
    "arrange",
    [
        lambda frame: frame.astype(np.float64),
        lambda frame: np.ascontiguousarray(frame.transpose(2, 0, 1)).transpose(1, 2, 0),  # as a decoder leaves it
        lambda frame: np.ascontiguousarray(frame[:, ::-1])[:, ::-1],
    ],
    ids=["float64", "planar", "mirrored"],
)
def test_layout_and_precision_of_the_array_do_not_matter(arrange):
    frame = noise(66, 34)
    for plane, expected in zip(rgb_to_yuv420(arrange(frame)), rgb_to_yuv420(frame), strict=True):
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (noise(4, 5), "Frame is 5x4; 4:2:0 video needs even sides"),
        (noise(5, 4), "Frame is 4x5; 4:2:0 video needs even sides"),
        (noise(4, 4)[:0], "Frame is 4x0; 4:2:0 video needs even sides"),
        (noise(4, 4)[..., :2], r"A frame has the shape \[H, W, 3\], got \[4, 4, 2\]"),
        (noise(4, 4)[None], r"A frame has the shape \[H, W, 3\], got \[1, 4, 4, 3\]"),
        (np.zeros((4, 4, 3), np.uint8), r"A frame must hold floating-point numbers in 0\.\.1, got uint8"),
    ],
)
def test_refuses_what_is_no_frame(frame, message):
    with pytest.raises(ValueError, match=message):
        rgb_to_yuv420(frame)
