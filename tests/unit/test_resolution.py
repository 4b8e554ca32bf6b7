"""Sizes, lengths and the geometry of a fit, as tables of plain numbers and properties."""

import math

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pack.media.resolution import (
    ASPECTS,
    FITS,
    MAX_SECONDS,
    TIERS,
    Box,
    Size,
    crop_box,
    describe_fit,
    fit_size,
    frame_count,
    pad_box,
)

sides = st.integers(32, 6000)
sizes = st.builds(Size, sides, sides)
pictures = sizes.filter(lambda size: max(size) <= 8 * min(size))
tiers = st.sampled_from(sorted(TIERS))
aspects = st.sampled_from(ASPECTS)


@pytest.mark.parametrize(
    ("picture", "tier", "aspect", "expected"),
    [
        ((1920, 1080), "720p", "image", (1280, 720)),
        ((1280, 720), "720p", "image", (1280, 720)),
        ((64, 36), "720p", "image", (1280, 720)),
        ((1080, 1920), "720p", "image", (720, 1280)),
        ((832, 480), "480p", "image", (832, 480)),
        ((1920, 1080), "480p", "image", (832, 480)),
        ((1920, 1080), "240p", "image", (416, 240)),
        ((1000, 1000), "720p", "image", (960, 960)),
        ((1000, 1000), "480p", "image", (624, 624)),  # 640x624 shows as much, but crops
        ((1500, 1000), "720p", "image", (1168, 784)),
        ((4000, 500), "720p", "image", (1280, 160)),
        ((300, 900), "720p", "16:9", (1280, 720)),
        ((300, 900), "720p", "9:16", (720, 1280)),
        ((300, 900), "720p", "1:1", (960, 960)),
        ((300, 900), "720p", "4:3", (1104, 832)),
        ((300, 900), "480p", "9:16", (480, 832)),
    ],
)
def test_finds_the_size_that_shows_most(picture, tier, aspect, expected):
    assert fit_size(*picture, tier, aspect) == expected


@settings(deadline=None)
@given(pictures, tiers, aspects)
def test_size_is_on_the_grid_and_within_the_tier(picture, tier, aspect):
    width, height = fit_size(*picture, tier, aspect)
    area, long_side = TIERS[tier]
    assert min(width, height) >= 16
    assert (width % 16, height % 16) == (0, 0)
    assert width * height <= area
    assert max(width, height) <= long_side


@settings(deadline=None)
@given(pictures, tiers)
def test_a_turned_picture_gets_the_turned_size(picture, tier):
    assert fit_size(*picture, tier) == fit_size(picture.height, picture.width, tier)[::-1]


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(pictures, tiers, aspects, st.integers(1, 80), st.integers(1, 80))
def test_no_other_size_shows_more(picture, tier, aspect, columns, rows):
    ratio = picture.width / picture.height if aspect == "image" else ratio_of(aspect)
    other = Size(16 * columns, 16 * rows)
    assume(other.width * other.height <= TIERS[tier].area)
    assume(max(other) <= TIERS[tier].long_side)
    assert shown(other, ratio) <= shown(fit_size(*picture, tier, aspect), ratio) * (1 + 1e-9)


def ratio_of(aspect: str) -> float:
    across, down = aspect.split(":")
    return int(across) / int(down)


def shown(size: Size, ratio: float) -> float:
    """Area times the fraction of a picture of this ratio that a crop keeps."""
    own = size.width / size.height
    return size.width * size.height * min(own / ratio, ratio / own)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ((200, 4000), "Picture is 200x4000; its sides may differ by at most 8:1. Crop it first."),
        ((1601, 200), "Picture is 1601x200; its sides may differ by at most 8:1. Crop it first."),
        ((16, 16), "Picture is 16x16; its shorter side needs at least 32 pixels. Use a larger one."),
        ((31, 64), "Picture is 31x64; its shorter side needs at least 32 pixels. Use a larger one."),
    ],
)
def test_refuses_what_is_no_picture_to_animate(picture, message):
    with pytest.raises(ValueError, match="Picture is") as error:
        fit_size(*picture, "720p")
    assert str(error.value) == message


def test_accepts_the_limits_themselves():
    assert fit_size(256, 32, "720p") == (1280, 160)


def test_names_the_choices_when_one_is_unknown():
    with pytest.raises(ValueError, match="Tier is one of 720p, 480p, 240p, got '1080p'"):
        fit_size(640, 480, "1080p")
    with pytest.raises(ValueError, match=r"Aspect is one of image, .*, got '21:9'"):
        fit_size(640, 480, "720p", "21:9")
    with pytest.raises(ValueError, match="Fit is one of crop, pad, stretch, got 'zoom'"):
        describe_fit(Size(640, 480), Size(640, 480), "720p", "zoom")


