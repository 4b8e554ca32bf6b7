"""NaN and infinity in pictures: never black frames and success, always where the first of them stands."""

import os

import numpy as np
import pytest
import torch
from pack.media.colour import BAND, rgb_to_yuv420
from pack.media.finite import NotFiniteError, check_pictures, flaw
from pack.media.join import join
from pack.media.mp4 import Mp4Writer
from pack.media.resize import resize_frames
from pack.media.resolution import Size


def frames(count=3, height=32, width=48, dtype=np.float32):
    return np.random.default_rng(0).random((count, height, width, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("value", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "minus infinity"), (-np.nan, "NaN")]
)
def test_a_clip_with_one_is_refused_and_the_place_is_said(tmp_path, value, name, dtype):
    clip = frames(dtype=dtype)
    clip[1, 20, 7, 2] = value

    def save():
        with Mp4Writer(tmp_path / "clip.mp4", Size(48, 32)) as video:
            for frame in clip:
                video.write(frame)

    with pytest.raises(NotFiniteError, match=rf"There is {name} in frame 2, row 21, column 8,.*No clip was written"):
        save()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("row", [0, BAND - 1, BAND, 2 * BAND + 5])
def test_one_is_found_in_every_band(row):
    frame = frames(1, 3 * BAND, 8)[0]
    frame[row, 3] = np.nan
    with pytest.raises(NotFiniteError, match=f"The picture holds NaN in row {row + 1}, column 4"):
        rgb_to_yuv420(frame)


def test_numbers_outside_the_range_are_no_flaw():
    assert flaw(frames() * 1e30 - 5) is None


def test_the_first_in_reading_order_is_named():
    clip = frames(1)[0]
    clip[5, 2], clip[5, 1], clip[9, 0] = np.nan, np.inf, np.nan
    assert flaw(clip) == ("infinity", "row 6, column 2")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_which_picture_of_a_batch_is_said(dtype):
    batch = torch.from_numpy(frames()).to(dtype)
    check_pictures(batch, "The start image")
    batch[2, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"The start image holds NaN in picture 3 of 3, row 1, column 1\. "):
        check_pictures(batch, "The start image")
    with pytest.raises(NotFiniteError, match=r"The start image holds NaN in row 1, column 1\. "):
        check_pictures(batch[2:], "The start image")


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("frame", [0, 2])
def test_joined_clips_name_the_clip(place, frame):
    clips = [torch.from_numpy(frames()), torch.from_numpy(frames())]
    clips[place][frame, 3, 4] = torch.nan
    name = ("first", "second")[place]
    with pytest.raises(NotFiniteError, match=f"The {name} clip holds NaN in picture {frame + 1} of 3, row 4, column 5"):
        join(*clips)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_picture_is_not_resized_into_a_black_one(fit):
    batch = frames()
    batch[1, 4, 4] = np.nan
    with pytest.raises(NotFiniteError, match="The image holds NaN in picture 2 of 3, row 5, column 5"):
        resize_frames(batch, Size(32, 32), fit)
