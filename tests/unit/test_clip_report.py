"""What a clip is like, in numbers: on drawn clips whose truth is known, with known faults, and beside VBench."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from pack.media import clip_numbers, video_reading
from pack.media.clip_report import MOST_RUNS, ClipMeter, measure
from pack.media.clip_seams import runs, spikes
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from pack.tests.toy import patterns
from pack.tiny import drawing, scenes

ROOT = Path(__file__).parents[2]
FPS = 16
FRAMES = 33
CLIPS = {
    "a disc": ("moves", 4, "fine stripes"),
    "a zoom": ("zooms", 3, "fine stripes"),
    "a square": ("bounces", 9, "fine rings"),
}
# One is drawn and measured between two thoughts.
each_clip = pytest.mark.parametrize(
    "clip", [name if name == "a disc" else pytest.param(name, marks=pytest.mark.slow) for name in CLIPS]
)


@cache
def known(name="a disc"):
    """A clip without fault, float32[F, H, W, 3]."""
    kind, seed, style = CLIPS[name]
    scene = scenes.random_scene(seed, kind=kind, seconds=FRAMES / FPS)
    return patterns.drawn(scene, 416, 240, FRAMES, style).astype(np.float32) / 255


@cache
def measured(name="a disc"):
    return measure(known(name), FPS, known(name)[0])


def over_time(values):
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


def blurred(clip, pixels):
    return np.stack(
        [cv2.GaussianBlur(frame, (0, 0), max(sigma, 1e-3)) for frame, sigma in zip(clip, pixels, strict=True)]
    )


def noisy(clip):
    return clip + np.random.default_rng(7).normal(0, 8 / 255, clip.shape).astype(np.float32)


def holed(clip):
    holed = clip.copy()
    holed[12:14, 5, 5, 1] = np.nan
    return holed


RAMP = np.linspace(0, 1, FRAMES)
REDDER = np.array([0.15, -0.0446, 0], np.float32)  # which is as bright
FAULTS = {
    "blurred": lambda clip: blurred(clip, [2] * FRAMES),
    "blurred more and more": lambda clip: blurred(clip, 3 * RAMP),
    "every second frame brighter": lambda clip: clip * over_time([1, 1.05] * (FRAMES // 2) + [1]),
    "brighter and brighter": lambda clip: clip * over_time(1 + 0.2 * RAMP),
    "darker and darker": lambda clip: clip * over_time(1 - 0.2 * RAMP),
    "redder and redder": lambda clip: clip * (1 + over_time(RAMP) * REDDER),
    "noise": noisy,
    "one frame shown twelve times more": lambda clip: np.concatenate(
        [clip[:12], np.repeat(clip[11:12], 12, 0), clip[12:]]
    ),
    "ten frames left out": lambda clip: np.concatenate([clip[:12], clip[22:]]),
    "three black frames": lambda clip: np.concatenate([clip[:12], 0 * clip[12:15], clip[15:]]),
    "two frames with NaN": holed,
    "another picture first": lambda clip: np.concatenate([clip[:1, ::-1, ::-1], clip[1:]]),
}
# What each moves beyond the tolerance, and whether up or down. docs/nodes.md has the table.
MOVES = {
    "blurred": {"edge_blur_start": 1, "edge_blur_end": 1},
    "blurred more and more": {"edge_blur_end": 1},
    "every second frame brighter": {"light_flicker": 1, "flicker": -1, "smoothness": -1},
    "brighter and brighter": {"brightness_drift": 1},
    "darker and darker": {"brightness_drift": -1},
    "redder and redder": {"colour_drift": 1},
    "noise": {"flicker": -1, "smoothness": -1, "likeness": -1},
    "one frame shown twelve times more": {"frozen": 1, "motion": -1},
    "ten frames left out": {"seams": 1},
    "three black frames": {"black": 1, "flicker": -1},
    "two frames with NaN": {"nan": 1},
    "another picture first": {"likeness": -1, "seams": 1},
}
TOLERANCE = {
    "flicker": 0.006,
    "light_flicker": 0.1,
    "motion": 0.1,  # of itself
    "smoothness": 0.005,
    "edge_blur_start": 0.1,
    "edge_blur_end": 0.1,
    "brightness_drift": 1.0,
    "colour_drift": 1.0,
    "likeness": 0.03,
    **dict.fromkeys(("seams", "black", "frozen", "nan"), 0),
}


@each_clip
@pytest.mark.parametrize("fault", FAULTS)
def test_a_known_fault_moves_its_own_numbers_and_no_other(clip, fault):
    without = measured(clip)._asdict()
    found = measure(FAULTS[fault](known(clip)), FPS, known(clip)[0])._asdict()
    moved = {}
    for name, tolerance in TOLERANCE.items():
        difference = (found[name] - without[name]) / (without[name] if name == "motion" else 1)
        if abs(difference) > tolerance:
            moved[name] = 1 if difference > 0 else -1
    assert moved == MOVES[fault]


@each_clip
def test_a_clip_without_fault_is_told_of_none(clip):
    said = measured(clip).report().splitlines()[-1]
    assert said == "Nothing stands out." or (clip == "a disc" and said.startswith("The clip hardly moves"))


def test_the_page_has_the_same_table():
    rows = re.findall(
        r"^\| (.+?) \| ((?:`\w+` (?:up|down)(?:, )?)+) \|$", (ROOT / "docs" / "nodes.md").read_text("utf-8"), re.M
    )
    told = {fault: {name: 1 if way == "up" else -1 for name, way in re.findall(r"`(\w+)` (up|down)", cell)}
            for fault, cell in rows}  # fmt: skip
    assert told == MOVES


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_light_that_flickers_at_random_is_no_row_of_seams(spread):
    gains = over_time(np.random.default_rng(3).uniform(1 - spread, 1 + spread, FRAMES))
    found = measure(known() * gains, FPS)
    assert found.light_flicker > 1
    assert found.seams == 0


@pytest.mark.slow
def test_seams_are_found_wherever_they_are_and_flashes_twice():
    level = known()
    flash = level * over_time([1.5 if index == 20 else 1 for index in range(FRAMES)])
    assert measure(flash, FPS).seams_at == ((21, 22),)
    for cut in (1, 2, 16, 31, 32):
        darker = level * over_time([1 if index < cut else 0.985 for index in range(FRAMES)])  # a sampler's and a VAE's
        assert measure(darker, FPS).seams_at == ((cut + 1, cut + 1),)


def test_a_spike_needs_others_to_stand_out_among():
    assert spikes(np.array([np.nan, 50.0]), 2.5, 2.0, []) == []
    assert spikes(np.array([np.nan, 0.0, 50.0, 0.0, 0.0]), 2.5, 2.0, [1, 3, 4]) == []
    assert spikes(np.array([np.nan, 1.0, 50.0, 1.0, 1.0]), 2.5, 2.0, []) == [2]


@pytest.mark.parametrize("crf", [12, 18])
@each_clip
def test_a_frame_that_is_held_is_frozen_in_a_file_too(tmp_path, clip, crf):
    frames = known(clip)[[0, 1, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8]]
    with Mp4Writer(tmp_path / "clip.mp4", Size(416, 240), FPS, crf=crf) as file:
        for frame in frames:
            file.write(frame)
    pictures = video_reading.look(str(tmp_path / "clip.mp4"))
    read = (frame for frame, *_ in video_reading.frames(pictures))
    assert measure(read, float(pictures.rate)).frozen_at == ((5, 7),)


def test_what_is_small_and_slow_is_not_frozen():
    thing = scenes.Thing("disc", "green", 0.1, scenes.Point(0.8, 0.5), scenes.Point(0.15, 0))
    clip = drawing.draw(scenes.Scene(3, 16 / 9, (thing,), scenes.Camera(), "", "", False), 416, 240, 17)
    assert measure(clip, FPS).frozen == 0


def test_runs_of_frames_are_named_from_one():
    assert runs([0, 1, 2, 5, 7, 8]) == ((1, 3), (6, 6), (8, 9))
    assert runs([]) == ()


def test_only_so_many_runs_are_listed():
    clip = np.zeros((3 * MOST_RUNS, 8, 8, 3), np.uint8)
    clip[::2] = 200
    numbers = measure(clip, FPS)
    assert numbers.black == len(clip) / 2
    assert len(numbers.black_at) == MOST_RUNS
    assert "Black frames: 2, 4, 6, 8, 10, 12, ...." in numbers.report()


@pytest.mark.slow
def test_frames_may_arrive_one_by_one_and_are_not_kept():
    meter = ClipMeter(FPS)
    for frame in known()[:20]:
        meter.add(frame)
    assert meter.numbers() == measure(iter(known()[:20]), FPS)
    kept = [each.nbytes for each in vars(meter).values() if isinstance(each, np.ndarray)]
    kept += [frame.nbytes for frames in (meter._start, meter._end) for frame in frames]
    assert sum(kept) <= 9 * known()[0].size  # of 8 bits


def test_measuring_needs_neither_torch_nor_comfyui():
    code = (
        "import sys; sys.path.append(sys.argv[1] + '/tools')\n"
        "from pack.media.clip_report import measure; import numpy\n"
        "measure(numpy.zeros((3, 64, 64, 3), numpy.float32), 16)\n"
        "print([name for name in ('torch', 'comfy', 'av', 'PIL') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("name", clip_numbers.ClipNumbers._fields)
def test_every_number_is_explained(name):
    assert re.search(rf"^        {name}: .+", clip_numbers.ClipNumbers.__doc__, re.M)
