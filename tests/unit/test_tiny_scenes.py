"""Scenes whose truth is known, and the reader that has to find it: below half a pixel and half a percent."""

import cv2
import numpy as np
import pytest
from pack.tiny.drawing import CELL, STYLES, Place, Window, draw
from pack.tiny.reader import read
from pack.tiny.scenes import FPS, KINDS, Camera, Point, Scene, Thing, random_scene

pytestmark = pytest.mark.slow  # of the tiny models, not of the pack

WIDTH, HEIGHT, FRAMES = 416, 240, 9
SECONDS = (FRAMES - 1) / FPS


def scene_of(kind, seed=1):
    return random_scene(seed, WIDTH / HEIGHT, SECONDS, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_finds_what_was_drawn(kind):
    scene = scene_of(kind)
    reading = read(draw(scene, WIDTH, HEIGHT, FRAMES))
    assert set(reading.tracks) == {thing.colour for thing in scene.things}
    for thing in scene.things:
        track = reading.tracks[thing.colour]
        assert track.shape == thing.shape
        assert track.ghosts == (0,) * FRAMES
        for index, sight in enumerate(track.sights):
            place, radius = scene.seen_at(thing, index / FPS)
            assert np.hypot(sight.centre.x - place.x * HEIGHT, sight.centre.y - place.y * HEIGHT) < 0.5
            assert np.sqrt(sight.area / np.pi) == pytest.approx(radius * HEIGHT, rel=0.005)
        if not thing.bounces and scene.camera.zoom == 1:
            seen = (thing.speed.x - scene.camera.speed.x, thing.speed.y - scene.camera.speed.y)
            allowed = 0.005 * max(0.3, np.hypot(*seen))
            assert tuple(reading.in_heights(track.speed())) == pytest.approx(seen, abs=allowed)
            assert track.growth() ** FPS == pytest.approx(thing.growth, rel=0.005)
    assert tuple(reading.in_heights(reading.pan)) == pytest.approx(tuple(scene.camera.speed), abs=0.005 * 0.3)
    assert reading.zoom**FPS == pytest.approx(scene.camera.zoom, rel=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_the_same_for_the_same_seed_and_another_for_another(kind):
    assert scene_of(kind) == scene_of(kind)
    assert len({scene_of(kind, seed) for seed in range(8)}) == 8


@pytest.mark.parametrize("kind", [kind for kind in KINDS if scene_of(kind).is_open])
def test_an_open_scene_has_several_outcomes_under_one_caption(kind):
    scenes = [scene_of(kind, seed) for seed in range(40)]
    outcomes = {
        (*((np.sign(round(one.speed.x, 3)), round(one.growth, 1)) for one in scene.things), scene.camera.speed.x > 0)
        for scene in scenes
    }
    assert len(outcomes) >= 2


def test_a_window_is_that_part_of_the_whole():
    scene = scene_of("two at once")
    part = draw(scene, WIDTH, HEIGHT, 3, window=Window(40, 24, 64, 48))
    np.testing.assert_array_equal(part, draw(scene, WIDTH, HEIGHT, 3)[:, 24:72, 40:104])


def test_a_ghost_is_told_from_a_shape():
    still = Thing("disc", "red", 0.1, Point(0.4, 0.5))
    scene = Scene(1, WIDTH / HEIGHT, (still,), Camera(), "", "", True)
    clip = draw(scene, WIDTH, HEIGHT, 2)
    mirrored = clip[:, :, ::-1]
    (track,) = read(clip // 2 + mirrored // 2).tracks.values()
    assert track.ghosts[-1] == 1  # half a shape at each side
    (track,) = read(clip).tracks.values()
    assert track.ghosts[-1] == 0


def test_a_blurred_and_pale_clip_is_read_like_a_sharp_one():
    scene = scene_of("moves")
    clip = np.stack([cv2.GaussianBlur(frame, (0, 0), 3.0) for frame in draw(scene, WIDTH, HEIGHT, FRAMES)])
    pale = (clip * 0.6 + 50).astype(np.uint8)
    for seen in (clip, pale):
        reading = read(seen)
        (track,) = reading.tracks.values()
        assert track.colour == scene.things[0].colour
        assert tuple(reading.in_heights(track.speed())) == pytest.approx(tuple(scene.things[0].speed), abs=0.01)
        assert reading.sharpness[0] < 0.7 * read(draw(scene, WIDTH, HEIGHT, 2)).sharpness[0]


@pytest.mark.parametrize("style", STYLES)
def test_a_style_paints_the_shapes_alone(style):
    scene = scene_of("stands still")
    plain, painted = (draw(scene, WIDTH, HEIGHT, 2, name) for name in ("plain", style))
    changed = (plain != painted).any(-1).mean()
    assert (changed == 0) if style == "plain" else 0.005 < changed < 0.2


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
def test_every_token_of_a_shape_is_painted_alike_wherever_the_shape_is(style):
    y, x = np.mgrid[0:CELL, 0:CELL] + 0.5
    here = STYLES[style](Place(x, y, x, y))
    there = STYLES[style](Place(0.1 * x, 0.1 * y, x + 3 * CELL, y + CELL))
    assert there == pytest.approx(here, abs=1e-6)
    assert 0.2 < here.mean() < 0.8
    assert here.std() > 0.3


def test_frames_of_a_wrong_form_are_refused():
    with pytest.raises(ValueError, match=r"two frames or more as \[F, H, W, 3\]; it got \[1, 8, 8, 3\]"):
        read(np.zeros((1, 8, 8, 3), np.uint8))
