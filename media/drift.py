"""How far a long clip drifts, in numbers that need no download: across each seam, in each part, and over all.

Speed and direction are those of the fastest twentieth of the pixels in OpenCV's DIS flow, as in `clip_motion`; colour,
edges and likeness are those of Clip Report. All of it is measured on the frames as they are shown, in 8 bits.
"""

from collections import deque
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from .clip_frames import eight_bits
from .clip_motion import FASTEST, LEAST, dis, working_size
from .clip_report import mean_of
from .clip_seams import colour_drift, light_of
from .likeness import likeness
from .opencv import cv2
from .quality import edge_blur

ENDS = 4  # frames that stand for the start or the end of a part
PAIRS = 3  # of frames on each side of a seam
STILL = 1.0  # percent of the short side a second; what is slower has no direction


class SeamNumbers(NamedTuple):
    """What happens where two parts meet; None where it could not be measured.

    Args:
        frame: The first frame after the seam, counted from 1.
        speed_before: Of the fastest pixels, in percent of the short side a second.
        speed_after: The same, after the seam.
        ratio: After to before. 1 is what nobody sees; None where nothing moved before.
        direction: Cosine between the movement before and after; None where one of them is none.
        jump: How far it is off its course across the seam, in percent of the short side.
        difference: Mean absolute difference of the two frames that meet, of 255.
    """

    frame: int
    speed_before: float | None
    speed_after: float | None
    ratio: float | None
    direction: float | None
    jump: float | None
    difference: float


class PartNumbers(NamedTuple):
    """What a part is like at its end, beside the start of the clip; None where it could not be measured."""

    frames: int
    brightness: float  # of 255, away from the start
    colour: float | None  # the channel that is furthest off, of 255, at equal brightness
    mean_colour: float  # the same at its own brightness: all that a person may see of it
    edge_blur: float | None  # pixels
    likeness: float | None  # to the start picture, at most 1


class DriftNumbers(NamedTuple):
    """The numbers of a long clip. `loop` is the seam from its end to its start, if it is a loop."""

    parts: list[PartNumbers]
    seams: list[SeamNumbers]
    edge_blur_start: float | None
    loop: SeamNumbers | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers for programs: `over_all`, and a list of `parts` and of `seams`."""
        every = [*self.seams, *([self.loop] if self.loop else [])]
        last = self.parts[-1]
        return {
            "over_all": {
                "frames": sum(part.frames for part in self.parts),
                "brightness": last.brightness,
                "colour": last.colour,
                "mean_colour": last.mean_colour,
                "edge_blur_start": self.edge_blur_start,
                "edge_blur_end": last.edge_blur,
                "likeness": last.likeness,
                "ratio": middle([seam.ratio for seam in every]),
                "direction": middle([seam.direction for seam in every]),
                "jump": max((seam.jump for seam in every if seam.jump is not None), default=None),
            },
            "parts": [part._asdict() for part in self.parts],
            "seams": [seam._asdict() for seam in self.seams],
            "loop": self.loop._asdict() if self.loop else None,
        }

    def report(self) -> str:
        """Returns the numbers in lines for people."""
        lines = [_of_a_seam(f"Seam {place}", seam) for place, seam in enumerate(self.seams, 1)]
        lines += [_of_a_seam("Loop", self.loop)] if self.loop else []
        lines += [_of_a_part(place, part) for place, part in enumerate(self.parts, 1)]
        return "\n".join([*lines, self._over_all()])

    def _over_all(self) -> str:
        found = self.as_dict()["over_all"]
        said = [
            f"brightness {found['brightness']:+.1f} of 255",
            f"colour {_number(found['colour'], '.1f')} of 255",
            f"edge blur {_number(self.edge_blur_start)} to {_number(found['edge_blur_end'])} pixels",
            f"likeness {_number(found['likeness'])} of 1",
        ]
        if found["ratio"] is not None:
            said.append(f"speed after a seam {found['ratio']:.2f} times that before (median)")
        return f"Over all: {', '.join(said)}."


def _number(value: float | None, form: str = ".2f") -> str:
    return "not measured" if value is None else format(value, form)


def _of_a_seam(name: str, seam: SeamNumbers) -> str:
    if seam.speed_before is None:
        return f"{name}, frame {seam.frame}: difference {seam.difference:.1f} of 255; too small for its motion."
    direction = "" if seam.direction is None else f", direction kept {seam.direction:.2f} of 1"
    ratio = "nothing moved before" if seam.ratio is None else f"{seam.ratio:.2f} times"
    return (
        f"{name}, frame {seam.frame}: speed {seam.speed_before:.0f} to {seam.speed_after:.0f} % a second ({ratio})"
        f"{direction}, off its course by {_number(seam.jump)} %, difference {seam.difference:.1f} of 255."
    )


def _of_a_part(place: int, part: PartNumbers) -> str:
    return (
        f"Part {place}: {part.frames} frames; at its end brightness {part.brightness:+.1f}, "
        f"colour {_number(part.colour, '.1f')} of 255, edge blur {_number(part.edge_blur)} pixels, "
        f"likeness {_number(part.likeness)}."
    )


def middle(values: list[float | None]) -> float | None:
    """Returns the median of those that are known, or None."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


