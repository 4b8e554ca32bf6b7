"""Sharpness and JPEG blocks, on drawn pictures of the bench that the thresholds come from."""

import json
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from pack.bench.pictures import picture
from pack.media import quality
from pack.media.resize import resize_frames
from pack.media.resolution import NOTABLE_ENLARGEMENT, Size

MEASURED = json.loads(
    (Path(__file__).parents[2] / "bench" / "results" / "picture_quality.json").read_text(encoding="utf-8")
)
SOFT = "This picture will cost quality: it is soft at this size. Start from a larger or sharper one."
PORTRAIT, DEPTH = (pytest.param(kind, marks=pytest.mark.slow) for kind in ("portrait", "depth"))  # seconds to draw
BLOCKY = "This picture will cost quality: its JPEG blocks show. Start from a less compressed copy."


@cache
def drawn(kind):
    return picture(kind, 100)  # a seed that the bench does not draw


def frame(image):
    return image.astype(np.float32) / 255


def jpeg(image, value):
    _, file = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, value])
    return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]


def rates(beginning):
    (title,) = [title for title in MEASURED if re.match(beginning, title)]
    return MEASURED[title]


def test_the_thresholds_are_the_measured_ones():
    assert MEASURED["thresholds"] == {"SOFT": quality.SOFT, "BLOCKY": quality.BLOCKY}


def test_the_rates_that_stand_beside_them_were_measured():
    soft, blocky = rates(r"share of \d+ pictures called soft"), rates(r"share of \d+ pictures called blocky")
    good = [soft[name] for name in ("untouched", "blurred by 0.6 pixels", "enlarged 1.25 times", "with noise of 3 %")]
    light = [blocky[name] for name in ("no JPEG", "no JPEG, blurred", "quality 95", "quality 85", "quality 75")]
    assert np.mean(good) <= 0.02
    assert np.mean(light) <= 0.01


def test_an_enlargement_is_notable_where_most_edges_become_notably_softer():
    rises = rates("share of pictures whose edge blur rises")
    notable = [float(name.split()[1]) for name, share in rises.items() if share >= 0.75]
    assert min(notable) == NOTABLE_ENLARGEMENT


@pytest.mark.parametrize("kind", ["leaves", "text", PORTRAIT, "skyline", "fur", "cartoon", DEPTH, "fog"])
def test_a_blurred_picture_is_told_from_a_sharp_one_whatever_it_shows(kind):
    image = frame(drawn(kind))
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    assert quality.edge_blur(image) <= quality.SOFT < quality.edge_blur(blurred)


@pytest.mark.parametrize("pixels", [1.5, 2.0, 3.0])
def test_a_step_edge_tells_its_blur(pixels):
    step = np.zeros((200, 200, 3), np.float32)
    step[:, 100:] = 0.8
    measured = quality.edge_blur(cv2.GaussianBlur(step, (0, 0), pixels))
    assert measured == pytest.approx(np.sqrt(pixels**2 + 1 / 2), rel=0.1)  # 1/2: of the gradient's own three pixels


def test_a_smooth_subject_is_not_called_soft():
    assert quality.edge_blur(frame(drawn("gradient"))) is None
    report = quality.describe_quality(*[frame(drawn("gradient"))] * 2, "crop")
    assert report == f"Sharpness: no edges to measure; JPEG blocks: 0.0 of 255 (visible above {quality.BLOCKY:g})."


@pytest.mark.parametrize("offset", [(0, 0), (3, 5), (7, 1)])
@pytest.mark.parametrize("kind", ["leaves", PORTRAIT, "fog"])
def test_blocks_are_seen_wherever_they_begin(kind, offset):
    image = drawn(kind)
    down, across = offset
    cut = jpeg(image, 10)[down:, across:]
    assert quality.block_step(frame(image)) < 0.2
    assert quality.block_step(frame(cut)) > quality.BLOCKY


def test_stronger_compression_shows_more():
    steps = [quality.block_step(frame(jpeg(drawn("fog"), value))) for value in (95, 75, 50, 30, 10)]
    assert steps == sorted(steps)


@pytest.mark.slow
def test_a_200x200_jpeg_gets_a_plain_verdict():
    small = jpeg(cv2.resize(drawn("portrait")[:, 280:1000], (200, 200), interpolation=cv2.INTER_AREA), 10)
    source = frame(small)
    report = quality.describe_quality(source, resize_frames(source[None], Size(960, 960))[0], "crop")
    assert re.fullmatch(
        r"Sharpness: edge blur \d\.\d\d pixels \(soft above [\d.]+\); "
        rf"JPEG blocks: \d+\.\d of 255 \(visible above [\d.]+\)\.\n{re.escape(SOFT)}\n{re.escape(BLOCKY)}",
        report,
    )


def test_a_sharp_picture_gets_no_verdict():
    image = frame(drawn("leaves"))
    assert quality.describe_quality(image, image, "crop").count("\n") == 0


def test_the_bars_of_padding_do_not_pass_for_sharp_edges():
    source = cv2.GaussianBlur(frame(drawn("leaves"))[:, 280:1000], (0, 0), 3)
    for fit in ("pad", "crop"):
        fitted = resize_frames(source[None], Size(1280, 720), fit)[0]
        assert SOFT in quality.describe_quality(source, fitted, fit)


def test_a_picture_of_few_blocks_is_not_judged_by_them():
    tiny = np.zeros((40, 63, 1), np.float32)
    assert quality.block_step(tiny) is None
    report = quality.describe_quality(tiny, np.zeros((240, 416, 3), np.float32), "crop")
    assert report == "Sharpness: no edges to measure; JPEG blocks: too small to measure."


def test_values_that_are_no_numbers_do_no_harm():
    image = np.full((100, 100, 4), np.nan, np.float32)
    assert "no edges to measure" in quality.describe_quality(image, image[..., :3], "crop")


def test_grey_and_transparent_pictures_are_measured_too():
    image = frame(drawn("leaves"))
    opaque = np.concatenate([image, np.ones((*image.shape[:2], 1), np.float32)], axis=2)
    assert quality.edge_blur(opaque) == quality.edge_blur(image)
    assert quality.block_step(opaque) == quality.block_step(image)
    grey = image.mean(axis=2, keepdims=True)
    assert quality.edge_blur(grey) == pytest.approx(quality.edge_blur(image), rel=0.1)
