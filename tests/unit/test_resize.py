"""Crop, pad and stretch, checked on pictures whose answer is plain."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.media.resize import PAD, resize_frames
from pack.media.resolution import FITS, Size

ROOT = Path(__file__).resolve().parents[2]


def frames(height: int, width: int, channels: int = 3, count: int = 1) -> np.ndarray:
    return np.random.default_rng(7).random((count, height, width, channels), dtype=np.float32)


@pytest.mark.parametrize("fit", FITS)
def test_pixels_of_a_matching_size_stay_as_they_are(fit):
    clip = frames(48, 64, count=3)
    np.testing.assert_array_equal(resize_frames(clip, Size(64, 48), fit), clip)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from((1, 3, 4)),
    st.sampled_from(FITS),
)
def test_result_has_the_size_and_stays_in_range(height, width, new_height, new_width, channels, fit):
    clip = np.round(frames(height, width, channels, count=2))  # hard edges: the most overshoot
    out = resize_frames(clip, Size(new_width, new_height), fit)
    assert out.shape == (2, new_height, new_width, 3)
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.floats(0, 1, width=32))
def test_one_colour_stays_that_colour(height, width, new_height, new_width, value):
    clip = np.full((1, height, width, 3), value, dtype=np.float32)
    for fit in ("crop", "stretch"):
        np.testing.assert_allclose(resize_frames(clip, Size(new_width, new_height), fit), value, atol=1e-5)


def test_crop_keeps_the_middle():
    clip = np.zeros((1, 20, 40, 3), dtype=np.float32)
    clip[:, :, 10:30] = frames(20, 20)
    np.testing.assert_array_equal(resize_frames(clip, Size(20, 20), "crop"), clip[:, :, 10:30])


def test_pad_shows_the_whole_picture_between_bars():
    clip = frames(20, 40)
    out = resize_frames(clip, Size(40, 40), "pad")
    np.testing.assert_array_equal(out[:, 10:30], clip)
    assert (out[:, :10] == PAD).all()
    assert (out[:, 30:] == PAD).all()


def test_shrinking_averages_areas():
    clip = frames(40, 60)
    expected = clip.reshape(1, 20, 2, 20, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(resize_frames(clip, Size(20, 20), "stretch"), expected, atol=1e-6)


def test_an_axis_that_shrinks_is_averaged_while_the_other_grows():
    stripes = np.zeros((1, 10, 60, 3), dtype=np.float32)
    stripes[:, :, ::6] = 1  # sampling every sixth column would see only these, or none
    out = resize_frames(stripes, Size(10, 40), "stretch")
    np.testing.assert_allclose(out, 1 / 6, atol=1e-5)


def test_enlarging_follows_a_fine_pattern_between_the_pixels():
    def wave(width: int) -> np.ndarray:
        """A sine of five source pixels' length, sampled at `width` pixel centres over 64 source pixels."""
        centres = (np.arange(width) + 0.5) * 64 / width - 0.5
        return np.sin(2 * np.pi * centres / 5) / 2 + 0.5

    clip = np.broadcast_to(wave(64)[None, None, :, None], (1, 64, 64, 3)).astype(np.float32)
    out = resize_frames(clip, Size(160, 160), "stretch")
    error = (out[0, 80, :, 0] - wave(160))[20:-20]  # away from the edges, where there is nothing to continue with
    assert np.sqrt((error**2).mean()) < 0.004  # Lanczos 0.002, cubic 0.006, linear 0.05


def test_grey_becomes_rgb():
    grey = frames(8, 8, channels=1)
    np.testing.assert_array_equal(resize_frames(grey, Size(8, 8)), np.repeat(grey, 3, axis=3))


def test_colours_hidden_by_transparency_do_not_bleed():
    red_on_hidden_green = np.zeros((1, 32, 32, 4), dtype=np.float32)
    red_on_hidden_green[:, :, :15] = (1, 0, 0, 1)
    red_on_hidden_green[:, :, 15:] = (0, 1, 0, 0)
    out = resize_frames(red_on_hidden_green, Size(16, 16))
    assert (out[..., 1] == 0).all()
    np.testing.assert_allclose(out[0, 8, :, 0], [1] * 7 + [0.5] + [0] * 8, atol=1e-6)


@pytest.mark.parametrize(
    ("clip", "fit", "message"),
    [
        (frames(8, 8), "zoom", "Fit is one of crop, pad, stretch, got 'zoom'"),
        (frames(8, 8)[0], "crop", r"Frames have the shape \[F, H, W, C\] with 1, 3 or 4 channels, got \[8, 8, 3\]"),
        (frames(8, 8, 2), "crop", r"got \[1, 8, 8, 2\]"),
        (np.zeros((1, 8, 8, 3), np.uint8), "crop", r"The image must hold floating-point numbers in 0\.\.1, got uint8"),
    ],
)
def test_refuses_what_it_cannot_resize(clip, fit, message):
    with pytest.raises(ValueError, match=message):
        resize_frames(clip, Size(8, 8), fit)


@pytest.mark.slow
def test_without_opencv_the_room_imports_and_says_what_to_install_when_used(tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    script = f"""
import sys
sys.path = [{str(tmp_path)!r}, *sys.path, {str(ROOT / "tools")!r}]
import numpy as np
from pack.media import colour, mp4, resize, resolution
print(resolution.fit_size(640, 480, "480p"))
for use in (lambda: resize.resize_frames(np.zeros((1, 4, 4, 3)), (2, 2)),
            lambda: colour.rgb_to_yuv420(np.zeros((4, 4, 3)))):
    try:
        use()
    except ImportError as err:
        print(err)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    size, *messages = done.stdout.splitlines()
    assert size == "720x544"
    assert len(messages) == 2
    for message in messages:
        assert message == (
            "Resizing and saving need OpenCV, which cannot be imported here: "
            "libGL.so.1: cannot open shared object file. "
            "Install opencv-python-headless (a server without a display has no libGL)."
        )
