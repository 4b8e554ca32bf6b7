"""Draws scenes: the ground, and the shapes upon it in each style. Lengths are in heights, as `scenes` has them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .scenes import COLOURS, FPS, Scene, Thing

PAINT = 0.55  # of the light, which a style takes away
CELL = 16  # pixels: what an expert sees as one token, so that every token of a shape is painted alike


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


class Place(NamedTuple):
    """Places on a shape, an array of each: from its centre in radii, and from the picture's corner in pixels."""

    u: np.ndarray
    v: np.ndarray
    x: np.ndarray
    y: np.ndarray


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
            place = Place((x - centre.x) / radius, (y - centre.y) / radius, x * height, y * height)
            picture = _painted(picture, thing, place, radius * height, style)
        clip[index] = np.rint(np.clip(picture, 0, 255))
    return clip


STYLES: dict[str, Callable[[Place], np.ndarray]] = {
    "plain": lambda at: np.zeros_like(at.u),
    "striped": lambda at: np.clip(0.5 + 2 * np.sin(2 * np.pi * (at.x + at.y) / CELL), 0, 1),
    "dotted": lambda at: np.clip(0.5 + 8 * (0.32 - _from_middle(at)), 0, 1),
}


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


def _painted(picture: np.ndarray, thing: Thing, at: Place, radius: float, style: str) -> np.ndarray:
    """Returns a picture with a shape on it; `radius` is in pixels."""
    cover = np.clip(0.5 - distance(thing.shape, at.u, at.v) * radius, 0, 1)[..., None]  # a pixel's width of soft edge
    shade = 1 - 0.12 * np.clip(at.u + at.v, -1.5, 1.5) / 1.5 - PAINT * STYLES[style](at)
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


def _from_middle(at: Place) -> np.ndarray:
    """Returns the distance from the middle of the cell that a place is in, in cells."""
    return np.hypot(at.x / CELL % 1 - 0.5, at.y / CELL % 1 - 0.5)
