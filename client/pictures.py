"""Looks at a picture before it is sent: what ComfyUI would read wrongly is refused, or sent as a PNG of its pixels.

ComfyUI 0.30 reads pictures with FFmpeg, 0.16 with Pillow. Half a JPEG becomes a grey half, an iPhone's HEIC its first
tile, and of the eight ways in which a camera may have been held, the four mirrored ones come out wrong.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from .errors import UsageError
from .printable import short

ORIENTATION = 0x0112  # the EXIF tag: 1 upright, 3, 6 and 8 turned, 2, 4, 5 and 7 mirrored
TURNED = {1, 3, 6, 8}  # which every ComfyUI sets right
FORMATS = {"PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF"}  # which every ComfyUI reads
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
WIDE = {"I;16", "I;16L", "I;16B", "I;16N"}  # 16 bits of grey, which ComfyUI 0.16 takes for white
MOST = 150_000_000  # pixels, of all pictures in a file together; a clip uses less than one million
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip  # what Pillow raises at a damaged file


@dataclass(frozen=True)
class Ready:
    """A file that may be sent.

    Args:
        path: The file, or the name of what is sent in its place.
        content: What is sent in its place; None for the file itself.
        said: A sentence for the user, if anything is to be said.
    """

    path: Path
    content: bytes | None = None
    said: str = ""


def ready(path: Path, picture: bool = True) -> Ready:
    """Looks at a file before it is sent.

    Args:
        path: The user's file.
        picture: It must be a picture; else any file that is not empty will do.

    Raises:
        UsageError: It cannot be used. The text says why, and what helps.
    """
    name = short(path.name)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error
    if not start:
        raise UsageError(f"{name} is empty, 0 bytes. Copy or download it again.")
    if not picture:
        return Ready(path)
    if is_heic(start):
        raise UsageError(
            f"{name} is a HEIC picture, of which ComfyUI may read only the first tile. Save it as JPEG or PNG and send "
            "that; an iPhone does so itself with Settings > Camera > Formats > Most Compatible."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about sizes and odd tags
        return looked_at(path, name)


def is_heic(start: bytes) -> bool:
    """Returns whether a file begins as HEIC or HEIF does, and not as AVIF."""
    brands = start[8:] if start[4:8] == b"ftyp" else b""
    listed = {brands[place : place + 4] for place in range(0, len(brands), 4)}
    return bool(listed & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1"}) and not listed & {b"avif", b"avis"}


def looked_at(path: Path, name: str) -> Ready:
    """Reads all of a picture, and turns or converts it where ComfyUI would not."""
    try:
        with Image.open(path) as image:
            check_size(image, name)
            taken = orientation(image)  # a TIFF is turned as it is read
            pictures = read_all(image)
            check_size(image, name, pictures)
            why = reason(image, pictures, taken if taken != 1 else orientation(image))  # a PNG may say it at its end
            if not why:
                return Ready(path, said=about_many(name, pictures))
            image.seek(0)
            png = as_png(image)
    except Image.DecompressionBombError as error:
        raise UsageError(f"{name} has too many pixels. Make it smaller: a clip uses less than a million.") from error
    except Image.UnidentifiedImageError as error:
        raise UsageError(f"{name} is no picture that can be read here. Save it as PNG or JPEG.") from error
    except UNREADABLE as error:
        raise UsageError(
            f"{name} is damaged or ends too early ({short(str(error)) or type(error).__name__}). "
            "Copy or download it again, or save it anew as PNG."
        ) from error
    first = f" Of its {pictures} pictures, the first is sent." if pictures > 1 else ""
    return Ready(path.with_suffix(".png"), png, f"{name} {why}: it is sent as a PNG that ComfyUI reads right.{first}")


def check_size(image: Image.Image, name: str, pictures: int = 1) -> None:
    """Refuses what would unfold to more than memory holds, here or on the server.

    Raises:
        UsageError: It has too many pixels.
    """
    pixels = image.width * image.height * pictures
    if pixels > MOST:
        size = f"{image.width}x{image.height}" + (f", {pictures} times" if pictures > 1 else "")
        raise UsageError(
            f"{name} has {size}, {pixels / 1e6:.0f} million pixels, and at most {MOST / 1e6:.0f} million can be sent. "
            "Make it smaller: a clip uses less than a million."
        )


def read_all(image: Image.Image) -> int:
    """Decodes every picture of a file, within the limit of pixels, and returns how many there are."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph with helpers behind it
    for number in range(min(count, MOST // max(image.width * image.height, 1))):
        image.seek(number)
        image.load()
    image.seek(0)
    return count


def orientation(image: Image.Image) -> int:
    """Returns how the camera was held, 1 for upright."""
    said = image.getexif().get(ORIENTATION, 1)
    return said if said in range(2, 9) else 1


def reason(image: Image.Image, pictures: int, taken: int) -> str:
    """Returns why a picture cannot be sent as it is; "" if it can."""
    if image.mode in ("I", "F"):
        raise UsageError(
            f"{short(Path(getattr(image, 'filename', '')).name)} has 32 bits a channel, whose black and white nobody "
            "knows. Save it as PNG with 8 or 16 bits."
        )
    if image.mode not in MODES:
        return "has 16 bits of grey" if image.mode in WIDE else f"is in the colours {image.mode}"
    if image.format not in FORMATS:
        return f"is in the format {image.format}"
    elsewhere = image.format != "TIFF" and "exif" not in image.info  # said in XMP, which FFmpeg does not read
    if pictures == 1 and taken != 1 and (taken not in TURNED or elsewhere):
        return "was taken turned" if taken in TURNED else "was taken mirrored"
    return ""


def as_png(image: Image.Image) -> bytes:
    """Returns a picture upright, in colours that ComfyUI reads, as a PNG without anything else in it."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in WIDE:
        upright = upright.point(lambda value: value / 256).convert("L")
    elif upright.mode not in MODES:
        upright = upright.convert("RGB")
    clean = Image.new(upright.mode, upright.size)
    if upright.mode in ("P", "PA"):
        upright = upright.convert("RGBA")
        clean = Image.new("RGBA", upright.size)
    clean.paste(upright)
    made = io.BytesIO()
    clean.save(made, "PNG")
    return made.getvalue()


def about_many(name: str, pictures: int) -> str:
    """Returns a sentence about a file that holds several pictures, if it does."""
    return f"{name} holds {pictures} pictures. All are sent, and a clip starts from the first." if pictures > 1 else ""
