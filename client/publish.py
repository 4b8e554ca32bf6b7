"""Gives a downloaded file its place on the disk: whole, under its own name, beside what is there already."""

import errno
import glob
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import SaveError

LONG = 86_400.0  # seconds, for which nobody writes a file
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def flush(part: BinaryIO, say: Callable[[str], None]) -> None:
    """Waits until a file is on the disk. A disk that cannot say so costs no clip.

    Raises:
        OSError: There is no room, which some disks notice only now.
    """
    part.flush()
    try:
        os.fsync(part.fileno())
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        say(f"The disk does not confirm that the clip is on it ({error.strerror}). Play it before you rely on it.")


def is_one_of(path: Path, files: Sequence[Path]) -> bool:
    """Returns whether a name is that of one of some files, however the disk tells names apart."""
    return path.exists() and any(file.exists() and path.samefile(file) for file in files)


def published(temporary: Path, path: Path, overwrite: bool) -> Path:
    """Gives a whole file its name: this one, or the next that nobody has."""
    if overwrite:
        return temporary.replace(path)
    name = reserve(path)
    try:
        return temporary.replace(name)
    except OSError:
        with suppress(OSError):
            name.unlink()  # the empty one
        raise


def reserve(path: Path) -> Path:
    """Makes an empty file under the first name that nobody has: clip.mp4, clip (1).mp4, and so on."""
    name, number = path, 0
    while True:
        try:
            name.open("x").close()
        except FileExistsError:
            number += 1
            name = path.with_name(f"{path.stem} ({number}){path.suffix}")
        else:
            return name


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives a name to write under, and then the file its own, in place of the one before: whole, or that stays.

    What a process that was killed left of the same file goes too, once it is so old that nobody is writing it.

    Raises:
        SaveError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # another process may write the same now
    try:
        for old in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > LONG:
                    old.unlink()
        yield part
        part.replace(path)
    except OSError as error:
        raise SaveError(f"{path.name} could not be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # it has its name, or is no more than a part
            part.unlink()
