"""What a clip's numbers say, in lines for people: the numbers first, and then a verdict."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clip_report import ClipNumbers, Runs

# From where on the verdict says something. docs/nodes.md tells where each comes from.
FLICKERS = 1.0  # of 255
JERKY = 0.96  # of smoothness
SOFTER = 1.2  # times the edge blur of the start
BRIGHTER, TINTED = 10.0, 5.0  # of 255
ALIKE = 0.7  # of likeness
NAMED = 6  # runs of frames that a line names


def describe(numbers: "ClipNumbers") -> str:
    """Returns a clip's numbers and what they mean, in lines."""
    return "\n".join([*_facts(numbers), *numbers.notes, *(_verdict(numbers) or ["Nothing stands out."])])


def _facts(told: "ClipNumbers") -> Iterator[str]:
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
    if told.likeness is not None:
        yield f"Likeness of the first frame to the picture: {told.likeness:.3f} of 1."


def _verdict(told: "ClipNumbers") -> list[str]:
    """Returns what stands out, in sentences."""
    blur = (told.edge_blur_end or 0.0) / told.edge_blur_start if told.edge_blur_start else 0.0
    drift = told.brightness_drift or 0.0
    said = {
        f"NaN or infinity in frames {_named(told.nan_at)}: sample or decode the clip again.": told.nan,
        f"Black frames: {_named(told.black_at)}.": told.black,
        f"Frozen frames, each as the one before: {_named(told.frozen_at)}.": told.frozen,
        f"Seams: the clip jumps at frames {_named(told.seams_at)}.": told.seams,
        "The clip hardly moves: too few pairs of frames move for a dynamic clip.": told.dynamic is False,
        "The motion is jerky or noisy: frames do not lie between their neighbours.": (told.smoothness or 1.0) < JERKY,
        "The clip flickers: its brightness changes from frame to frame.": (told.light_flicker or 0.0) > FLICKERS,
        "The clip gets softer: its edges are blurred at the end.": blur > SOFTER,
        "The clip gets brighter towards its end.": drift > BRIGHTER,
        "The clip gets darker towards its end.": drift < -BRIGHTER,
        "The colours drift towards the end.": (told.colour_drift or 0.0) > TINTED,
        "The first frame does not look like the picture.": told.likeness is not None and told.likeness < ALIKE,
    }
    return [sentence for sentence, holds in said.items() if holds]


def _named(runs: "Runs") -> str:
    """Names frames, counted from 1: "3, 8-11"."""
    named = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:NAMED]]
    return ", ".join(named) + (", ..." if len(runs) > NAMED else "")
