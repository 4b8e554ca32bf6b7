"""Small pictures of a study's pictures, which its report shows: the pictures themselves may be anywhere."""

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps

from ..errors import UsageError
from ..pictures import UNREADABLE, check_size
from .plan import Job
from .table import Table

SIDE = 128  # pixels, of the longer one
QUALITY = 75  # of the JPEG: about 4 kB
MOST = 1000  # of one study


def keep(table: Table, jobs: Iterable[Job]) -> None:
    """Puts the pictures of jobs into the table, small and without what they tell of camera and place."""
    had = table.pictured()
    paths = {digest: Path(job.values[name]) for job in jobs for name, digest in job.files.items() if digest not in had}
    wanted = list(paths.items())[: max(0, MOST - len(had))]
    made = {digest: thumbnail(path) for digest, path in wanted if is_still(table, path, digest)}
    table.thumbnails({digest: small for digest, small in made.items() if small is not None})


def is_still(table: Table, path: Path, digest: str) -> bool:
    """Returns whether a file is the one that a job was planned with, and not another under its name by now."""
    try:
        return table.digest_of(path) == digest
    except UsageError:  # it is gone
        return False


def thumbnail(path: Path) -> bytes | None:
    """Returns a small JPEG of a picture; None of what is none."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of Pillow, about sizes and odd tags
            check_size(image, path.name)
            image.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is read at about that size
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((SIDE, SIDE))
            made = io.BytesIO()
            upright.save(made, "JPEG", quality=QUALITY)
    except (*UNREADABLE, UsageError):
        return None
    return made.getvalue()
