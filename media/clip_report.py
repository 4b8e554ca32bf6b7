"""What a clip is like, in numbers that need no download: `measure` takes its frames one by one, and keeps few of them.

    numbers = measure(frames, fps=16, picture=picture)
    numbers.as_dict()   # for programs: plain numbers by name
    numbers.report()    # for people: the numbers and a verdict, in lines

It needs NumPy and OpenCV, no ComfyUI and no torch. Frames are looked at as they are saved, in 8 bits. One that is
black, or holds NaN or infinity, is told of and left out of all other numbers; a black one counts for VBench's flicker.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from .clip_frames import eight_bits, is_black, without_alpha
from .clip_motion import LEAST, Motion, working_size
from .clip_numbers import ClipNumbers
from .clip_seams import colour_drift, light_of, runs, seams, unsteadiness
from .likeness import likeness
from .opencv import cv2
from .quality import edge_blur
from .resolution import Size

ENDS = 4  # frames at the start, and at the end, that stand for it
# A frame repeats the one before where fewer pixels of the smaller picture than a share differ by more, of 255. Files of
# CRF 18 repeat a frame with .0002 at most; the smallest shape that moves slowly is .002 and more.
REPEATED, APART = 0.0005, 3
MOST_RUNS = 100  # runs of frames that the numbers list of a kind


def measure(frames: Iterable[Any], fps: float, picture: Any = None) -> ClipNumbers:
    """Measures a clip.

    Args:
        frames: One by one, of one size: [H, W] or [H, W, C] with 1 (grey), 3 (RGB) or 4 channels (RGB and alpha, which
            is left out, as in a saved clip); floating point in [0, 1] or uint8.
        fps: Frames a second.
        picture: What the first frame was to show, [H, W, C] of any size; its straight alpha is laid over black, as Fit
            to 720p does it. None: its likeness is not measured.

    Raises:
        ValueError: There is no frame, or one is none of the above; or `fps` is no number above 0.
        ImportError: OpenCV is not available.
    """
    meter = ClipMeter(fps, picture)
    for frame in frames:
        meter.add(frame)
    return meter.numbers()


class ClipMeter:
    """Measures a clip whose frames arrive one by one; see `measure`. Memory grows by a few numbers a frame."""

    def __init__(self, fps: float, picture: Any = None) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"A clip has more than 0 frames a second, got {fps}. Wan 2.2 makes 16.")
        self.fps = float(fps)
        self._picture = picture
        self._size: Size | None = None
        self._motion = Motion(self.fps)
        self._differences: list[float] = []  # from the frame before, of 255; NaN where one of the two is none
        self._shown: list[float] = []  # the same, without black frames
        self._means: list[tuple[float, ...]] = []  # red, green, blue
        self._black: list[int] = []
        self._frozen: list[int] = []
        self._nan: list[int] = []
        self._before: tuple[np.ndarray, np.ndarray, bool] | None = (
            None  # a frame, its smaller light, whether it is black
        )
        self._start: list[np.ndarray] = []
        self._end: deque[np.ndarray] = deque(maxlen=ENDS)
        self._first: np.ndarray | None = None

    def add(self, frame: Any) -> None:
        """Takes the next frame.

        Raises:
            ValueError: It is no frame, or of another size than the first.
        """
        number = len(self._means)
        pixels = eight_bits(without_alpha(np.asarray(frame)), f"Frame {number + 1}")
        size = Size(*np.shape(frame)[1::-1])
        self._size = self._size or size
        if size != self._size:
            raise ValueError(
                f"All frames of a clip have one size; frame {number + 1} is {size}, the first {self._size}."
            )
        if pixels is None:
            self._nan.append(number)
            self._motion.add(None)
            self._note(math.nan, math.nan, (math.nan,) * 3, None)
            return
        light = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(light, working_size(*size), interpolation=cv2.INTER_AREA)
        black = is_black(small)
        if number == 0:
            self._first = pixels
        self._motion.add(None if black else small)
        self._compare(number, pixels, small, black)
        if black:
            self._black.append(number)
        else:
            self._keep(pixels)

    def _compare(self, number: int, pixels: np.ndarray, small: np.ndarray, black: bool) -> None:
        difference, shown = math.nan, math.nan
        if self._before is not None:
            before, smaller, was_black = self._before
            difference = cv2.norm(pixels, before, cv2.NORM_L1) / pixels.size
            if not (black or was_black):
                shown = difference
                if is_repeated(small, smaller):
                    self._frozen.append(number)
        means = (math.nan,) * 3 if black else cv2.mean(pixels)[:3]
        self._note(difference, shown, means, (pixels, small, black))

    def _note(self, difference: float, shown: float, means: tuple[float, ...], before: Any) -> None:
        self._differences.append(difference)
        self._shown.append(shown)
        self._means.append(means)
        self._before = before

    def _keep(self, pixels: np.ndarray) -> None:
        if len(self._start) < ENDS:
            self._start.append(pixels)
        self._end.append(pixels)

    def numbers(self) -> ClipNumbers:
        """Returns the numbers of the frames so far.

        Raises:
            ValueError: There was none.
        """
        if self._size is None:
            raise ValueError("A clip needs a frame at least, got none. Look at the node that it comes from.")
        found = seams(np.array(self._shown), np.array(self._means), self._frozen)
        counted = {"seams": found, "black": self._black, "frozen": self._frozen, "nan": self._nan}
        places: dict[str, Any] = {f"{name}_at": runs(each)[:MOST_RUNS] for name, each in counted.items()}
        counts: dict[str, Any] = {name: len(each) for name, each in counted.items()}
        alike, notes = self._likeness()
        ends = self._ends()
        return ClipNumbers(
            frames=len(self._means),
            width=self._size.width,
            height=self._size.height,
            fps=self.fps,
            flicker=share(self._differences),
            light_flicker=unsteadiness(light_of(np.array(self._means)), found),
            **self._moved(set(found)),
            **ends,
            likeness=alike,
            **counts,
            **places,
            notes=(*self._unmeasured(ends), *notes),
        )

    def _moved(self, cuts: set[int]) -> dict[str, Any]:
        motion = self._motion
        pairs = [pair for pair in motion.moved if cuts.isdisjoint(range(pair.first + 1, pair.second + 1))]
        moving = sum(pair.distance > motion.threshold for pair in pairs)
        speed = 100 * float(np.mean([pair.distance for pair in pairs])) * self.fps / motion.interval if pairs else None
        return {
            "motion": speed,
            "pairs": len(pairs),
            "moving_pairs": moving,
            "needed_pairs": motion.needed,
            "dynamic": moving >= motion.needed if pairs else None,
            "smoothness": share([between.difference for between in motion.between]),
        }

    def _ends(self) -> dict[str, Any]:
        count = max(1, min(ENDS, sum(not math.isnan(mean[0]) for mean in self._means) // 2))
        start, end = self._start[:count], list(self._end)[-count:]
        blurs = [mean_of([edge_blur(pixels / np.float32(255)) for pixels in each]) for each in (start, end)]
        means = np.array([mean for mean in self._means if not math.isnan(mean[0])])
        if not len(means):
            return dict.fromkeys(
                ("edge_blur_start", "edge_blur_end", "brightness_start", "brightness_end", "brightness_drift",
                 "colour_drift")
            )  # fmt: skip
        first, last = means[:count].mean(0), means[-count:].mean(0)
        before, after = float(light_of(first)), float(light_of(last))
        return {
            "edge_blur_start": blurs[0],
            "edge_blur_end": blurs[1],
            "brightness_start": before,
            "brightness_end": after,
            "brightness_drift": after - before,
            "colour_drift": colour_drift(first, last),
        }

    def _likeness(self) -> tuple[float | None, list[str]]:
        if self._picture is None:
            return None, []
        picture = eight_bits(np.asarray(self._picture), "The picture")
        if self._first is None or picture is None:
            which = "the picture" if self._first is not None else "the first frame"
            return None, [f"Likeness was not measured: {which} holds NaN or infinity."]
        alike = likeness(self._first, picture, working_size(*self._size or (0, 0)))
        return alike, ["Likeness was not measured: a picture of a single colour is like no other."] * (alike is None)

    def _unmeasured(self, ends: dict[str, Any]) -> list[str]:
        said = []
        if self._size and min(self._size) < LEAST:
            said.append(f"Motion was not measured: frames need sides of {LEAST} pixels, these are {self._size}.")
        elif not self._motion.moved or not self._motion.between:
            count = max(3, self._motion.interval + 1)
            said.append(
                f"Motion or smoothness was not measured: that takes {count} frames in a row that show something."
            )
        if ends["edge_blur_start"] is None or ends["edge_blur_end"] is None:
            said.append("Edge blur was not measured: there are no edges at the start or at the end.")
        return said


def is_repeated(light: np.ndarray, before: np.ndarray) -> bool:
    """Returns whether a picture, uint8[h, w], shows what the one before shows, but for what an encoder makes of it."""
    apart = cv2.threshold(cv2.absdiff(light, before), APART, 1, cv2.THRESH_BINARY)[1]
    return cv2.countNonZero(apart) < REPEATED * light.size


def share(differences: list[float]) -> float | None:
    """Returns what VBench makes of differences of 255: 1 where there are none. None without any."""
    known = [difference for difference in differences if not math.isnan(difference)]
    return (255 - float(np.mean(known))) / 255 if known else None


def mean_of(values: list[float | None]) -> float | None:
    """Returns the mean of those that are known, or None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
