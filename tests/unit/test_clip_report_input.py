"""What comes into Clip Report, however odd it is, gives numbers or a sentence."""

import json
from functools import cache

import cv2
import numpy as np
import pytest
from pack.media import clip_numbers
from pack.media.clip_report import measure
from pack.tiny import drawing, scenes

FPS = 16


@cache
def known():
    """Three frames without fault, float32[3, 240, 416, 3]."""
    scene = scenes.random_scene(4, kind="moves", seconds=33 / FPS)
    return drawing.draw(scene, 416, 240, 3).astype(np.float32) / 255


def odd(kind, frames=5, shape=(64, 64, 3)):
    made = np.random.default_rng(0).random((frames, *shape)).astype(np.float32)
    if kind == "stars":  # two rows of blue on black
        made *= 0
        made[:, ::63, :, 2] = 1
    return {"nan": made * np.nan, "inf": made + np.inf, "black": made * 0, "flat": made * 0 + 0.5, "below": -made,
            "huge": made * 1e38, "bytes": (made * 255).astype(np.uint8), "half": made.astype(np.float16),
            "double": made.astype(np.float64)}.get(kind, made)  # fmt: skip


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (("noise", 1), "Motion or smoothness was not measured: that takes 3 frames in a row"),
        (("noise", 2), "Temporal flickering: 0.6"),
        (("noise", 5, (1, 1, 3)), "Motion was not measured: frames need sides of 32 pixels, these are 1x1."),
        (("noise", 5, (1, 300, 3)), "these are 300x1."),
        (("noise", 3, (32, 5000, 3)), "Motion: "),
        pytest.param(
            ("noise", 3, (1440, 2560, 3)), "Frames: 3, 2560x1440, 16 a second, 0.19 seconds.", marks=pytest.mark.slow
        ),
        (("noise", 5, (64, 64, 1)), "colour 0.0 of 255."),
        (("noise", 5, (64, 64)), "colour 0.0 of 255."),
        (("noise", 5, (64, 64, 4)), "Motion: "),
        (("bytes", 5, (64, 64, 4)), "Motion: "),
        (("bytes",), "Motion: "),
        (("half",), "Motion: "),
        (("double",), "Motion: "),
        (("nan",), "NaN or infinity in frames 1-5: sample or decode the clip again."),
        (("inf",), "NaN or infinity in frames 1-5: sample or decode the clip again."),
        (("black",), "Black frames: 1-5."),
        (("flat",), "Edge blur was not measured: there are no edges at the start or at the end."),
        (("stars",), "Drift: brightness +0.0 of 255; too dark to have a colour."),
        (("below",), "Black frames: 1-5."),
        (("huge",), "Frozen frames, each as the one before: 2-5."),
    ],
)
def test_whatever_comes_is_a_number_or_a_sentence(clip, said):
    clip = odd(*clip)
    numbers = measure(clip, FPS, odd("noise", 1, (20, 90, 3))[0])
    assert said in numbers.report()
    told = json.loads(json.dumps(numbers.as_dict(), allow_nan=False))
    assert told["frames"] == len(clip)
    assert all(value is None or isinstance(value, (int, float, list)) for value in told.values())


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        (odd("noise", 0), "A clip needs a frame at least, got none."),
        (odd("noise", 2, (0, 0, 3)), r"Frame 1 has the shape \[0, 0, 3\]; it must be \[H, W, C\]"),
        (odd("noise", 2, (8, 8, 2)), r"Frame 1 has the shape \[8, 8, 2\]"),
        (odd("noise", 2, (8,)), r"Frame 1 has the shape \[8\]"),
        (np.ones((2, 8, 8, 3), np.int64), "Frame 1 must hold floating-point numbers in 0..1, got int64"),
        ([odd("noise", 1)[0], odd("noise", 1, (8, 9, 3))[0]], "frame 2 is 9x8, the first 64x64"),
    ],
)
def test_what_is_no_clip_is_refused_with_its_reason(clip, said):
    with pytest.raises(ValueError, match=said):
        measure(clip, FPS)


@pytest.mark.parametrize(("fps", "count"), [(8, 3), (16, 3), (24, 4), (60, 9), (1000, 126)])
def test_how_many_frames_motion_needs_is_said_as_it_is(fps, count):
    sentence = f"Motion or smoothness was not measured: that takes {count} frames in a row that show something."
    assert sentence in measure(odd("noise", count - 1, (32, 32, 3)), fps).report()
    assert "not measured" not in measure(odd("noise", count, (32, 32, 3)), fps).report()


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_what_is_no_rate_is_refused(fps):
    with pytest.raises(ValueError, match="A clip has more than 0 frames a second"):
        measure(odd("noise"), fps)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (odd("nan")[0], "Likeness was not measured: the picture holds NaN or infinity."),
        (odd("black")[0], "Likeness was not measured: a picture of a single colour is like no other."),
        (odd("noise", 1, (1, 1, 3))[0], "Likeness was not measured: a picture of a single colour is like no other."),
        (odd("noise", 1, (1, 5000, 3))[0], "Likeness of the first frame to the picture: "),
        (odd("noise", 1, (300, 7, 4))[0], "Likeness of the first frame to the picture: "),
    ],
)
def test_a_picture_of_any_size_is_compared_or_told_of(picture, said):
    assert said in measure(known(), FPS, picture).report()


@pytest.mark.parametrize(
    ("times", "rows", "columns"), [(1, 0, 0), (2, 0, 0), (0.5, 0, 0), (1, 30, 0), (1, 0, 90), (1.5, 0, 40)]
)
def test_a_picture_of_another_size_is_like_its_first_frame(times, rows, columns):
    """What is cropped off it, as a frame of another shape shows less of it, does not count."""
    picture = cv2.resize(known()[0], None, fx=times, fy=times, interpolation=cv2.INTER_AREA)
    picture = np.pad(picture, ((rows, rows), (columns, columns), (0, 0)))
    assert measure(known()[:1], FPS, picture).likeness > 0.98
    assert measure(known()[:1], FPS, picture[::-1]).likeness < clip_numbers.ALIKE