@pytest.mark.parametrize(
    ("seconds", "frames"),
    [(5.0, 81), (8.0, 129), (1.0, 17), (3.2, 53), (2.0, 33), (0.01, 5), (0.25, 5), (7 / 16, 9), (0.43, 5)],
)
def test_counts_frames(seconds, frames):
    assert frame_count(seconds) == frames


@given(st.floats(0, MAX_SECONDS, exclude_min=True))
def test_frames_are_4n_plus_1_and_the_nearest_such(seconds):
    frames = frame_count(seconds)
    assert frames % 4 == 1
    assert frames >= 5
    assert abs(frames - 16 * seconds) <= 2 or frames == 5


@pytest.mark.parametrize("seconds", [0.0, -1.0, 8.01, math.inf, math.nan])
def test_refuses_lengths_that_are_none(seconds):
    with pytest.raises(ValueError, match="A clip lasts more than 0 and at most 8 seconds, got"):
        frame_count(seconds)


@pytest.mark.parametrize(
    ("source", "target", "box"),
    [
        ((1920, 1080), (1280, 720), (0, 0, 1920, 1080)),
        ((1000, 1000), (1280, 720), (0, 218, 1000, 563)),
        ((1000, 500), (960, 960), (250, 0, 500, 500)),
        ((1001, 500), (960, 960), (250, 0, 500, 500)),
    ],
)
def test_crops_from_the_centre(source, target, box):
    assert crop_box(Size(*source), Size(*target)) == box


@pytest.mark.parametrize(
    ("source", "target", "box"),
    [
        ((1920, 1080), (1280, 720), (0, 0, 1280, 720)),
        ((1000, 1000), (1280, 720), (280, 0, 720, 720)),
        ((1000, 500), (960, 960), (0, 240, 960, 480)),
    ],
)
def test_pads_around_the_centre(source, target, box):
    assert pad_box(Size(*source), Size(*target)) == box


@given(sizes, sizes)
def test_boxes_lie_inside_centred_and_touch_two_sides(source, target):
    for box, outer in ((crop_box(source, target), source), (pad_box(source, target), target)):
        assert isinstance(box, Box)
        assert min(box) >= 0
        assert box.width == outer.width or box.height == outer.height
        assert 0 <= outer.width - box.width - 2 * box.left <= 1
        assert 0 <= outer.height - box.height - 2 * box.top <= 1


@pytest.mark.parametrize(
    ("source", "target", "fit", "corrections"),
    [
        ((1920, 1080), (1280, 720), "crop", []),
        ((1920, 1080), (1280, 720), "pad", []),
        ((1920, 1080), (1280, 720), "stretch", []),
        ((1000, 1000), (1280, 720), "crop", ["Cropped 44 % off: top and bottom.", "Enlarged 1.28 times."]),
        ((3000, 1000), (1280, 720), "crop", ["Cropped 41 % off: left and right."]),
        ((1921, 1080), (1280, 720), "crop", ["Cropped 0.052 % off: left and right."]),
        ((1000, 1000), (1280, 720), "pad", ["Padded with 280 pixels left and right."]),
        ((2000, 500), (1280, 720), "pad", ["Padded with 200 pixels top and bottom."]),
        ((1000, 1000), (1280, 720), "stretch", ["Stretched 78 % wider.", "Enlarged 1.28 times."]),
        ((1280, 360), (1280, 720), "stretch", ["Stretched 100 % taller.", "2.0"]),
        ((640, 360), (1280, 720), "crop", ["2.0"]),
        ((854, 480), (1280, 720), "stretch", ["Stretched 0.078 % taller.", "Enlarged 1.50 times."]),
        ((500, 500), (1280, 720), "crop", ["Cropped 44 % off: top and bottom.", "2.6"]),
        ((500, 500), (1280, 720), "pad", ["Padded with 280 pixels left and right.", "Enlarged 1.44 times."]),
        ((1275, 717), (1280, 720), "stretch", ["Stretched 0.026 % taller."]),
    ],
)
def test_reports_every_correction(source, target, fit, corrections):
    first, *rest = describe_fit(Size(*source), Size(*target), "720p", fit).splitlines()
    assert first == f"{source[0]}x{source[1]} -> {target[0]}x{target[1]} (720p)"
    enlarged = "Enlarged {} times, which looks soft: start from a larger picture."
    assert rest == [enlarged.format(line) if line[0].isdigit() else line for line in corrections]


@given(pictures, pictures, st.sampled_from(FITS))
def test_only_a_picture_of_the_same_aspect_is_reported_as_unchanged(source, target, fit):
    corrections = describe_fit(source, target, "720p", fit).splitlines()[1:]
    silent = not [line for line in corrections if not line.startswith("Enlarged")]
    if source.width * target.height == source.height * target.width:
        assert silent
    elif fit == "stretch":
        assert not silent
    else:
        box, outer = (crop_box(source, target), source) if fit == "crop" else (pad_box(source, target), target)
        assert silent == (Size(box.width, box.height) == outer)
