"""Endless, seeded scenes with captions: coloured shapes that move by a rule which the caption names, or leaves open.

Lengths are in heights of the picture, so a scene can be drawn at any size: y runs from 0 at the top to 1, x from 0 at
the left to the width over the height. Times are in seconds, speeds in heights a second. Where a caption leaves
something open, which direction or which of two shapes, the scene's seed decides, and neither picture nor caption
tells: a model has to choose.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

FPS = 16
COLOURS = {
    "red": (222, 42, 48), "orange": (240, 138, 24), "yellow": (236, 214, 40), "green": (44, 178, 66),
    "cyan": (34, 190, 202), "blue": (46, 84, 224), "purple": (170, 60, 206),
}  # fmt: skip
SHAPES = ("disc", "square", "triangle")
SIZES = {"small": 0.10, "": 0.15, "large": 0.21}  # radius of the circle of the same area
SPEEDS = {"slowly": 0.15, "": 0.3, "quickly": 0.6}
DIRECTIONS = {"to the left": (-1, 0), "to the right": (1, 0), "up": (0, -1), "down": (0, 1)}
GROWTH = {"grows": 1.6, "shrinks": 0.625}  # size after a second over size before
ZOOM = {"in": 1.35, "out": 0.74}
PAINT = 0.55  # of the light, which a style takes away
MARGIN = 0.02  # between a shape and the edge of the picture, at every time


class Point(NamedTuple):
    """A place or a speed, in heights or heights a second."""

    x: float
    y: float


STILL = Point(0.0, 0.0)


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Thing:
    """A shape and its motion.

    Args:
        shape: One of `SHAPES`.
        colour: A key of `COLOURS`.
        radius: Of the circle of the same area, at time 0.
        start: Of its centre, at time 0.
        speed: Constant, but for bounces.
        growth: Size after a second over size before.
        bounces: Whether it comes back from the picture's edges.
    """

    shape: str
    colour: str
    radius: float
    start: Point
    speed: Point = STILL
    growth: float = 1.0
    bounces: bool = False

    @property
    def name(self) -> str:
        """What captions call it."""
        size = next(word for word, radius in SIZES.items() if radius == self.radius)
        return " ".join(filter(None, ("the", size, self.colour, self.shape)))

    def radius_at(self, time: float) -> float:
        """Returns its radius after so many seconds."""
        return self.radius * self.growth**time

    def place_at(self, time: float, aspect: float) -> Point:
        """Returns the place of its centre after so many seconds, in a picture of width over height `aspect`."""
        place = Point(self.start.x + self.speed.x * time, self.start.y + self.speed.y * time)
        if not self.bounces:
            return place
        edge = self.radius + MARGIN
        return Point(_reflected(place.x, edge, aspect - edge), _reflected(place.y, edge, 1 - edge))


@dataclass(frozen=True)
class Camera:
    """The motion of the camera: over the scene in heights a second, and the size of all things after a second."""

    speed: Point = STILL
    zoom: float = 1.0


@dataclass(frozen=True)
class Scene:
    """What is to be seen.

    Args:
        seed: Of the ground.
        aspect: Width over height of the picture.
        things: The later ones lie above the earlier ones.
        camera: Its motion.
        caption: What happens, in words.
        kind: Which rule made it, a key of `KINDS`.
        is_open: Whether picture and caption leave more than one outcome.
    """

    seed: int
    aspect: float
    things: tuple[Thing, ...]
    camera: Camera
    caption: str
    kind: str
    is_open: bool

    def seen_at(self, thing: Thing, time: float) -> tuple[Point, float]:
        """Returns where a thing's centre is seen, and how large its radius, after so many seconds."""
        place, zoom = thing.place_at(time, self.aspect), self.camera.zoom**time
        x = (place.x - self.camera.speed.x * time - self.aspect / 2) * zoom + self.aspect / 2
        y = (place.y - self.camera.speed.y * time - 0.5) * zoom + 0.5
        return Point(x, y), thing.radius_at(time) * zoom


def random_scene(seed: int, aspect: float = 16 / 9, seconds: float = 1.0, kind: str | None = None) -> Scene:
    """Returns a scene: the same seed, shape and length give the same one.

    Args:
        seed: Any whole number that is not negative.
        aspect: Width over height of the picture.
        seconds: For so long every shape stays whole inside the picture.
        kind: A key of `KINDS`; None draws one.
    """
    random = np.random.default_rng((seed, 2718))
    names = list(KINDS)
    kind = kind or names[random.integers(len(names))]
    for _ in range(1000):
        scene = replace(KINDS[kind](random, aspect), seed=seed, kind=kind)
        if _fits(scene, seconds):
            return scene
    raise ValueError(f"No scene of the kind {kind} fits {seconds} seconds at aspect {aspect}. Take fewer seconds.")


