"""The set-up's cache folder: where it is, what in it is whole, and one set-up at a time."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STAMP = ".finished"


class SetupError(Exception):
    """The set-up cannot go on. The text is one sentence or two that say what to do."""


def cache_dir() -> Path:
    """Returns the folder that everything installed is kept in."""
    named = os.environ.get("WAN22_TURBO_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "wan22-turbo"


def census(folder: Path) -> str:
    """Counts what a finished folder holds, without what running it adds."""
    files = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        files += sum(not name.endswith(".pyc") and name != STAMP for name in names)
    return str(files)


def mark_finished(folder: Path) -> None:
    """Writes the stamp, as the last step of making a folder."""
    (folder / STAMP).write_text(census(folder), encoding="utf-8")


def finished(folder: Path) -> bool:
    """Returns whether a folder was made to its end and has lost nothing since."""
    try:
        expected = int((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return int(census(folder)) >= expected


def remove(folder: Path) -> None:
    """Removes a folder of the cache, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def need_space(gigabytes: float) -> None:
    """Refuses to begin an installation that the disk cannot hold."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise SetupError(
            f"The set-up needs {gigabytes:.0f} GB of disk, {folder} has {free:.1f} GB free. "
            "Free some, or set WAN22_TURBO_CACHE to a folder on another disk."
        )


@contextmanager
def lock(say: Callable[[str], None]) -> Iterator[None]:
    """Lets one set-up at a time into the cache; the operating system releases it if the process dies."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        file = (cache_dir() / "lock").open("a+b")
    except OSError as error:
        raise SetupError(
            f"The cache folder {cache_dir()} cannot be written: {error}. Set WAN22_TURBO_CACHE."
        ) from error
    with file:
        waiting = False
        while not try_lock(file.fileno()):
            if not waiting:
                say("Waiting for another set-up to finish")
            waiting = True
            time.sleep(0.5)
        yield


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Takes the lock if it is free."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Takes the lock if it is free."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def tag() -> str:
    """Names the interpreter that an environment belongs to."""
    return f"py{sys.version_info[0]}{sys.version_info[1]}-{sys.platform}-{platform.machine()}"
