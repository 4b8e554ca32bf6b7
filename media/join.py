"""A clip and its continuation as one: the frame that both hold is in it once, the colours are those of the first."""

from typing import NamedTuple

import torch

from .finite import check_floating, check_picture

FLAT = 1e-3  # a channel that varies less has no contrast to match
GAINS = (0.8, 1.25)  # drift between two clips is a few percent; more is another picture
ANOTHER_PICTURE = 0.1  # mean difference from which the second clip does not begin where the first ends
CHANNELS = (1, 3, 4)  # grey, RGB, RGB with straight alpha


class Seam(NamedTuple):
    """Mean absolute difference, in [0, 1], of the two frames that meet: as they came, and as joined."""

    before: float
    after: float


def join(first: torch.Tensor, second: torch.Tensor, match_colours: bool = True) -> tuple[torch.Tensor, Seam]:
    """Joins two clips of which the second was grown from the last frame of the first.

    Args:
        first: Tensor[F, H, W, C] in [0, 1]; grey (C = 1), RGB (3) or RGB with straight alpha (4).
        second: Tensor[G, H, W, D] in [0, 1]; its first frame shows what the last of `first` shows.
        match_colours: Whether to correct all of `second` by what makes its first frame match.

    Returns:
        Tensor[F + G - 1, H, W, max(C, D)], where `first` lies and in the finer precision of the two, and the seam. What
        had no alpha is opaque; alpha is never corrected.

    Raises:
        ValueError: A clip has no frame, or they are of different sizes, or one is no clip.
        NotFiniteError: A frame holds NaN or infinity.
    """
    check(first, second)
    channels = max(first.shape[3], second.shape[3])
    end, start = (_colours(with_channels(frame, channels).to(first.device)) for frame in (first[-1], second[0]))
    gain, offset, seam = match(start, end, match_colours)
    shape = (len(first) + len(second) - 1, *first.shape[1:3], channels)
    frames = torch.empty(shape, dtype=torch.promote_types(first.dtype, second.dtype), device=first.device)
    for index, frame in enumerate(first):  # one by one: a second copy of a long clip would be gigabytes
        check_picture(frame, "The first clip", index, len(first))
        frames[index] = with_channels(frame, channels)
    for index, frame in enumerate(second):
        check_picture(frame, "The second clip", index, len(second))
        if index:
            joined = frames[len(first) + index - 1]
            frame = with_channels(frame, channels).to(joined.device)
            joined[..., :3] = corrected(_colours(frame), gain, offset)
            joined[..., 3:] = frame[..., 3:]
    return frames, seam


def with_channels(frame: torch.Tensor, channels: int) -> torch.Tensor:
    """Returns a frame, Tensor[H, W, C], with more channels: grey as three equal colours, without alpha as opaque."""
    if frame.shape[2] == channels:
        return frame
    colours = frame.expand(-1, -1, 3) if frame.shape[2] == 1 else frame
    return torch.nn.functional.pad(colours, (0, channels - colours.shape[2]), value=1.0)


def _colours(frame: torch.Tensor) -> torch.Tensor:
    """Returns a view of a frame without its alpha."""
    return frame[..., :3]


def match(start: torch.Tensor, end: torch.Tensor, wanted: bool) -> tuple[torch.Tensor, torch.Tensor, Seam]:
    """Returns gain and offset for the second clip, and the seam: 1 and 0 where correcting is not wanted or no help."""
    before = distance(end, start)
    if wanted and before < ANOTHER_PICTURE:
        gain, offset = anchor(start, end)
        after = distance(end, corrected(start, gain, offset))
        if after < before:
            return gain, offset, Seam(before, after)
    return torch.ones(()), torch.zeros(()), Seam(before, before)


def anchor(start: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what gives one picture the mean and contrast per channel of another.

    Args:
        start: Tensor[H, W, C] in [0, 1], the picture to correct.
        end: Tensor[H, W, C] in [0, 1], the picture to match.

    Returns:
        Gain and offset, float32 Tensor[C] each.
    """
    mean, wanted = start.float().mean((0, 1)), end.float().mean((0, 1))
    contrast, wanted_contrast = start.float().std((0, 1)), end.float().std((0, 1))
    gain = torch.where(contrast > FLAT, wanted_contrast / contrast.clamp_min(FLAT), torch.ones_like(contrast))
    gain = gain.clamp(*GAINS)
    return gain, wanted - gain * mean


def corrected(frame: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Returns a frame, Tensor[H, W, C] in [0, 1], as float32 with another contrast and level: Tensor[C] or scalars."""
    return (frame.float() * gain + offset).clamp(0.0, 1.0)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Returns the mean absolute difference of two frames."""
    return float((one.float() - other.float()).abs().mean())


def check(first: torch.Tensor, second: torch.Tensor) -> None:
    """Refuses clips that have no seam, Tensor[F, H, W, C] and Tensor[G, H, W, D]: none, or of different sizes."""
    for name, clip in (("first", first), ("second", second)):
        _check_clip(name, clip)
    if not len(first) or not len(second):
        raise ValueError(f"Both clips need a frame at least, got {len(first)} and {len(second)} frames.")
    if first.shape[1:3] != second.shape[1:3]:
        (height, width), (other_height, other_width) = first.shape[1:3], second.shape[1:3]
        raise ValueError(
            f"Both clips must have the same size, got {width}x{height} and {other_width}x{other_height}. "
            "Grow the second from the last frame of the first."
        )


def _check_clip(name: str, clip: torch.Tensor) -> None:
    remedy = "Look at the node that it comes from."
    if clip.ndim != 4:
        raise ValueError(f"A clip has the shape [F, H, W, C], the {name} clip has {list(clip.shape)}. {remedy}")
    if clip.shape[3] not in CHANNELS:
        raise ValueError(
            f"A clip has 1 (grey), 3 (RGB) or 4 channels (RGB and alpha), the {name} clip has {clip.shape[3]}. {remedy}"
        )
    check_floating(clip, f"The {name} clip")


def note_on_channels(first: torch.Tensor, second: torch.Tensor) -> str:
    """Returns what the clip with fewer channels became, or nothing where both have as many."""
    if first.shape[3] == second.shape[3]:
        return ""
    name, clip = min(("first", first), ("second", second), key=lambda named: named[1].shape[3])
    grey, opaque = clip.shape[3] == 1, max(first.shape[3], second.shape[3]) == 4
    had = "is grey, without alpha" if grey and opaque else "is grey" if grey else "has no alpha"
    became = ["has three equal colours"] * grey + ["is opaque"] * opaque
    return f"The {name} clip {had}: it {' and '.join(became)} in the joined clip."


def describe(first: int, second: int, seam: Seam, match_colours: bool) -> str:
    """Returns in two lines what was joined, and how well the seam fits, in levels of 255."""
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
