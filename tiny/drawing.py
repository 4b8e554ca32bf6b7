"""Draws scenes: the ground, and the shapes upon it in each style. Lengths are in heights, as `scenes` has them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .scenes import COLOURS, FPS, Scene, Thing

PAINT = 0.55  # of the light, which a style takes away


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


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
