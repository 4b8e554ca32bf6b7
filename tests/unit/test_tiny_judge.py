"""The judge of clips: true clips pass, and each thing that can be wrong is told by its own number."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pack.tiny.drawing import STYLES, draw
from pack.tiny.judge import judge, paint, summary
from pack.tiny.scenes import KINDS, SHAPES, Point, random_scene

pytestmark = pytest.mark.slow  # of the tiny models, not of the pack

WIDTH, HEIGHT, FRAMES = 208, 112, 9
OPEN = [kind for kind in KINDS if random_scene(1, kind=kind).is_open]


def scene_of(kind, seed=3):
    return random_scene(seed, WIDTH / HEIGHT, (FRAMES - 1) / 16, kind)


def drawn(scene, style="plain"):
    return draw(scene, WIDTH, HEIGHT, FRAMES, style)


@pytest.mark.parametrize("kind", KINDS)
def test_a_true_clip_is_right_in_everything(kind):
    scene = scene_of(kind)
    verdict = judge(scene, drawn(scene))
    assert (verdict.obeys, verdict.one, verdict.colours, verdict.shapes) == (True,) * 4
    assert verdict.amount == pytest.approx(1, abs=0.05) or (math.isnan(verdict.amount) and kind == "stands still")
    assert verdict.sharpness == 1
    assert bool(verdict.outcome) == scene.is_open


@pytest.mark.parametrize("kind", KINDS)
def test_the_clip_of_another_caption_disobeys(kind):
    scene = scene_of(kind)
    still = np.repeat(drawn(scene)[:1], FRAMES, axis=0)
    wrong = drawn(scene)[::-1] if kind in ("moves", "changes size", "two at once", "pans", "zooms") else still
    if kind == "stands still":
        wrong = np.stack([np.roll(frame, 2 * index, axis=1) for index, frame in enumerate(still)])
    assert not judge(scene, wrong).obeys


def other_outcome(scene):
    """The scene with another outcome of the same picture and caption: back to front, or of the other shape."""
    if scene.kind == "some pan":
        return replace(scene, camera=replace(scene.camera, speed=opposite(scene.camera.speed)))
    first, *others = scene.things
    if scene.kind == "some size":
        first = replace(first, growth=1 / first.growth)
    elif others:
        first, others = replace(first, speed=others[0].speed), [replace(others[0], speed=first.speed)]
    else:
        first = replace(first, speed=opposite(first.speed))
    return replace(scene, things=(first, *others))


def opposite(speed):
    return Point(-speed.x, -speed.y)


@pytest.mark.parametrize("kind", OPEN)
def test_a_mean_of_two_outcomes_is_not_one_and_each_of_them_is(kind):
    scene = scene_of(kind)
    clips = [drawn(scene), drawn(other_outcome(scene))]
    assert all(judge(scene, clip).one and judge(scene, clip).obeys for clip in clips)
    assert not judge(scene, np.mean(clips, axis=0).round().astype(np.uint8)).one


def test_a_shape_that_jumps_about_does_not_bounce():
    scene = scene_of("bounces")
    clip = drawn(scene)
    assert judge(scene, clip).obeys
    assert not judge(scene, clip[np.random.default_rng(1).permutation(FRAMES)]).obeys


@pytest.mark.parametrize("kind", OPEN)
def test_any_outcome_of_an_open_scene_is_right_and_they_are_told_apart(kind):
    outcomes = set()
    for seed in range(12):
        verdict = judge(scene_of(kind, seed), drawn(scene_of(kind, seed)))
        assert verdict.obeys
        outcomes.add(verdict.outcome)
        if len(outcomes) > 1:
            return
    pytest.fail(f"Twelve scenes have one outcome: {outcomes}")


def test_a_slow_motion_is_told_by_its_amount():
    scene = scene_of("moves")
    frames = drawn(scene)
    slow = frames[np.arange(FRAMES) // 2]
    assert judge(scene, slow).amount == pytest.approx(0.5, abs=0.05)


def test_a_blur_is_told_by_its_sharpness_and_noise_by_its_flicker():
    scene = scene_of("moves")
    clip = drawn(scene)
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in clip])
    assert judge(scene, blurred).sharpness < 0.5
    noise = np.random.default_rng(1).normal(0, 5, clip.shape)
    assert judge(scene, np.clip(clip + noise, 0, 255).astype(np.uint8)).flicker > 2


def test_another_colour_another_shape_and_another_ground_are_told():
    scene = scene_of("stands still")
    swapped = drawn(scene)[..., ::-1]
    assert not judge(scene, np.concatenate([drawn(scene)[:1], swapped[1:]])).colours
    squeezed = np.stack([cv2.resize(frame[:, ::2], (WIDTH, HEIGHT)) for frame in drawn(scene)])
    assert judge(scene, drawn(scene)).ground > judge(scene, squeezed).ground + 10
    for shape in SHAPES:
        other = replace(scene, things=tuple(replace(thing, shape=shape) for thing in scene.things))
        verdict = judge(scene, drawn(other))
        assert verdict.shapes == all(thing.shape == shape for thing in scene.things)
        assert (verdict.colours, verdict.one, verdict.obeys) == (True,) * 3


@pytest.mark.parametrize("style", STYLES)
def test_paint_is_read_as_it_was_drawn(style):
    for kind in ("moves", "changes size", "stands still"):
        scene = scene_of(kind)
        for name, amount in paint(scene, drawn(scene, style)).items():
            assert amount == pytest.approx(float(name == style), abs=0.05)


def test_a_summary_counts_what_is_right_only_where_it_is_one_outcome():
    scenes = [scene_of(kind) for kind in ("moves", "left or right")]
    clips = [drawn(scenes[0]), np.repeat(drawn(scenes[1])[:1], FRAMES, axis=0)]
    told = summary(judge(scene, clip) for scene, clip in zip(scenes, clips, strict=True))
    assert told["right share"] == told["obeys share"] == 0.5
    assert told["one outcome share"] == 1
