"""Frames of any pixel format become the pictures that their codes mean."""

import os

import av
import numpy as np
import pytest
from pack.media.pixels import FULL_RANGE, LIMITED_RANGE, to_rgb

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def grey(codes, pix_fmt, color_range):
    """A frame of these codes of luma, [H, W], and no colour."""
    height, width = codes.shape
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.color_range = color_range
    luma, *chroma = frame.planes
    np.frombuffer(memoryview(luma), codes.dtype).reshape(height, -1)[:, :width] = codes
    for plane in chroma:
        np.frombuffer(memoryview(plane), np.uint8)[:] = 128
    return frame


@pytest.mark.skipif(CORES == 1, reason="PyAV takes a thread for each core, and one alone does nothing wrong")
def test_no_pixel_depends_on_which_thread_was_first():
    """Where rows end within a vector of the processor, the next band of rows began with what the last one spilt."""
    codes = np.random.default_rng(0).integers(16, 236, (480, 854), np.uint8)
    wanted = (codes[..., None] - np.float32(16)) / 219
    for _ in range(12):
        np.testing.assert_allclose(to_rgb(grey(codes, "yuv420p", LIMITED_RANGE)), wanted.repeat(3, 2), atol=1e-5)


@pytest.mark.parametrize(
    ("pix_fmt", "color_range", "black", "white"),
    [
        ("gray", LIMITED_RANGE, 16, 235), ("gray", FULL_RANGE, 0, 255), ("gray", 0, 0, 255),
        ("gray10le", LIMITED_RANGE, 64, 940), ("gray10le", FULL_RANGE, 0, 1023),
    ],
)  # fmt: skip
def test_black_and_white_of_a_video_without_colours_are_black_and_white(pix_fmt, color_range, black, white):
    """As AV1 and H.265 store it, in the range that they name."""
    codes = np.array([[black, white] * 8] * 16, np.uint16 if "10" in pix_fmt else np.uint8)
    rgb = to_rgb(grey(codes, pix_fmt, color_range))
    assert rgb.shape == (16, 16, 3)
    assert rgb.dtype == np.float32
    np.testing.assert_allclose(rgb[0, :2], [[0] * 3, [1] * 3], atol=2e-3)