class DriftMeter:
    """Measures a long clip whose frames arrive one by one; `seam` comes between two parts.

    It keeps a few frames and pictures, and some numbers for each part.

    Args:
        fps: Frames a second.
        picture: What the clip began with, [H, W, C] as `measure` takes it.
    """

    def __init__(self, fps: float, picture: Any) -> None:
        self.fps = fps
        self._picture = eight_bits(np.asarray(picture), "The start picture")
        self._flow = dis()
        self._frames = self._part_frames = 0
        self._ends: deque[np.ndarray] = deque(maxlen=ENDS)  # of this part
        self._start: list[np.ndarray] = []  # of the clip
        self._lights: deque[np.ndarray] = deque(maxlen=PAIRS + 1)  # the last ones of this part
        self._before: list[np.ndarray] = []  # those before the last seam
        self._after: list[np.ndarray] = []  # those after it, or after the clip's beginning
        self._first: list[np.ndarray] = []
        self.parts: list[PartNumbers] = []
        self.seams: list[SeamNumbers] = []

    def add(self, frame: Any) -> None:
        """Takes the next frame, [H, W, C] in [0, 1]; one with NaN is left out."""
        pixels = eight_bits(np.asarray(frame), f"Frame {self._frames + 1}")
        self._frames += 1
        self._part_frames += 1
        if pixels is None:
            return
        if len(self._start) < ENDS:
            self._start.append(pixels)
        self._ends.append(pixels)
        light = cv2.resize(
            cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), working_size(*pixels.shape[1::-1]), interpolation=cv2.INTER_AREA
        )
        self._lights.append(light)
        if len(self._after) <= PAIRS:
            self._after.append(light)
            if len(self._first) <= PAIRS and not self.parts:
                self._first.append(light)

    def seam(self) -> None:
        """Notes that the next frame is the first of a part."""
        self._end_part()
        self._before, self._after = list(self._lights), []
        self._lights.clear()  # the speed before the next seam is that of its part alone

    def numbers(self, loop: bool = False) -> DriftNumbers:
        """Returns the numbers of a clip that has ended.

        Args:
            loop: Whether its first frame follows its last.
        """
        self._end_part()
        back = self._measure(1, list(self._lights), self._first) if loop else None
        blur = mean_of([edge_blur(each / np.float32(255)) for each in self._start])
        return DriftNumbers(self.parts, self.seams, blur, back)

    def _end_part(self) -> None:
        if self._before:
            self.seams.append(self._measure(self._frames - self._part_frames + 1, self._before, self._after))
        start, end = (np.mean([cv2.mean(each)[:3] for each in ends], axis=0) for ends in (self._start, self._ends))
        alike = None
        if self._picture is not None:
            alike = likeness(self._ends[-1], self._picture, working_size(*self._picture.shape[1::-1]))
        self.parts.append(
            PartNumbers(
                self._part_frames,
                float(light_of(end)) - float(light_of(start)),
                colour_drift(start, end),
                float(np.abs(end - start).max()),
                mean_of([edge_blur(each / np.float32(255)) for each in self._ends]),
                alike,
            )
        )
        self._part_frames = 0
        self._ends.clear()

    def _measure(self, frame: int, before: list[np.ndarray], after: list[np.ndarray]) -> SeamNumbers:
        one, other = before[-1], after[0]
        difference = cv2.norm(one, other, cv2.NORM_L1) / one.size
        if min(one.shape) < LEAST or min(len(before), len(after)) < 2:
            return SeamNumbers(frame, None, None, None, None, None, difference)
        scale = 100 / min(one.shape)
        left, right = (self._movement(frames) * scale for frames in (before, after))
        across = self._movement([one, other]) * scale
        speeds = [float(np.linalg.norm(movement)) * self.fps for movement in (left, right)]
        moving = speeds[0] > STILL
        cosine = None
        if min(speeds) > STILL:
            cosine = float(left @ right) / (float(np.linalg.norm(left)) * float(np.linalg.norm(right)))
        jump = float(np.linalg.norm(across - (left + right) / 2))
        ratio = speeds[1] / speeds[0] if moving else None
        return SeamNumbers(frame, speeds[0], speeds[1], ratio, cosine, jump, difference)

    def _movement(self, lights: list[np.ndarray]) -> np.ndarray:
        """Returns how the fastest pixels move from one picture to the next, float[2] in pixels, the mean over pairs."""
        pairs = pairwise(lights)
        return np.mean([_fastest(self._flow.calc(one, other, None)) for one, other in pairs], axis=0)


def _fastest(flow: np.ndarray) -> np.ndarray:
    """Returns the mean movement, float[2], of the fastest twentieth of a flow, float32[h, w, 2]."""
    lengths = cv2.magnitude(flow[..., 0], flow[..., 1]).ravel()
    count = max(1, int(lengths.size * FASTEST))
    chosen = np.argpartition(lengths, lengths.size - count)[lengths.size - count :]
    return flow.reshape(-1, 2)[chosen].mean(0)
