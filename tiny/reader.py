"""Reads what is to be seen in a clip: which shapes, where, how they and the camera move. Frames or an MP4 go in.

A shape is where a pixel is nearer to the shape's own colour than to the ground's, so a blurred or pale shape is read
like a sharp one, and a ghost (half a shape in each of two places) is two shapes. The camera is read from the ground
alone: the shift and zoom that bring each frame nearest to the next. OpenCV's ECC alignment, with its six freedoms,
was off by up to four percent.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from .scenes import COLOURS, FPS, Point

FAINT = 14.0  # Lab: chroma that differs from the ground's by less is no shape; a drawn shape differs by 45 or more
GHOST = 0.25  # of a shape's own chroma: a second part of its colour that is as strong is another outcome, or its ghost
STEPS = 12  # of the search for the camera's motion, at most
LEAST = 0.0008  # of the picture: what is smaller is no shape; the smallest that is drawn has 0.01
# Area over greatest width times greatest height: a disc has pi / 4, a square 1, a triangle 1 / 2.
BOXED = {"disc": np.pi / 4, "square": 1.0, "triangle": 0.5}


class Sight(NamedTuple):
    """A shape in one frame.

    Args:
        centre: In pixels.
        area: In pixels.
        boxed: Its greatest width times its greatest height, in pixels.
        strength: Its chroma over that of its colour in full: about 1, and half of it where half a shape is seen.
    """

    centre: Point
    area: float
    boxed: float
    strength: float


@dataclass(frozen=True)
class Track:
    """A shape through a clip.

    Args:
        colour: A key of `scenes.COLOURS`.
        sights: One a frame; None where it is not seen.
        ghosts: For each frame, how many parts of this colour are seen beside the largest.
    """

    colour: str
    sights: tuple[Sight | None, ...]
    ghosts: tuple[int, ...]

    @property
    def seen(self) -> list[tuple[int, Sight]]:
        """The frames in which it is seen, and how."""
        return [(index, sight) for index, sight in enumerate(self.sights) if sight]

    @property
    def shape(self) -> str:
        """The shape that it has in most frames: a key of `BOXED`."""
        shares = [sight.area / sight.boxed for _, sight in self.seen]
        return min(BOXED, key=lambda name: abs(BOXED[name] - float(np.median(shares))))

    def speed(self) -> Point:
        """Returns its speed in pixels a frame, the slope of the line nearest to its places."""
        frames = [index for index, _ in self.seen]
        return Point(*(_slope(frames, [sight.centre[axis] for _, sight in self.seen]) for axis in (0, 1)))

    def growth(self) -> float:
        """Returns its size after a frame over its size before."""
        frames = [index for index, _ in self.seen]
        return float(np.exp(_slope(frames, [0.5 * np.log(sight.area) for _, sight in self.seen])))


@dataclass(frozen=True)
class Reading:
    """What a clip shows.

    Args:
        size: Width and height in pixels.
        tracks: By colour.
        pan: How far the camera moves over the scene, in pixels a frame, the median over the frames.
        zoom: Size of what is seen after a frame over its size before, likewise.
        sharpness: Of each frame: the mean of the squared Laplacian of its light.
        flicker: Mean difference of neighbouring frames, of 255.
    """

    size: tuple[int, int]
    tracks: dict[str, Track]
    pan: Point
    zoom: float
    sharpness: tuple[float, ...]
    flicker: float

    def in_heights(self, speed: Point) -> Point:
        """Returns a speed in pixels a frame in heights a second, as `scenes` has it."""
        return Point(speed.x * FPS / self.size[1], speed.y * FPS / self.size[1])


def read(frames: np.ndarray) -> Reading:
    """Reads a clip.

    Args:
        frames: uint8[F, H, W, 3] or float[F, H, W, 3] in 0 to 1, RGB; two frames or more.

    Raises:
        ValueError: Not of this form.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) < 2:
        raise ValueError(f"The reader takes two frames or more as [F, H, W, 3]; it got {list(frames.shape)}.")
    clip = frames if frames.dtype == np.uint8 else np.rint(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    chroma = [_chroma(frame) for frame in clip]
    masks = [_parts(frame, picture) for frame, picture in zip(clip, chroma, strict=True)]
    tracks = {
        colour: Track(colour, *zip(*(_sight(parts.get(colour, [])) for parts in masks), strict=True))
        for colour in sorted({colour for parts in masks for colour in parts})
    }
    lights = lights_of(clip)
    smooth = [cv2.GaussianBlur(light, (0, 0), clip.shape[1] / 100) for light in lights]  # 8 bits are coarse for slopes
    pan, zoom = _camera(smooth, [_ground_of(picture) for picture in chroma])
    return Reading(
        size=(clip.shape[2], clip.shape[1]),
        tracks=tracks,
        pan=pan,
        zoom=zoom,
        sharpness=sharpness_of(lights),
        flicker=flicker_of(lights),
    )


def lights_of(clip: np.ndarray) -> list[np.ndarray]:
    """Returns the light of each frame, float32[H, W] of 255."""
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in clip]


