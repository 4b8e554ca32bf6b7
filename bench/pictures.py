"""Drawn pictures of many kinds, sharp to the pixel: drawn at twice the size and averaged down, as by a sensor."""

from collections.abc import Callable

import cv2
import numpy as np

WIDTH, HEIGHT = 1280, 720
SCALE = 2
SHAPE = (HEIGHT * SCALE, WIDTH * SCALE)
LENS = 0.5  # pixels of blur
NOISE = 0.004  # of full range

Colour = tuple[int, int, int]


def picture(kind: str, seed: int) -> np.ndarray:
    """Draws one picture, uint8[720, 1280, 3]."""
    random = np.random.default_rng([seed, list(KINDS).index(kind)])
    drawn = np.ascontiguousarray(KINDS[kind](random), np.float32)
    drawn = cv2.GaussianBlur(cv2.resize(drawn, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), (0, 0), LENS)
    return to_bytes(drawn + NOISE * random.standard_normal(drawn.shape, np.float32))


def to_bytes(image: np.ndarray) -> np.ndarray:
    """float in [0, 1] -> uint8, rounded."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def canvas(grey: float) -> np.ndarray:
    """Returns an empty picture to draw on, uint8."""
    return np.full((*SHAPE, 3), round(255 * grey), np.uint8)


def shade(red: float, green: float, blue: float) -> Colour:
    """Returns a colour as OpenCV draws it."""
    return tuple(round(255 * min(1.0, max(0.0, float(value)))) for value in (red, green, blue))


def fractal(random: np.random.Generator, slope: float) -> np.ndarray:
    """Noise whose spectrum falls with the frequency, as that of natural textures does; of unit deviation."""
    frequency = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None])
    frequency[0, 0] = 1
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal(SHAPE)) / frequency**slope, SHAPE)
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def leaves(random: np.random.Generator) -> np.ndarray:
    """Ellipses of all sizes, one over the other: the usual model of a natural scene."""
    image = canvas(0.5)
    for _ in range(1500):
        radius = int(SCALE * 6 / (random.random() + 0.02) ** 0.9)
        centre = int(random.integers(SHAPE[1])), int(random.integers(SHAPE[0]))
        axes = radius, int(radius * random.uniform(0.3, 1))
        colour = shade(*random.random(3))
        cv2.ellipse(image, centre, axes, float(random.integers(180)), 0, 360, colour, -1, cv2.LINE_AA)
    return np.float32(image / 255 * (1 + 0.04 * fractal(random, 1.0)[..., None]))


def text(random: np.random.Generator) -> np.ndarray:
    """Lines of print."""
    image, line = canvas(random.uniform(0.7, 1)), 40
    while line < SHAPE[0]:
        size = random.uniform(0.6, 3) * SCALE / 2
        letters = "".join(map(chr, random.integers(33, 126, 80)))
        font, weight = int(random.integers(0, 5)), int(1 + size * 1.5)
        cv2.putText(image, letters, (20, line), font, size, shade(*random.random(3) * 0.4), weight, cv2.LINE_AA)
        line += int(40 * size + 10)
    return image / 255


def portrait(random: np.random.Generator) -> np.ndarray:
    """A smooth face with eyes and hair before a blurred background."""
    background = cv2.GaussianBlur(leaves(random), (0, 0), 25 * SCALE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32) / SCALE
    centre_x, centre_y = WIDTH * random.uniform(0.4, 0.6), HEIGHT * 0.5
    inside = ((x - centre_x) / 150) ** 2 + ((y - centre_y) / 210) ** 2 < 1
    face = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), SCALE)[..., None]
    light = 0.75 - 0.3 * (x - centre_x) / 300 - 0.2 * (y - centre_y) / 400 + 0.01 * fractal(random, 0.8)
    image = to_bytes(background * (1 - face) + light[..., None] * (1, 0.8, 0.68) * face)
    for side in (-60, 60):
        eye = int((centre_x + side) * SCALE), int((centre_y - 40) * SCALE)
        cv2.ellipse(image, eye, (26 * SCALE, 12 * SCALE), 0, 0, 360, (242, 242, 242), -1, cv2.LINE_AA)
        cv2.circle(image, eye, 9 * SCALE, (38, 25, 20), -1, cv2.LINE_AA)
        cv2.circle(image, (eye[0] + 3 * SCALE, eye[1] - 3 * SCALE), 2 * SCALE, (255, 255, 255), -1, cv2.LINE_AA)
    for root in random.uniform(-160, 160, 250):
        points = [(centre_x + root + random.normal(0, 12), centre_y - 210 + 25 * step) for step in range(5)]
        colour = shade(*np.array([0.2, 0.12, 0.08]) * random.uniform(0.5, 2))
        cv2.polylines(image, [(np.array(points) * SCALE).astype(np.int32)], False, colour, 1, cv2.LINE_AA)
    return image / 255


def skyline(random: np.random.Generator) -> np.ndarray:
    """Houses with lit windows before a plain sky."""
    sky = np.linspace(0.9, 0.5, SHAPE[0])[:, None, None] * np.array([0.6, 0.8, 1])
    image = to_bytes(np.broadcast_to(sky, (*SHAPE, 3)))
    left = 0
    while left < SHAPE[1]:
        right, wall = left + int(random.uniform(30, 140) * SCALE), random.uniform(0.05, 0.5)
        top = SHAPE[0] - int(random.uniform(0.2, 0.7) * SHAPE[0])
        cv2.rectangle(image, (left, top), (right, SHAPE[0]), shade(wall, wall, wall * 1.1), -1)
        for y in range(top + 10 * SCALE, SHAPE[0] - 10 * SCALE, 14 * SCALE):
            for x in range(left + 6 * SCALE, right - 8 * SCALE, 12 * SCALE):
                if random.random() < 0.4:
                    cv2.rectangle(image, (x, y), (x + 5 * SCALE, y + 7 * SCALE), (230, 204, 128), -1)
        left = right
    return image / 255


def fur(random: np.random.Generator) -> np.ndarray:
    """Texture without an outline."""
    return np.clip(0.5 + 0.15 * fractal(random, 1.0), 0, 1)[..., None] * np.array([0.9, 0.75, 0.6])


def cartoon(random: np.random.Generator) -> np.ndarray:
    """Flat colours with dark outlines."""
    image = canvas(0.9)
    across_down = np.array(SHAPE[::-1])
    for _ in range(40):
        corners = (
            random.random((int(random.integers(3, 7)), 2)) * across_down / 3 + random.random(2) * across_down * 0.8
        )
        outline = cv2.convexHull(corners.astype(np.int32))
        cv2.fillPoly(image, [outline], shade(*random.uniform(0.3, 1, 3)), cv2.LINE_AA)
        cv2.polylines(image, [outline], True, (13, 13, 13), 3 * SCALE // 2, cv2.LINE_AA)
    return image / 255


def gradient(random: np.random.Generator) -> np.ndarray:
    """One colour into another, with no edge at all."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    angle = random.uniform(0, 3)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    first, second = random.random(3), random.random(3)
    return first + (second - first) * ((ramp - ramp.min()) / np.ptp(ramp))[..., None]


def depth(random: np.random.Generator) -> np.ndarray:
    """A small sharp part in a blurred scene."""
    scene = leaves(random)
    spot = np.zeros(SHAPE, np.float32)
    centre = int(SHAPE[1] * random.uniform(0.3, 0.7)), SHAPE[0] // 2
    cv2.circle(spot, centre, 140 * SCALE, 1, -1)
    spot = cv2.GaussianBlur(spot, (0, 0), 20 * SCALE)[..., None]
    return scene * spot + cv2.GaussianBlur(scene, (0, 0), 12 * SCALE) * (1 - spot)


def fog(random: np.random.Generator) -> np.ndarray:
    """A scene with little contrast."""
    return 0.6 + 0.15 * (leaves(random) - 0.5)


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    draw.__name__: draw for draw in (leaves, text, portrait, skyline, fur, cartoon, gradient, depth, fog)
}
