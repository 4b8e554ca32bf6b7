"""Judges a clip against the scene from which its picture and its caption were taken, by what the reader sees.

A scene that leaves its outcome open is obeyed by any of its outcomes, as long as it is one: half a shape to the left
and half a shape to the right obey nobody. The same rules judge what the VAE alone makes of the true clip; no model can
be better than that.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise, product
from typing import NamedTuple

import cv2
import numpy as np

from .drawing import PAINT, STYLES, Place, distance, draw
from .reader import Reading, Track, flicker_of, lights_of, read, sharpness_of
from .scenes import FPS, STILL, Point, Scene, Thing

AIM = math.cos(math.radians(30))  # a direction is right within thirty degrees
STIRS = 0.25  # of the speed that was asked for: less is standing still
RESTS = 0.04  # heights a second, or of the size in a second: more is no stillness
WHOLE = 0.65  # of a colour's own strength: what is paler is spread over several outcomes
MOST = 0.9  # of the frames in which one outcome has to be seen
SECTORS = 8  # of directions, to count outcomes

nan = float("nan")


@dataclass(frozen=True)
class Verdict:
    """What a clip makes of its scene.

    Args:
        obeys: Whether it does what the caption says.
        one: Whether every shape is in one place, whole and in its own colour's strength, in nearly all frames.
        colours: Whether the scene's colours are there to the end, and no others.
        shapes: Whether discs are discs, squares squares.
        amount: How far it moves, grows, pans or zooms, over what was asked for; NaN where nothing was.
        outcome: Which of the outcomes that the scene leaves open; empty where it leaves none, or none is seen.
        ground: PSNR of the ground in dB against the scene's own; NaN where the camera moves.
        sharpness: Of the last frames over the scene's own.
        flicker: Mean difference of neighbouring frames over the scene's own.
    """

    obeys: bool
    one: bool
    colours: bool
    shapes: bool
    amount: float
    outcome: str
    ground: float
    sharpness: float
    flicker: float


class Motion(NamedTuple):
    """What the caption is about, as it was seen: a direction or none, an amount, and a name of the outcome."""

    obeys: bool
    amount: float
    outcome: str


def judge(scene: Scene, clip: np.ndarray) -> Verdict:
    """Judges a clip.

    Args:
        scene: Whose picture and caption it was made from.
        clip: uint8[F, H, W, 3], or float in 0 to 1; RGB, 16 frames a second.
    """
    frames = clip if clip.dtype == np.uint8 else np.rint(np.clip(clip, 0, 1) * 255).astype(np.uint8)
    count, height, width = frames.shape[:3]
    true = draw(scene, width, height, count)
    reading, lights = read(frames), lights_of(true)
    own = flicker_of(lights)
    tracks = [reading.tracks.get(thing.colour) for thing in scene.things]
    there = all(track is not None and _seen(track, count) for track in tracks)
    motion = _motion(scene, reading) if there else Motion(False, nan, "")
    kept = there and all(track.sights[-1] or track.sights[-2] for track in tracks if track)
    return Verdict(
        obeys=motion.obeys,
        one=there and all(_is_whole(track) for track in tracks if track),
        colours=bool(kept) and set(_lasting(reading)) <= {thing.colour for thing in scene.things},
        shapes=there and all(reading.tracks[thing.colour].shape == thing.shape for thing in scene.things),
        amount=motion.amount,
        outcome=motion.outcome if scene.is_open else "",
        ground=_ground(frames, true) if scene.camera.speed == STILL and scene.camera.zoom == 1 else nan,
        sharpness=float(np.mean(reading.sharpness[-4:]) / np.mean(sharpness_of(lights[-4:]))),
        flicker=reading.flicker / own if own > 0.05 else nan,
    )


def _seen(track: Track, count: int) -> bool:
    return len(track.seen) >= MOST * count


def _lasting(reading: Reading) -> list[str]:
    """Returns the colours that are seen in a third of the frames or more."""
    return [colour for colour, track in reading.tracks.items() if 3 * len(track.seen) >= len(track.sights)]


def _is_whole(track: Track) -> bool:
    sights = [sight for _, sight in track.seen]
    alone = np.mean([count == 0 for count in track.ghosts])
    return bool(alone >= MOST and np.mean([sight.strength > WHOLE for sight in sights]) >= MOST)


def _motion(scene: Scene, reading: Reading) -> Motion:
    """Returns what was seen of what the caption is about."""
    kind = scene.kind
    if kind in ("pans", "some pan"):
        return _direction(reading.in_heights(reading.pan), scene.camera.speed, kind == "some pan")
    if kind == "zooms":
        return _change(reading.zoom**FPS, scene.camera.zoom)
    if kind == "stands still":
        still = all(_rests(reading, thing) for thing in scene.things)
        return Motion(still and math.hypot(*reading.in_heights(reading.pan)) < RESTS, nan, "")
    if kind == "bounces":
        return _bounce(reading, scene.things[0])
    if kind == "one of two":
        return _one_of_two(reading, scene)
    if kind == "two at once":
        moves, grows = scene.things
        first, second = _move(reading, moves, False), _size(reading, grows)
        return Motion(first.obeys and second.obeys, first.amount, "")
    thing = scene.things[0]
    if thing.growth != 1:
        return _size(reading, thing, kind == "some size")
    return _move(reading, thing, scene.is_open, kind == "left or right")


def _speed(reading: Reading, thing: Thing) -> Point:
    return reading.in_heights(reading.tracks[thing.colour].speed())


def _rests(reading: Reading, thing: Thing) -> bool:
    growth = reading.tracks[thing.colour].growth() ** FPS
    return math.hypot(*_speed(reading, thing)) < RESTS and abs(growth - 1) < 2 * RESTS


def _move(reading: Reading, thing: Thing, is_open: bool, sideways: bool = False) -> Motion:
    seen = _speed(reading, thing)
    if not sideways:
        return _direction(seen, thing.speed, is_open)
    there = Point(math.copysign(math.hypot(*thing.speed), seen.x), 0)
    return _direction(seen, there, False)._replace(outcome="right" if seen.x > 0 else "left")


def _direction(seen: Point, asked: Point, is_open: bool) -> Motion:
    """Returns a motion against the one that was asked for, whatever its direction if that is open."""
    length, wanted = math.hypot(*seen), math.hypot(*asked)
    aimed = is_open or (seen.x * asked.x + seen.y * asked.y) > AIM * length * wanted
    sector = round(math.atan2(seen.y, seen.x) / (2 * math.pi) * SECTORS) % SECTORS
    return Motion(aimed and length > STIRS * wanted, length / wanted, f"{360 // SECTORS * sector} degrees")


def _change(seen: float, asked: float, is_open: bool = False) -> Motion:
    """Returns a change of size in a second against the one that was asked for, up or down if that is open."""
    seen, asked = math.log(seen), math.log(asked)
    amount = abs(seen) / abs(asked) if is_open else seen / asked
    return Motion(amount > STIRS, amount, "grows" if seen > 0 else "shrinks")


def _size(reading: Reading, thing: Thing, is_open: bool = False) -> Motion:
    return _change(reading.tracks[thing.colour].growth() ** FPS, thing.growth, is_open)


def _bounce(reading: Reading, thing: Thing) -> Motion:
    """Returns how fast a shape goes from frame to frame, wherever to; its outcome is where to it starts."""
    seen = reading.tracks[thing.colour].seen
    steps = [
        Point((other.centre.x - one.centre.x) / (later - now), (other.centre.y - one.centre.y) / (later - now))
        for (now, one), (later, other) in pairwise(seen)
    ]
    speeds = [math.hypot(*reading.in_heights(step)) for step in steps]
    start = Point(float(np.mean([step.x for step in steps[:3]])), float(np.mean([step.y for step in steps[:3]])))
    typical = float(np.median(speeds)) / math.hypot(*thing.speed)
    return _direction(start, thing.speed, True)._replace(
        obeys=2 * STIRS < typical < 1 / (2 * STIRS),  # a shape that jumps about is faster
        amount=float(np.mean(speeds)) / math.hypot(*thing.speed),
    )


def _one_of_two(reading: Reading, scene: Scene) -> Motion:
    """Returns the motion of the one that moves, if the other one rests."""
    asked = next(thing.speed for thing in scene.things if thing.speed != STILL)
    speeds = {thing.name: _speed(reading, thing) for thing in scene.things}
    moving = max(speeds, key=lambda name: math.hypot(*speeds[name]))
    (resting,) = (speed for name, speed in speeds.items() if name != moving)
    motion = _direction(speeds[moving], asked, False)
    return motion._replace(obeys=motion.obeys and math.hypot(*resting) < 2 * RESTS, outcome=moving)


def _ground(frames: np.ndarray, true: np.ndarray) -> float:
    """Returns the PSNR of what is no shape in either clip, in dB."""
    shapes = np.zeros(frames.shape[1:3], bool)
    for clip in (frames, true):
        lab = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)[..., 1:] for frame in clip]).astype(np.float32)
        shapes |= (np.linalg.norm(lab - np.median(lab, axis=(0, 1, 2)), axis=-1) > 14).any(0)
    shapes = cv2.dilate(shapes.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if shapes.all():
        return nan
    error = (frames.astype(np.float32) - true)[:, ~shapes]
    return float(10 * np.log10(255**2 / max(1e-3, float((error**2).mean()))))


def paint(scene: Scene, clip: np.ndarray) -> dict[str, float]:
    """Returns how strongly the shapes are painted in each style in the last frame: 1 as drawn, 0 not at all.

    Args:
        scene: Which leaves nothing open: its shapes are looked for where it has them, give or take a quarter of their
            radius, since a pattern cuts a shape in pieces for the reader.
        clip: As in `judge`.
    """
    frames = clip if clip.dtype == np.uint8 else np.rint(np.clip(clip, 0, 1) * 255).astype(np.uint8)
    (light,) = lights_of(frames[-1:])
    names = [name for name in STYLES if name != "plain"]
    found = [_paint_of(thing.shape, *scene.seen_at(thing, (len(frames) - 1) / FPS), light) for thing in scene.things]
    return dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))


def _paint_of(shape: str, place: Point, radius: float, light: np.ndarray) -> np.ndarray:
    """Returns how much of each style's pattern is in a shape, by least squares beside its own shading."""
    height = light.shape[0]
    rows, columns = np.mgrid[:height, : light.shape[1]]
    found = []
    for right, down in product(np.linspace(-0.25, 0.25, 7), repeat=2):
        u = ((columns + 0.5) / height - place.x) / radius - right
        v = ((rows + 0.5) / height - place.y) / radius - down
        inside = distance(shape, u, v) < -0.1
        u, v, seen = u[inside], v[inside], light[inside]
        at = Place(u, v, columns[inside] + 0.5, rows[inside] + 0.5)
        patterns = [np.ones_like(u), u, v, *(-PAINT * drawn(at) for name, drawn in STYLES.items() if name != "plain")]
        share, *_ = np.linalg.lstsq(np.stack(patterns, -1), seen, rcond=None)
        missed = float(((np.stack(patterns, -1) @ share - seen) ** 2).mean())
        found.append((missed, share[3:] / max(1.0, share[0])))
    return min(found, key=lambda each: each[0])[1]


def summary(verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Returns shares of clips, and medians. `right` are the clips that obey and are one: a ghost of two is no film."""
    verdicts = list(verdicts)
    every = {field.name: [getattr(each, field.name) for each in verdicts] for field in fields(Verdict)}
    off = [abs(amount - 1) for amount in every["amount"] if not math.isnan(amount)]
    return {
        "right share": _mean([each.obeys and each.one for each in verdicts]),
        "obeys share": _mean(every["obeys"]),
        "one outcome share": _mean(every["one"]),
        "colours share": _mean(every["colours"]),
        "shapes share": _mean(every["shapes"]),
        "speed error": _median(off),
        "ground dB": _median(every["ground"]),
        "sharpness": _median(every["sharpness"]),
        "flicker": _median(every["flicker"]),
    }


def _mean(values: list[bool]) -> float:
    return round(float(np.mean(values)), 3)


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return round(float(np.median(known)), 3) if known else nan
