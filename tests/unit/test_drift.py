"""The numbers of a long clip follow the drift that was put into a drawn one, and only that."""

import json
import math

import cv2
import numpy as np
import pytest
from pack.media.drift import DriftMeter
from pack.media.drift_chart import SIZE, draw

WIDTH, HEIGHT, FPS = 160, 96, 16
GROUND = cv2.GaussianBlur(np.random.default_rng(3).uniform(0.2, 0.8, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 2)
SHAPE = cv2.resize(np.random.default_rng(5).uniform(0.0, 1.0, (7, 7, 3)).astype(np.float32), (42, 42))


def frame(x, y=30.0, light=0.0, tint=0.0, blur=0.0):
    """A patterned square on a patterned ground."""
    picture = GROUND.copy()
    shift = np.float32([[1, 0, x], [0, 1, y]])
    shape = cv2.warpAffine(SHAPE, shift, (WIDTH, HEIGHT))
    mask = cv2.warpAffine(np.ones((42, 42), np.float32), shift, (WIDTH, HEIGHT))[..., None]
    picture = picture * (1 - mask) + shape * mask + light + tint * np.float32([1, 0, -1])
    return np.clip(cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture, 0, 1)


def measured(parts, loop=False):
    meter = DriftMeter(FPS, parts[0][0])
    for place, frames in enumerate(parts):
        if place:
            meter.seam()
        for each in frames:
            meter.add(each)
    return meter.numbers(loop)


def walk(start, speed, count=9, **changes):
    return [frame(start + speed * step, **changes) for step in range(count)]


PER_SECOND = FPS * 100 / HEIGHT  # percent of the short side a second, of a pixel a frame


def test_a_walk_that_goes_on_is_told_as_one():
    (seam,) = measured([walk(10, 2), walk(28, 2)]).seams
    assert seam.frame == 10
    assert seam.speed_before == pytest.approx(2 * PER_SECOND, rel=0.15)
    assert seam.ratio == pytest.approx(1, abs=0.15)
    assert seam.direction > 0.97
    assert seam.jump < 0.5


@pytest.mark.parametrize(("after", "ratio"), [(1.0, 0.5), (4.0, 2.0), (0.0, 0.0)])
def test_another_speed_after_the_seam_is_its_ratio(after, ratio):
    (seam,) = measured([walk(10, 2), walk(26 + after, after)]).seams
    assert seam.ratio == pytest.approx(ratio, abs=0.15 * max(ratio, 0.4))
    assert (seam.direction is None) == (after == 0)


def test_the_speed_of_a_short_part_is_its_own_and_not_of_the_seam_before_it():
    seam = measured([walk(10, 2), walk(60, 2, 3), walk(66, 2)]).seams[1]
    assert seam.speed_before == pytest.approx(2 * PER_SECOND, rel=0.15)
    assert seam.ratio == pytest.approx(1, abs=0.15)


def test_a_walk_that_turns_back_has_the_other_direction():
    (seam,) = measured([walk(10, 2), walk(24, -2)]).seams
    assert seam.direction < -0.97
    assert seam.ratio == pytest.approx(1, abs=0.15)


def test_a_jump_is_how_far_it_is_off_its_course():
    numbers = [measured([walk(10, 2), walk(28 + jump, 2)]).seams[0] for jump in (0, 4)]
    assert numbers[1].jump - numbers[0].jump == pytest.approx(4 / HEIGHT * 100, rel=0.25)
    assert numbers[1].difference > numbers[0].difference


def test_where_nothing_moved_there_is_no_ratio():
    (seam,) = measured([walk(30, 0), walk(30, 2)]).seams
    assert (seam.ratio, seam.direction) == (None, None)
    assert "nothing moved before" in measured([walk(30, 0), walk(30, 2)]).report()


def test_colour_blur_and_likeness_follow_what_was_put_in():
    clean = measured([walk(10, 2), walk(28, 2)])
    lighter = measured([walk(10, 2), walk(28, 2, light=8 / 255)])
    tinted = measured([walk(10, 2), walk(28, 2, tint=8 / 255)])
    softer = measured([walk(10, 2), walk(28, 2, blur=2.0)])
    other = measured([walk(10, 2), [1 - each for each in walk(28, 2)]])
    last = [numbers.parts[-1] for numbers in (clean, lighter, tinted, softer, other)]
    assert abs(last[0].brightness) < 0.5
    assert last[1].brightness == pytest.approx(8, abs=0.7)
    assert last[2].colour == pytest.approx(8, abs=1)
    assert last[2].mean_colour == pytest.approx(8, abs=0.7)
    assert (last[0].colour, last[1].colour) == (pytest.approx(0, abs=0.5), pytest.approx(0, abs=0.7))
    assert last[3].edge_blur is None or last[3].edge_blur > 1.4 * last[0].edge_blur
    assert [numbers.parts[0] for numbers in (lighter, tinted, softer)] == [clean.parts[0]] * 3
    assert last[4].likeness < 0 < last[0].likeness


def test_a_loop_has_a_seam_from_its_end_to_its_start():
    there, back = walk(10, 2), walk(28, -2, 9)
    assert measured([there, back]).loop is None
    loop = measured([there, back], loop=True).loop
    assert loop.frame == 1
    assert loop.direction < -0.9


def test_numbers_are_plain_and_the_report_says_each_part_and_seam():
    numbers = measured([walk(10, 2), walk(28, 2), walk(46, 2)], loop=True)
    told = json.loads(json.dumps(numbers.as_dict(), allow_nan=False))
    assert told["over_all"]["frames"] == 27
    assert [part["frames"] for part in told["parts"]] == [9, 9, 9]
    assert [seam["frame"] for seam in told["seams"]] == [10, 19]
    assert math.isclose(told["over_all"]["brightness"], told["parts"][-1]["brightness"])
    lines = numbers.report().splitlines()
    assert [line.split(",")[0].split(":")[0] for line in lines] == [
        "Seam 1", "Seam 2", "Loop", "Part 1", "Part 2", "Part 3", "Over all",
    ]  # fmt: skip


def test_what_is_too_small_for_flow_is_told_of():
    small = np.random.default_rng(1).uniform(0, 1, (16, 16, 3)).astype(np.float32)
    numbers = measured([[small] * 5, [small] * 5])
    assert numbers.seams[0].speed_before is None
    assert "too small for its motion" in numbers.report()
    assert draw(numbers).shape == (SIZE[1], SIZE[0], 3)


def test_the_chart_shows_a_clip_that_drifts_otherwise_than_one_that_does_not():
    clean, drifted = measured([walk(10, 2), walk(28, 2)]), measured([walk(10, 2), walk(28, 2, light=0.1)])
    one, other = draw(clean), draw(drifted)
    assert (one.shape, one.dtype) == ((SIZE[1], SIZE[0], 3), np.float32)
    assert 0 <= one.min() < one.max() <= 1
    half = SIZE[1] // 2, SIZE[0] // 2
    assert not np.array_equal(one[: half[0], : half[1]], other[: half[0], : half[1]])


def test_a_clip_of_one_part_has_no_seam():
    numbers = measured([walk(10, 2)])
    assert (len(numbers.parts), numbers.seams) == (1, [])
    assert draw(numbers).any()
