"""Sizes and lengths that Wan 2.2 accepts, and the plain geometry of getting a picture there."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

MULTIPLE = 16  # VAE stride 8 x patch size 2
FPS = 16  # what Wan 2.2 A14B was trained at
FRAME_STEP = 4  # frames per latent frame after the first: the VAE's stride in time
MIN_FRAMES = 5  # the start picture and one latent frame of motion; fewer is no clip
MAX_SECONDS = 8.0
MIN_SIDE = 32  # pixels; below it there is no picture to animate
MAX_SIDE_RATIO = 8
NOTABLE_ENLARGEMENT = 1.5  # times; above it the softness shows in the clip


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    @classmethod
    def of(cls, pictures: Any) -> "Size":
        """Returns the size of pictures, an array or a tensor [..., H, W, C]."""
        height, width = pictures.shape[-3:-1]
        return cls(width, height)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Box(NamedTuple):
    """A rectangle in pixels, measured from the top left corner."""

    left: int
    top: int
    width: int
    height: int


class Tier(NamedTuple):
    """What a resolution tier allows: pixels in all, and pixels along the longer side."""

    area: int
    long_side: int


TIERS = {
    "720p": Tier(1280 * 720, 1280),
    "480p": Tier(832 * 480, 832),
    "240p": Tier(416 * 240, 416),
}
ASPECTS = ("image", "16:9", "9:16", "1:1", "4:3", "3:4")
FITS = ("crop", "pad", "stretch")


def fit_size(width: int, height: int, tier: str, aspect: str = "image") -> Size:
    """Finds the size at which a tier shows most of a picture.

    The score of a size is its area times the fraction of the picture that a crop to it would keep, which is
    the area that the picture itself covers. Between equal scores the smaller crop wins.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        tier: A key of `TIERS`. Neither its area nor its long side is ever exceeded.
        aspect: One of `ASPECTS`; "image" keeps the picture's own.

    Returns:
        Both sides multiples of 16.

    Raises:
        ValueError: The picture is too small or too narrow, or `tier` or `aspect` is unknown.
    """
    _check_picture(width, height)
    check_choice("Tier", tier, TIERS)
    check_choice("Aspect", aspect, ASPECTS)
    across, down = (width, height) if aspect == "image" else map(int, aspect.split(":"))
    area, long_side = TIERS[tier]

    def shown(size: Size) -> float:
        narrow, wide = sorted((size.width * down, size.height * across))
        # One division of exact integers, so that equal scores compare equal.
        return size.width * size.height * narrow / wide

    sides = range(MULTIPLE, long_side + 1, MULTIPLE)
    # Of equal scores max() takes the first, which is the smallest and so crops least.
    return max((Size(w, h) for w in sides for h in sides if w * h <= area), key=shown)


def frame_count(seconds: float) -> int:
    """Counts the frames of a clip: the 4n + 1 nearest to `seconds` x 16, the longer of two equally near, at least 5.

    Raises:
        ValueError: `seconds` is not a number above 0 and up to 8.
    """
    if not 0 < seconds <= MAX_SECONDS:  # NaN fails every comparison
        raise ValueError(
            f"A clip lasts more than 0 and at most {MAX_SECONDS:g} seconds, got {seconds:g}. "
            "For a longer one, continue from the last frame."
        )
    latent_frames = math.floor((seconds * FPS - 1) / FRAME_STEP + 0.5)
    return max(MIN_FRAMES, FRAME_STEP * latent_frames + 1)


def crop_box(source: Size, target: Size) -> Box:
    """Centres in `source` the largest rectangle that has the aspect of `target`, to the nearest pixel."""
    width = min(source.width, _scaled(source.height, target.width, target.height))
    height = min(source.height, _scaled(source.width, target.height, target.width))
    return _centred(Size(width, height), source)


def pad_box(source: Size, target: Size) -> Box:
    """Centres in `target` the largest rectangle that has the aspect of `source`; the rest of `target` is padding."""
    return crop_box(target, source)


def describe_fit(source: Size, target: Size, tier: str, fit: str) -> str:
    """Returns what happened to a picture, one correction per line, none left out.

    Args:
        source: Size of the picture as it came.
        target: Size of the picture as it left.
        tier: A key of `TIERS`, named in the first line.
        fit: One of `FITS`.

    Returns:
        For example "1000x1000 -> 1280x720 (720p)\\nCropped 44 % off: top and bottom."

    Raises:
        ValueError: `fit` is unknown.
    """
    check_choice("Fit", fit, FITS)
    correction, scale = {"crop": _describe_crop, "pad": _describe_pad, "stretch": _describe_stretch}[fit](
        source, target
    )
    lines = [f"{source} -> {target} ({tier})", correction]
    if scale > NOTABLE_ENLARGEMENT:
        lines.append(f"Enlarged {scale:.1f} times, which looks soft: start from a larger picture.")
    elif scale >= 1.005:
        lines.append(f"Enlarged {scale:.2f} times.")
    return "\n".join(filter(None, lines))


def _describe_crop(source: Size, target: Size) -> tuple[str, float]:
    box = crop_box(source, target)
    scale = max(target.width / box.width, target.height / box.height)
    lost = 1 - box.width * box.height / (source.width * source.height)
    sides = "left and right" if box.width < source.width else "top and bottom"
    return (f"Cropped {_percent(lost)} off: {sides}." if lost else ""), scale


def _describe_pad(source: Size, target: Size) -> tuple[str, float]:
    box = pad_box(source, target)
    scale = max(box.width / source.width, box.height / source.height)
    across, down = target.width - box.width, target.height - box.height
    bars = [
        f"{blank - blank // 2} pixels {sides}"
        for blank, sides in ((across, "left and right"), (down, "top and bottom"))
        if blank
    ]
    return (f"Padded with {' and '.join(bars)}." if bars else ""), scale


def _describe_stretch(source: Size, target: Size) -> tuple[str, float]:
    across, down = target.width / source.width, target.height / source.height
    stretch, direction = (across / down, "wider") if across >= down else (down / across, "taller")
    changed = target.width * source.height != target.height * source.width
    return (f"Stretched {_percent(stretch - 1)} {direction}." if changed else ""), max(across, down)


def _percent(fraction: float) -> str:
    """Two digits however small, since a small correction is one too."""
    return f"{100 * fraction:.0f} %" if fraction >= 0.1 else f"{100 * fraction:.2g} %"


def _scaled(length: int, numerator: int, denominator: int) -> int:
    """Scales a length to the nearest pixel, at least 1, in integers so that exact aspects stay exact."""
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _centred(inner: Size, outer: Size) -> Box:
    return Box((outer.width - inner.width) // 2, (outer.height - inner.height) // 2, *inner)


def _check_picture(width: int, height: int) -> None:
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        raise ValueError(
            f"Picture is {width}x{height}; its shorter side needs at least {MIN_SIDE} pixels. Use a larger one."
        )
    if long > MAX_SIDE_RATIO * short:
        raise ValueError(
            f"Picture is {width}x{height}; its sides may differ by at most {MAX_SIDE_RATIO}:1. Crop it first."
        )


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raises ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{what} is one of {', '.join(choices)}, got '{value}'.")
