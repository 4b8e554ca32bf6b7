"""A clip and its continuation as one: the frame that both hold is in it once, the colours are those of the first."""

from typing import NamedTuple

import torch

FLAT = 1e-3  # a channel that varies less has no contrast to match
GAINS = (0.8, 1.25)  # drift between two clips is a few percent; more is another picture
ANOTHER_PICTURE = 0.1  # mean difference from which the second clip does not begin where the first ends


class Seam(NamedTuple):
    """Mean absolute difference, in [0, 1], of the two frames that meet: as they came, and as joined."""

    before: float
    after: float


def join(first: torch.Tensor, second: torch.Tensor, match_colours: bool = True) -> tuple[torch.Tensor, Seam]:
    """Joins two clips of which the second was grown from the last frame of the first.

    Args:
        first: Tensor[F, H, W, 3] in [0, 1].
        second: Tensor[G, H, W, 3] in [0, 1]; its first frame shows what the last of `first` shows.
        match_colours: Whether to correct all of `second` by what makes its first frame match.

    Returns:
        Tensor[F + G - 1, H, W, 3], and the seam.

    Raises:
        ValueError: A clip has no frame, or they are of different sizes.
    """
    check(first, second)
    end, start = first[-1], second[0]
    before = distance(end, start)
    gain, offset = torch.ones(()), torch.zeros(())
    if match_colours and before < ANOTHER_PICTURE:
        gain, offset = anchor(start, end)
    after = distance(end, corrected(start, gain, offset))
    if after >= before:
        gain, offset, after = torch.ones(()), torch.zeros(()), before
    frames = torch.empty((len(first) + len(second) - 1, *first.shape[1:]), dtype=first.dtype)
    frames[: len(first)] = first
    for index in range(1, len(second)):  # one by one: a second copy of a long clip would be gigabytes
        frames[len(first) + index - 1] = corrected(second[index], gain, offset)
    return frames, Seam(before, after)


def anchor(start: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what gives one picture the mean and contrast per channel of another.

    Args:
        start: Tensor[H, W, 3] in [0, 1], the picture to correct.
        end: Tensor[H, W, 3] in [0, 1], the picture to match.

    Returns:
        Gain and offset, float32 Tensor[3] each.
    """
    mean, wanted = start.float().mean((0, 1)), end.float().mean((0, 1))
    contrast, wanted_contrast = start.float().std((0, 1)), end.float().std((0, 1))
    gain = torch.where(contrast > FLAT, wanted_contrast / contrast.clamp_min(FLAT), torch.ones_like(contrast))
    gain = gain.clamp(*GAINS)
    return gain, wanted - gain * mean


def corrected(frame: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Returns a frame, Tensor[H, W, 3] in [0, 1], as float32 with another contrast and level: Tensor[3] or scalars."""
    return (frame.float() * gain + offset).clamp(0.0, 1.0)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the mean absolute difference of two frames."""
    return float((one.float() - other.float()).abs().mean())


def check(first: torch.Tensor, second: torch.Tensor) -> None:
    """Refuses clips that have no seam, Tensor[F, H, W, 3] and Tensor[G, H, W, 3].

    Raises:
        ValueError: A clip has no frame, or they are of different sizes.
    """
    if not len(first) or not len(second):
        raise ValueError(f"Both clips need a frame at least, got {len(first)} and {len(second)} frames.")
    if first.shape[1:] != second.shape[1:]:
        (height, width), (other_height, other_width) = first.shape[1:3], second.shape[1:3]
        raise ValueError(
            f"Both clips must have the same size, got {width}x{height} and {other_width}x{other_height}. "
            "Grow the second from the last frame of the first."
        )


def describe(first: int, second: int, seam: Seam, match_colours: bool) -> str:
    """Says in two lines what was joined, and how well the seam fits, in levels of 255."""
    line = f"{first} + {second} frames -> {first + second - 1}: the frame that both hold is in it once."
    before, after = 255 * seam.before, 255 * seam.after
    if seam.before >= ANOTHER_PICTURE:
        return (
            f"{line}\nWarning: The clips differ by {before:.1f} of 255 where they meet, which is another picture: "
            "colours were left alone. Grow the second clip from the last frame of the first."
        )
    if not match_colours or seam.after == seam.before:
        return f"{line}\nSeam: {before:.2f} of 255, colours as they came."
    return f"{line}\nSeam: {after:.2f} of 255, before colours were matched {before:.2f}."