def sharpness_of(lights: list[np.ndarray]) -> tuple[float, ...]:
    """Returns the mean of the squared Laplacian of each frame."""
    return tuple(float((cv2.Laplacian(light, cv2.CV_32F) ** 2).mean()) for light in lights)


def flicker_of(lights: list[np.ndarray]) -> float:
    """Returns the mean difference of neighbouring frames."""
    return float(np.mean([np.abs(one - other).mean() for one, other in pairwise(lights)]))


def read_mp4(path: str | Path) -> Reading:
    """Reads an MP4.

    Raises:
        ValueError: It has fewer than two frames.
        OSError: It cannot be read; PyAV's errors are of this kind, too.
    """
    import av

    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    return read(np.stack(frames) if len(frames) > 1 else np.empty((len(frames), 1, 1, 3), np.uint8))


def _chroma(frame: np.ndarray) -> np.ndarray:
    """Returns a and b of Lab less the ground's, float32[H, W, 2]."""
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 1:]
    return lab - np.median(lab.reshape(-1, 2), axis=0)


def _full_chroma() -> dict[str, np.ndarray]:
    """Returns a and b of the named colours in full, on a grey ground."""
    colours = np.array([list(COLOURS.values())], np.float32) / 255
    return dict(zip(COLOURS, cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0, :, 1:], strict=True))


FULL = _full_chroma()


def _parts(frame: np.ndarray, chroma: np.ndarray) -> dict[str, list[Sight]]:
    """Returns the parts of each colour, the one with the most colour first."""
    length = np.linalg.norm(chroma, axis=-1)
    names = list(FULL)
    nearest = np.stack([chroma @ (full / np.linalg.norm(full)) for full in FULL.values()]).argmax(0)
    count, labels = cv2.connectedComponents((length > FAINT).astype(np.uint8))
    found: dict[str, list[Sight]] = {}
    for label in range(1, count):
        blob = labels == label
        if blob.sum() < LEAST * blob.size:
            continue
        colour = names[np.bincount(nearest[blob], weights=length[blob], minlength=len(names)).argmax()]
        strength = float(np.median(length[blob])) / float(np.linalg.norm(FULL[colour]))
        found.setdefault(colour, []).extend(_sights(frame, blob, length, strength))
    for sights in found.values():
        sights.sort(key=lambda sight: -sight.strength * sight.area)
    return found


def _sights(frame: np.ndarray, blob: np.ndarray, length: np.ndarray, strength: float) -> list[Sight]:
    """Returns the parts of a blob of one colour that are more shape than ground.

    A pixel at the edge is a mixture of both in RGB, in which they were drawn; in Lab half of each is not half way.
    """
    near, far = (_grown(blob, pixels) for pixels in (2, 6))
    colour = np.median(frame[blob & (length > 0.75 * np.median(length[blob]))], axis=0)
    ground = np.median(frame[far & ~near], axis=0) if (far & ~near).any() else np.zeros(3)
    towards = (colour - ground) / max(1.0, float(((colour - ground) ** 2).sum()))
    cover = np.where(near, (frame - ground) @ towards, 0)
    count, labels = cv2.connectedComponents((cover > 0.5).astype(np.uint8))
    sights = []
    for label in range(1, count):
        part = labels == label
        if part.sum() < LEAST * blob.size:
            continue
        inner = ~_grown(~part, 1)  # whatever its shading, a pixel inside counts in full; one at the edge by its share
        share = np.where(inner, 1.0, np.where(_grown(part, 1), np.clip(cover, 0, 1), 0))
        area = float(share.sum())
        rows, columns = share.sum(1), share.sum(0)
        centre = Point(_mean(columns), _mean(rows))
        sights.append(Sight(centre, area, float(rows.max() * columns.max()), strength))
    return sights


