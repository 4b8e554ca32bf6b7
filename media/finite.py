"""Pictures that hold no numbers between black and white: NaN or infinity, and where they begin, or whole numbers."""

from typing import Any, NamedTuple

import numpy as np

REMEDY = "Look at the node that it comes from: a model or a VAE in too low a precision makes NaN."


class NotFiniteError(ValueError):
    """A picture or a latent holds NaN or infinity."""

    def __init__(self, text: str, value: str, place: str) -> None:
        super().__init__(text)
        self.value = value  # which of them, as `name_of` says it
        self.place = place  # where the first one is, such as "frame 3, row 1, column 8"


class Flaw(NamedTuple):
    """A value that is no finite number, and its place in a picture."""

    value: str
    place: str


def flaw(picture: np.ndarray) -> Flaw | None:
    """Finds where a picture, float[H, W, C], first holds NaN or infinity, in reading order; None if it does not."""
    places = np.argwhere(~np.isfinite(picture))
    if not len(places):
        return None
    row, column = places[0][:2]
    return Flaw(name_of(picture[tuple(places[0])]), f"row {row + 1}, column {column + 1}")


def name_of(value: Any) -> str:
    """Names a value that is no finite number."""
    return "NaN" if np.isnan(value) else "infinity" if value > 0 else "minus infinity"


def check_floating(pictures: Any, what: str) -> None:
    """Refuses pictures, array or tensor, of whole numbers, of which all above 1 would be white: there, white is 255."""
    is_array = isinstance(pictures, np.ndarray)
    if not (np.issubdtype(pictures.dtype, np.floating) if is_array else pictures.is_floating_point()):
        kind = str(pictures.dtype).removeprefix("torch.")
        raise ValueError(
            f"{what} must hold floating-point numbers in 0..1, got {kind}. Look at the node that it comes from, which "
            "should convert them."
        )


def check_pictures(pictures: Any, what: str) -> None:
    """Refuses a batch, [F, H, W, C], array or tensor, that holds whole numbers, NaN or infinity.

    Raises:
        ValueError: It does; the text begins with `what`.
        NotFiniteError: The same, of NaN or infinity.
    """
    check_floating(pictures, what)
    for number, picture in enumerate(pictures):
        check_picture(picture, what, number, len(pictures))


def check_picture(picture: Any, what: str, number: int, count: int) -> None:
    """Refuses picture `number` of `count`, float[H, W, C], where it holds NaN or infinity."""
    found = flaw_of(picture)
    if found:
        place = f"picture {number + 1} of {count}, {found.place}" if count > 1 else found.place
        raise NotFiniteError(f"{what} holds {found.value} in {place}. {REMEDY}", found.value, place)


def flaw_of(picture: Any) -> Flaw | None:
    """Finds what `flaw` finds, in an array or a tensor, and takes a single pass where there is nothing to be found."""
    # A sum takes no memory, and is not finite where a value is not.
    if isinstance(picture, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):
            return None if np.isfinite(picture.sum(dtype=np.float32)) else flaw(picture)
    import torch  # here, so that whoever has arrays alone need not wait for it

    total = float(picture.sum(dtype=torch.float32))
    return None if np.isfinite(total) else flaw(picture.double().cpu().numpy())