def draw(
    scene: Scene, width: int, height: int, frames: int, style: str = "plain", window: Window | None = None
) -> np.ndarray:
    """Draws a scene.

    Args:
        scene: Of any aspect; a picture of another one shows more or less at its sides.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        frames: How many, 16 a second.
        style: A key of `STYLES`, how the shapes are painted.
        window: To draw this part of the picture alone.

    Returns:
        uint8[frames, height, width, 3], RGB; of the window's size if there is one.
    """
    left, top, across, down = window or (0, 0, width, height)
    rows, columns = np.mgrid[top : top + down, left : left + across].astype(np.float32)
    x, y = (columns + 0.5) / height, (rows + 0.5) / height
    clip = np.empty((frames, down, across, 3), np.uint8)
    for index in range(frames):
        time, zoom = index / FPS, scene.camera.zoom ** (index / FPS)
        world_x = (x - scene.aspect / 2) / zoom + scene.aspect / 2 + scene.camera.speed.x * time
        world_y = (y - 0.5) / zoom + 0.5 + scene.camera.speed.y * time
        picture = _ground(scene.seed, world_x, world_y)
        for thing in scene.things:
            centre, radius = scene.seen_at(thing, time)
            picture = _painted(picture, thing, (x - centre.x) / radius, (y - centre.y) / radius, radius * height, style)
        clip[index] = np.rint(np.clip(picture, 0, 255))
    return clip


STYLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": lambda u, v: np.zeros_like(u),
    "striped": lambda u, v: _soft_square(0.65 * (u + v)),  # wide enough for the VAE at the smallest size and shape
    "ringed": lambda u, v: _soft_square(0.9 * np.hypot(u, v)),
}


def _moves(random: np.random.Generator, aspect: float) -> Scene:
    thing = _thing(random, aspect)
    word, direction = _choice(random, DIRECTIONS)
    how, speed = _choice(random, SPEEDS)
    return _scene(aspect, [_moving(thing, direction, speed)], _said(thing.name, "moves", how, word))


def _moves_away(random: np.random.Generator, aspect: float) -> Scene:
    thing = _thing(random, aspect, middle=True)
    how, speed = _choice(random, SPEEDS)
    angle = random.uniform(0, 2 * np.pi)
    return _scene(
        aspect, [_moving(thing, (np.cos(angle), np.sin(angle)), speed)], _said(thing.name, "moves", how, "away"), True
    )


def _left_or_right(random: np.random.Generator, aspect: float) -> Scene:
    thing = _thing(random, aspect, middle=True)
    side = DIRECTIONS[str(random.choice(["to the left", "to the right"]))]
    return _scene(aspect, [_moving(thing, side, 0.3)], _said(thing.name, "moves to one side"), True)


def _bounces(random: np.random.Generator, aspect: float) -> Scene:
    thing = replace(_thing(random, aspect), bounces=True)
    angle = random.uniform(0, 2 * np.pi)
    return _scene(aspect, [_moving(thing, (np.cos(angle), np.sin(angle)), 0.9)], _said(thing.name, "bounces"), True)


def _changes_size(random: np.random.Generator, aspect: float) -> Scene:
    thing = _thing(random, aspect)
    word, growth = _choice(random, GROWTH)
    return _scene(aspect, [replace(thing, growth=growth)], _said(thing.name, word))


def _some_size(random: np.random.Generator, aspect: float) -> Scene:
    thing = _thing(random, aspect)
    _, growth = _choice(random, GROWTH)
    return _scene(aspect, [replace(thing, growth=growth)], _said(thing.name, "changes its size"), True)


def _one_of_two(random: np.random.Generator, aspect: float) -> Scene:
    one, other = _two(random, aspect)
    word, direction = _choice(random, DIRECTIONS)
    things = [_moving(one, direction, 0.3), other] if random.random() < 0.5 else [one, _moving(other, direction, 0.3)]
    return _scene(aspect, things, f"one of the two shapes moves {word}", True)


def _two_at_once(random: np.random.Generator, aspect: float) -> Scene:
    one, other = _two(random, aspect)
    (first, direction), (second, growth) = _choice(random, DIRECTIONS), _choice(random, GROWTH)
    things = [_moving(one, direction, 0.3), replace(other, growth=growth)]
    return _scene(aspect, things, f"{_said(one.name, 'moves', first)}, {_said(other.name, second)}")


def _pans(random: np.random.Generator, aspect: float) -> Scene:
    word, (x, y) = _choice(random, DIRECTIONS)
    camera = Camera(Point(0.3 * x, 0.3 * y))
    return _scene(aspect, [_thing(random, aspect)], f"the camera pans {word.removeprefix('to the ')}", camera=camera)


def _some_pan(random: np.random.Generator, aspect: float) -> Scene:
    angle = random.uniform(0, 2 * np.pi)
    camera = Camera(Point(0.3 * np.cos(angle), 0.3 * np.sin(angle)))
    return _scene(aspect, [_thing(random, aspect)], "the camera pans", True, camera)


def _zooms(random: np.random.Generator, aspect: float) -> Scene:
    word, zoom = _choice(random, ZOOM)
    return _scene(aspect, [_thing(random, aspect)], f"the camera zooms {word}", camera=Camera(zoom=zoom))


def _stands_still(random: np.random.Generator, aspect: float) -> Scene:
    things = list(_two(random, aspect)) if random.random() < 0.5 else [_thing(random, aspect)]
    return _scene(aspect, things, "nothing moves")


