"""A clip's motion and flicker: what VBench's own code says, and the true flow of drawn scenes."""

import cv2
import numpy as np
import pytest
from pack.media import clip_motion
from pack.media.clip_report import measure
from pack.tests.toy import patterns
from pack.tiny import drawing, scenes

FPS = 16


# What VBench's own code says of these clips: vbench 0.1.5 from the package index, `cal_score` of its
# temporal_flickering.py, unchanged, run on lossless files (FFV1) of them. Nothing of it is in this repository.
VBENCH = {
    "pans": 0.9878512,
    "zooms": 0.9900549,
    "bounces": 0.9939411,
    "two at once": 0.9937751,
    "noise on moves": 0.9432003,
}


def vbench_clip(name):
    """A clip of 17 frames, uint8[17, 144, 256, 3]."""
    scene = scenes.random_scene(31, kind=name.removeprefix("noise on "))
    clip = patterns.drawn(scene, 256, 144, 17, "fine rings")
    if not name.startswith("noise"):
        return clip
    noise = np.random.default_rng(1).integers(-20, 21, clip.shape)
    return np.clip(clip + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", VBENCH)
def test_flicker_is_what_vbench_says(name):
    clip = vbench_clip(name)
    assert measure(clip, FPS).flicker == pytest.approx(VBENCH[name], abs=1e-6)
    assert measure(clip.astype(np.float32) / 255, FPS).flicker == pytest.approx(VBENCH[name], abs=1e-6)


def true_flow(scene, width, height, seconds):
    """How far each pixel moves from time 0 on, float32[H, W, 2] in pixels, and where the shapes are."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (columns + 0.5) / height, (rows + 0.5) / height
    zoom, pan, middle = scene.camera.zoom**seconds, scene.camera.speed, scene.aspect / 2
    flow = np.stack(
        [(x - pan.x * seconds - middle) * zoom + middle - x, (y - pan.y * seconds - 0.5) * zoom + 0.5 - y], -1
    )
    shapes = np.zeros((height, width), bool)
    for thing in scene.things:
        (begin, radius), (end, later) = scene.seen_at(thing, 0), scene.seen_at(thing, seconds)
        u, v = (x - begin.x) / radius, (y - begin.y) / radius
        inside = drawing.distance(thing.shape, u, v) < 0
        flow[inside] = np.stack([end.x + u * later - x, end.y + v * later - y], -1)[inside]
        shapes |= inside
    return flow * height, shapes


@pytest.mark.slow
@pytest.mark.parametrize("size", [(416, 240), (640, 360), (1280, 720)], ids=str)
@pytest.mark.parametrize("kind", ["pans", "some pan", "zooms"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_motion_of_a_camera_is_right_within_a_tenth(kind, seed, size):
    scene = scenes.random_scene(seed, kind=kind)
    truth = clip_motion.fastest(true_flow(scene, *size, 1 / 8)[0].astype(np.float32)) * 8 / size[1]
    assert measure(drawing.draw(scene, *size, 3), FPS).motion == pytest.approx(100 * truth, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5, 6, 7])
def test_the_flow_within_a_shape_is_right_within_a_tenth(seed):
    """Of a shape with a pattern: what is of one colour does not show how it moves, but at its edges.

    None of them moves quickly: the pattern repeats, and may look the same once it has moved by one ring.
    """
    scene = scenes.random_scene(seed, kind="moves")
    assert max(map(abs, scene.things[0].speed)) < 0.6
    clip = patterns.drawn(scene, 640, 360, 3, "fine rings")
    one, other = (cv2.cvtColor(clip[index], cv2.COLOR_RGB2GRAY) for index in (0, 2))
    flow = clip_motion.dis().calc(one, other, None)
    truth, shape = true_flow(scene, 640, 360, 1 / 8)
    off = np.linalg.norm(np.median(flow[shape], axis=0) - np.median(truth[shape], axis=0))
    assert off < 0.1 * np.linalg.norm(np.median(truth[shape], axis=0))


@pytest.mark.parametrize(
    ("fps", "interval", "threshold"),
    [(8, 1, 6 / 256), (4, 1, 12 / 256), (12, 2, 6 / 256), (16, 2, 6 / 256), (24, 3, 6 / 256), (60, 8, 6 / 256)],
)
def test_frames_are_sampled_for_motion_as_vbench_does(fps, interval, threshold):
    motion = clip_motion.Motion(fps)
    assert (motion.interval, motion.threshold) == (interval, threshold)
    for light in np.zeros((33, 32, 32), np.uint8):
        motion.add(light)
    assert [(pair.first, pair.second) for pair in motion.moved] == [
        (first, first + interval) for first in range(0, 33 - interval, interval)
    ]
    assert motion.needed == max(1, round(4 * motion.sampled / 16))
    assert [between.frame for between in motion.between] == list(range(1, 32, 2))


def test_the_speed_of_a_clip_does_not_depend_on_its_rate():
    scene = scenes.random_scene(1, kind="pans")
    clip = drawing.draw(scene, 320, 180, 17)
    at_16, at_8 = measure(clip, 16), measure(clip[::2], 8)
    assert at_8.motion == pytest.approx(at_16.motion, rel=0.01)
    assert at_8.moving_pairs == at_16.moving_pairs == 8
