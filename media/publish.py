"""Files that are whole or absent: written under a temporary name, and given their own when they are on the disk."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that somebody writes cannot be removed in the first place
    fcntl = None

PREFIX, SUFFIX = ".wan22-turbo-", ".part"  # hidden, and no gallery lists the ending
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`, which becomes `path` when the block ends normally.

    Leaving the block by an exception, an interrupt included, leaves nothing. What a killed process left behind in this
    folder goes first.

    Raises:
        OSError: The folder is missing or cannot be written to, or there is no room; the text says which.
    """
    remove_leftovers(path.parent)
    temporary = path.with_name(f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}")
    try:
        with _create(temporary) as file:  # a missing or read-only folder shows here, by name
            yield temporary
            os.fsync(file.fileno())  # on the disk before it has its name, or a power cut leaves an empty file
            if fcntl:
                temporary.replace(path)
        if not fcntl:
            temporary.replace(path)  # Windows renames closed files only
    except OSError as err:
        if err.errno not in NO_ROOM:
            raise
        raise OSError(
            err.errno,
            f"'{path.name}' could not be written: {os.strerror(err.errno)}. "
            "Make room on the disk, or save to another one. Nothing half-written was left",
        ) from err
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files in a folder that nobody writes any more, because their process was killed."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with suppress(OSError), path.open("rb+") as file:  # in use, or just gone
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        if not fcntl:
            with suppress(OSError):
                path.unlink()


def _create(path: Path) -> BinaryIO:
    """Creates a file and locks it; the system takes the lock off when the process ends, however it ends."""
    while True:
        file = path.open("xb")
        if fcntl is None:
            return file
        with suppress(OSError):  # a network drive without locks, where leftovers stay
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # else somebody took it for a leftover before the lock was on it
            return file
        file.close()