KINDS: dict[str, Callable[[np.random.Generator, float], Scene]] = {
    "moves": _moves, "moves away": _moves_away, "left or right": _left_or_right, "bounces": _bounces,
    "changes size": _changes_size, "some size": _some_size, "one of two": _one_of_two, "two at once": _two_at_once,
    "pans": _pans, "some pan": _some_pan, "zooms": _zooms, "stands still": _stands_still,
}  # fmt: skip


def _scene(
    aspect: float, things: list[Thing], caption: str, is_open: bool = False, camera: Camera | None = None
) -> Scene:
    return Scene(0, aspect, tuple(things), camera or Camera(), caption, "", is_open)


def _thing(random: np.random.Generator, aspect: float, middle: bool = False) -> Thing:
    low, high = (0.4, 0.6) if middle else (0.0, 1.0)
    start = Point(aspect * random.uniform(low, high), random.uniform(low, high))
    _, radius = _choice(random, SIZES)
    return Thing(str(random.choice(SHAPES)), str(random.choice(list(COLOURS))), radius, start)


def _two(random: np.random.Generator, aspect: float) -> tuple[Thing, Thing]:
    """Returns two shapes of different colours, one in each half of the picture."""
    colours = random.choice(list(COLOURS), 2, replace=False)
    one, other = (replace(_thing(random, aspect), colour=str(colour)) for colour in colours)
    left, right = aspect * random.uniform(0.15, 0.35), aspect * random.uniform(0.65, 0.85)
    return replace(one, start=Point(left, one.start.y)), replace(other, start=Point(right, other.start.y))


def _moving(thing: Thing, direction: tuple[float, float], speed: float) -> Thing:
    return replace(thing, speed=Point(direction[0] * speed, direction[1] * speed))


def _said(*words: str) -> str:
    return " ".join(filter(None, words))


def _choice(random: np.random.Generator, options: dict) -> tuple:
    return list(options.items())[random.integers(len(options))]


def _fits(scene: Scene, seconds: float) -> bool:
    """Returns whether every shape is whole inside the picture, and none touches another, at every time."""
    for time in np.linspace(0, seconds, 9):
        seen = [scene.seen_at(thing, time) for thing in scene.things]
        for place, radius in seen:
            reach = radius * 1.35 + MARGIN  # a triangle's corner is so far from its centre
            if not (reach <= place.x <= scene.aspect - reach and reach <= place.y <= 1 - reach):
                return False
        if len(seen) == 2:
            (one, radius), (other, other_radius) = seen
            if np.hypot(one.x - other.x, one.y - other.y) < 1.35 * (radius + other_radius) + MARGIN:
                return False
    return True


def _reflected(value: float, low: float, high: float) -> float:
    """Returns where a thing is that would be at `value` if it did not come back from two walls."""
    span = high - low
    return low + span - abs((value - low) % (2 * span) - span)


def _ground(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the ground at places in the world, float32[..., 3]: a gradient and waves, in pale colours."""
    random = np.random.default_rng((seed, 1618))
    base, tint = random.uniform(110, 170), random.uniform(-14, 14, 3)
    slope = random.uniform(-25, 25, 2)
    light = base + slope[0] * (x - 0.9) + slope[1] * (y - 0.5)
    for waves, strength in ((1.0, 12.0), (2.3, 8.0), (4.1, 6.0), (7.3, 4.0)):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        light = light + strength * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        cross = 2 * np.pi * waves * (y * np.cos(angle) - x * np.sin(angle))
        light = light + 0.5 * strength * np.sin(cross + 2 * phase)
    return (light[..., None] + tint).astype(np.float32)


def _painted(picture: np.ndarray, thing: Thing, u: np.ndarray, v: np.ndarray, radius: float, style: str) -> np.ndarray:
    """Returns a picture with a shape on it; u and v are from its centre in radii, `radius` is in pixels."""
    cover = np.clip(0.5 - distance(thing.shape, u, v) * radius, 0, 1)[..., None]  # a pixel's width of soft edge
    shade = 1 - 0.12 * np.clip(u + v, -1.5, 1.5) / 1.5 - PAINT * STYLES[style](u, v)
    return picture + cover * (np.array(COLOURS[thing.colour], np.float32) * shade[..., None] - picture)


def distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns the distance to a shape's edge in radii, negative inside. All shapes have the area of the unit circle."""
    if shape == "disc":
        return np.hypot(u, v) - 1
    if shape == "square":
        half = np.sqrt(np.pi) / 2
        return np.maximum(np.abs(u), np.abs(v)) - half
    inner = np.sqrt(np.pi / (3 * np.sqrt(3)))  # of the circle inside a triangle that points up
    slanted = np.sqrt(3) / 2 * np.abs(u) - v / 2
    return np.maximum(slanted, v) - inner


def _soft_square(phase: np.ndarray) -> np.ndarray:
    """Returns stripes between 0 and 1 with soft edges, one to a whole number of `phase`."""
    return np.clip(0.5 + 2 * np.sin(2 * np.pi * phase), 0, 1)
