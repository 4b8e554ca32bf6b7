"""Files that are whole or absent: written under a temporary name, and given their own when they are on the disk.

A name is taken, not looked up: no finished file is ever replaced, whichever process or machine writes beside this one.
"""

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..common.files import move

try:
    import fcntl
except ImportError:  # Windows, where a file that somebody writes cannot be removed in the first place
    fcntl = None

PREFIX, SUFFIX = ".wan22-turbo-", ".part"  # hidden, and no gallery lists the ending
LATENT = ".latent"
FORGOTTEN = 86_400  # seconds after which Windows' temporary files are leftovers
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class NoRoomError(OSError):
    """The disk has no room for a file, which the text names."""


class Place:
    """Where a finished file goes: one name, if nobody has it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # of a `NextName` the file's name when `publish` has ended
        self.warning = ""  # what a person must know about the finished file

    def take(self, file: Path) -> None:
        """Gives a finished file its name; FileExistsError if that is taken."""
        move(file, self.path)


class NextName(Place):
    """The next free name of a series: `clip_00001_.mp4`, `clip_00002_.mp4`.

    Which number that is shows when the file is finished: a clip takes minutes, and somebody else may be faster.

    Args:
        folder: Where the series is.
        stem: The beginning of each name.
        suffix: The end of each name, with its dot.
        latent: A file of another such series that belongs to this one. It brings its number, and where that is taken
            by now, it goes along to the next one. If it has none, it gets that of this file.
    """

    def __init__(self, folder: Path, stem: str, suffix: str, latent: Path | None = None) -> None:
        super().__init__(folder / f"{stem}{suffix}")
        self.stem, self.suffix, self.latent = stem, suffix, latent

    def take(self, file: Path) -> None:
        """Gives a finished file the next free name."""
        folder = self.path.parent
        number = number_of(self.latent.name, self.stem) if self.latent else 0
        number = number or next_number(folder, self.stem)
        while True:
            name = f"{self.stem}_{number:05}_"
            with suppress(FileExistsError):
                self._bring_latent(folder / (name + LATENT))
                move(file, folder / (name + self.suffix))
                self.path = folder / (name + self.suffix)
                return
            number += 1

    def _bring_latent(self, path: Path) -> None:
        if self.latent and self.latent.name != path.name:
            with suppress(FileNotFoundError):  # somebody removed it, which is no reason to lose the clip
                move(self.latent, path)
            self.latent = path


@contextmanager
def publish(path: str | os.PathLike[str] | Place) -> Iterator[Path]:
    """Yields a temporary name in the same folder; what lies there gets its own name when the block ends normally.

    Leaving the block by an exception, an interrupt included, leaves nothing. What a killed process left behind in this
    folder goes first.

    Raises:
        FileExistsError: Somebody has the name; never for a `NextName`.
        OSError: The folder is missing or cannot be written to, or there is no room; the text says which, and names
            neither the folder's path nor the temporary file.
    """
    place = path if isinstance(path, Place) else Place(path)
    remove_leftovers(place.path.parent)
    temporary = place.path.with_name(f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}")
    try:
        with _create(temporary) as file:  # a missing or read-only folder shows here
            yield temporary
            unsure = _flush(file)
            if fcntl:
                place.take(temporary)
        if not fcntl:
            place.take(temporary)  # Windows renames closed files only
        if unsure:
            place.warning = (
                f"The disk did not confirm that '{place.path.name}' is stored for good ({unsure}). "
                "The file is there; copy it to another disk if you need it."
            )
    except NoRoomError:  # for another file, which was to be written meanwhile
        raise
    except Exception as err:
        if getattr(err, "errno", None) in NO_ROOM or temporary.name in str(err):  # FFmpeg's errors are not all OSErrors
            raise plain(err, place.path) from err
        raise
    finally:
        with suppress(OSError):  # a leftover then; what happened before it counts
            temporary.unlink()


def next_number(folder: Path, stem: str) -> int:
    """Returns one more than the highest number of a series, whatever ends the names in it."""
    return max((number_of(name, stem) for name in os.listdir(folder)), default=0) + 1


def number_of(name: str, stem: str) -> int:
    """Returns the number that follows a stem in a name, `clip_00012_.mp4` or `clip_00012.png`; else 0."""
    start, rest = os.path.normcase(name[: len(stem)]), name[len(stem) :]
    # Longer ones are no counters but dates and the like, and a counter that followed them would be as long.
    found = re.match(r"_([0-9]{1,12})(?:[_.]|$)", rest) if start == os.path.normcase(stem) else None
    return int(found[1]) if found else 0


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files in a folder that nobody writes any more, because their process was killed.

    Where the system has no such locks, a file of today may be a finished one that is about to get its name.
    """
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        if fcntl is None:
            with suppress(OSError):  # in use, or just gone
                if path.stat().st_mtime < time.time() - FORGOTTEN:
                    path.unlink()
            continue
        with suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def check_writable(folder: Path) -> None:
    """Creates a file and removes it; OSError if the folder takes none."""
    path = folder / f"{PREFIX}{uuid.uuid4().hex}{SUFFIX}"
    _create(path).close()
    path.unlink(missing_ok=True)  # another process may have taken it for a leftover by now


def plain(err: Exception, path: Path) -> OSError:
    """Returns an error that says why a file could not be written, without the folders above its own.

    It is of the kind of Python's that belongs to the number of `err`.
    """
    number = getattr(err, "errno", None) or errno.EIO
    reason = getattr(err, "strerror", None) or os.strerror(number)
    if number in NO_ROOM:
        text = f"'{path.name}' could not be written: {reason}. Make room on the disk, or save to another one. "
        return NoRoomError(number, f"{text}Nothing half-written was left")
    text = f"'{path.name}' could not be written into the folder '{path.parent.name}': {reason}. "
    remedy = "Choose another name" if number == errno.EEXIST else "See that it exists and that ComfyUI may write there"
    return OSError(number, text + remedy)


def _flush(file: BinaryIO) -> str:
    """Waits until a file is on the disk, or a power cut leaves an empty one; returns what the disk says against it."""
    try:
        os.fsync(file.fileno())
    except OSError as err:
        if err.errno in NO_ROOM:  # some disks notice only now
            raise
        return os.strerror(err.errno or errno.EIO)
    return ""


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
