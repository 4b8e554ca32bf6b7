"""A clip's numbers, what each of them is, and what they say to people: the numbers first, and then a verdict."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

Runs = tuple[tuple[int, int], ...]  # first and last frame of each run, counted from 1

# From where on the verdict says something. docs/nodes.md tells where each comes from.
FLICKERS = 1.0  # of 255
JERKY = 0.96  # of smoothness
SOFTER = 1.2  # times the edge blur of the start
BRIGHTER, TINTED = 10.0, 5.0  # of 255
ALIKE = 0.7  # of likeness
NAMED = 6  # runs of frames that a line names


class ClipNumbers(NamedTuple):
    """What a clip is like. None is what could not be measured; `notes` say why.

    Attributes:
        frames: How many there are.
        width: Of a frame, in pixels.
        height: Of a frame, in pixels.
        fps: Frames a second.
        flicker: VBench's temporal flickering, (255 - the mean difference of neighbouring frames) / 255: 1 for a still.
        light_flicker: How far a frame's brightness is from that of its neighbours, on average, of 255.
        motion: How far the fastest twentieth of the pixels moves, on average, in percent of the short side a second.
        pairs: How many pairs of frames were looked at for motion, about 8 a second.
        moving_pairs: In how many the fastest twentieth moves further than VBench's threshold.
        needed_pairs: How many of them make a clip dynamic.
        dynamic: Whether there are as many: VBench's dynamic degree.
        smoothness: VBench's motion smoothness, (255 - the mean difference of every second frame from the one that flow
            lays between its neighbours) / 255.
        edge_blur_start: Blur of the sharpest edges of the first frames, in pixels; see `quality.edge_blur`.
        edge_blur_end: The same of the last frames.
        brightness_start: Mean brightness of the first frames, of 255.
        brightness_end: The same of the last frames.
        brightness_drift: The second less the first.
        colour_drift: How far the mean colour of the last frames is from that of the first, brightness aside, of 255.
        likeness: Correlation of the first frame and the picture that it was to show: 1 where they are the same.
        seams: How many frames differ from the one before far more than their neighbours do.
        black: How many frames are black.
        frozen: How many frames repeat the one before.
        nan: How many frames hold NaN or infinity.
        seams_at: Where the seams are; of each run the first and the last frame, counted from 1, at most 100 runs.
        black_at: The same of black frames.
        frozen_at: The same of frozen frames.
        nan_at: The same of frames that hold NaN or infinity.
        notes: Sentences on what could not be measured.
    """

    frames: int
    width: int
    height: int
    fps: float
    flicker: float | None
    light_flicker: float | None
    motion: float | None
    pairs: int
    moving_pairs: int
    needed_pairs: int
    dynamic: bool | None
    smoothness: float | None
    edge_blur_start: float | None
    edge_blur_end: float | None
    brightness_start: float | None
    brightness_end: float | None
    brightness_drift: float | None
    colour_drift: float | None
    likeness: float | None
    seams: int
    black: int
    frozen: int
    nan: int
    seams_at: Runs
    black_at: Runs
    frozen_at: Runs
    nan_at: Runs
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns all but the notes as JSON has it: numbers, switches, lists of numbers, and None."""
        told = {name: value for name, value in self._asdict().items() if name != "notes"}
        return {name: _plain(value) for name, value in told.items()}

    def report(self) -> str:
        """Returns the numbers and what they mean, in lines for people."""
        return "\n".join([*_facts(self), *self.notes, *(self.verdict() or ["Nothing stands out."])])

    def verdict(self) -> list[str]:
        """Returns what stands out, in sentences."""
        blur = (self.edge_blur_end or 0.0) / self.edge_blur_start if self.edge_blur_start else 0.0
        drift, smooth = self.brightness_drift or 0.0, 1.0 if self.smoothness is None else self.smoothness
        said = {
            f"NaN or infinity in frames {_named(self.nan_at)}: sample or decode the clip again.": self.nan,
            f"Black frames: {_named(self.black_at)}.": self.black,
            f"Frozen frames, each as the one before: {_named(self.frozen_at)}.": self.frozen,
            f"Seams: the clip jumps at frames {_named(self.seams_at)}.": self.seams,
            "The clip hardly moves: too few pairs of frames move for a dynamic clip.": self.dynamic is False,
            "The motion is jerky or noisy: frames do not lie between their neighbours.": smooth < JERKY,
            "The clip flickers: its brightness changes from frame to frame.": (self.light_flicker or 0.0) > FLICKERS,
            "The clip gets softer: its edges are blurred at the end.": blur > SOFTER,
            "The clip gets brighter towards its end.": drift > BRIGHTER,
            "The clip gets darker towards its end.": drift < -BRIGHTER,
            "The colours drift towards the end.": (self.colour_drift or 0.0) > TINTED,
            "The first frame does not look like the picture.": self.likeness is not None and self.likeness < ALIKE,
        }
        return [sentence for sentence, holds in said.items() if holds]


def checked(text: str) -> str:
    """Returns the JSON of a clip's numbers anew, so that it holds nothing but those.

    Raises:
        ValueError: It is anything else.
    """
    try:
        told = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        told = None
    right = isinstance(told, dict) and told and all(map(_is_number_of, told, told.values()))
    if not right:
        raise ValueError("numbers must be those of Clip Report, and this is another text. Connect its output numbers.")
    return json.dumps(told)


def _is_number_of(name: str, value: Any) -> bool:
    if name.endswith("_at"):
        pairs = value if isinstance(value, list) else [None]
        return name in ClipNumbers._fields and all(isinstance(run, list) and all(map(_is_int, run)) for run in pairs)
    return name in ClipNumbers._fields and name != "notes" and (value is None or isinstance(value, int | float))


def _is_int(value: Any) -> bool:
    return isinstance(value, int)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [list(run) for run in value]
    return round(value, 5) if isinstance(value, float) else value


def _facts(told: ClipNumbers) -> Iterator[str]:
    seconds = told.frames / told.fps
    yield f"Frames: {told.frames}, {told.width}x{told.height}, {told.fps:g} a second, {seconds:.2f} seconds."
    if told.motion is not None:
        yield (
            f"Motion: {told.motion:.1f} % of the short side a second, {told.moving_pairs} of {told.pairs} pairs move; "
            f"{told.needed_pairs} make a clip dynamic."
        )
    if told.smoothness is not None:
        yield f"Motion smoothness: {told.smoothness:.4f} of 1."
    if told.flicker is not None:
        yield f"Temporal flickering: {told.flicker:.4f} of 1."
    if told.light_flicker is not None:
        yield f"Brightness flickers by {told.light_flicker:.2f} of 255."
    if told.edge_blur_start is not None and told.edge_blur_end is not None:
        yield f"Edge blur: {told.edge_blur_start:.2f} pixels at the start, {told.edge_blur_end:.2f} at the end."
    if told.brightness_drift is not None and told.colour_drift is not None:
        yield f"Drift: brightness {told.brightness_drift:+.1f} of 255, colour {told.colour_drift:.1f} of 255."
    elif told.brightness_drift is not None:
        yield f"Drift: brightness {told.brightness_drift:+.1f} of 255; too dark to have a colour."
    if told.likeness is not None:
        yield f"Likeness of the first frame to the picture: {told.likeness:.3f} of 1."


def _named(runs: Runs) -> str:
    """Names frames, counted from 1: "3, 8-11"."""
    named = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:NAMED]]
    return ", ".join(named) + (", ..." if len(runs) > NAMED else "")