def _mean(share: np.ndarray) -> float:
    """Returns the mean place of shares along an axis, in pixels from its edge."""
    return float(share @ (np.arange(len(share)) + 0.5) / share.sum())


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def _sight(sights: list[Sight]) -> tuple[Sight | None, int]:
    """Returns the first of the sights of a colour, and how many others are as strong as a ghost."""
    if not sights:
        return None, 0
    first, *others = sights
    return first, sum(other.strength > GHOST * first.strength for other in others)


def _ground_of(chroma: np.ndarray) -> np.ndarray:
    """Returns where the ground is seen, well away from shapes: uint8[H, W], 255 or 0."""
    shapes = (np.linalg.norm(chroma, axis=-1) > FAINT).astype(np.uint8)
    size = max(3, chroma.shape[0] // 24) | 1
    return 255 * (1 - cv2.dilate(shapes, np.ones((size, size), np.uint8)))


def _camera(lights: list[np.ndarray], grounds: list[np.ndarray]) -> tuple[Point, float]:
    """Returns the camera's motion in pixels a frame, and what the size of what is seen is multiplied by in a frame."""
    moved = np.array([0.0, 0.0, 1.0])  # how far the middle moves, and the zoom; each search begins with the last
    found = []
    for index in range(len(lights) - 1):
        moved = _aligned(lights[index], lights[index + 1], grounds[index] & grounds[index + 1], moved)
        found.append(moved)
    x, y, zoom = np.median(found, axis=0)
    return Point(-float(x), -float(y)), float(zoom)


def _aligned(one: np.ndarray, other: np.ndarray, ground: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Returns how far the middle of a frame moves to the next, x and y in pixels, and the zoom: Gauss-Newton steps.

    Args:
        one: The light of a frame, float32[H, W].
        other: That of the next.
        ground: Where to look, uint8[H, W].
        moved: To begin with.
    """
    height, width = one.shape
    middle = np.array([width - 1, height - 1]) / 2
    rows, columns = np.mgrid[0:height, 0:width]
    x, y = columns - middle[0], rows - middle[1]
    for _ in range(STEPS):
        at_x, at_y = moved[2] * x / middle[0] + moved[0] / middle[0], moved[2] * y / middle[1] + moved[1] / middle[1]
        seen = _sampled(other, at_x, at_y)
        use = (ground > 0) & (abs(at_x) < 0.98) & (abs(at_y) < 0.98)
        if use.sum() < 100:
            return moved
        dy, dx = np.gradient(seen)
        steep = np.stack([dx[use], dy[use], (dx * x + dy * y)[use]])
        step = np.linalg.lstsq(steep @ steep.T, steep @ (one - seen)[use], rcond=None)[0]
        step *= min(1.0, 2.0 / max(abs(step[:2]).max(), 100 * abs(step[2])))  # no further than the ground's waves reach
        moved = moved + step
        if abs(step[:2]).max() < 1e-4:
            break
    return moved


def _sampled(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns a picture at places from -1 to 1 across and down.

    OpenCV rounds places to a thirty-second of a pixel, and its and torch's bicubic weights do not keep slopes.
    """
    grid = torch.from_numpy(np.stack([x, y], -1)[None].astype(np.float32))
    light = torch.from_numpy(picture)[None, None]
    return torch.nn.functional.grid_sample(light, grid, "bilinear", "border", align_corners=True)[0, 0].numpy()


def _slope(x: list[int], y: list[Any]) -> float:
    """Returns the slope of the line nearest to points; NaN for fewer than two."""
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else float("nan")
