"""Lets one process at a time work on a request. The lock is the system's own, so a crash leaves none behind."""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from .folders import make_folder
from .timing import WAKE

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}  # Windows says EACCES


@contextlib.asynccontextmanager
async def alone(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Waits until no other process holds a file's lock, and holds it. The event loop goes on meanwhile.

    A file system that has no locks gives none: then the ledger's first row is all that tells processes apart.

    Args:
        path: Is made, and removed at the end.
        waiting: Is called before each wait.
    """
    make_folder(path.parent)
    while (handle := _take(path)) is None:
        waiting()
        await asyncio.sleep(WAKE)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
        os.close(handle)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # another process has it open by now
                path.unlink()


def _take(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.fchmod(handle, 0o600)  # the umask may have taken more
        _lock(handle)
        held = _is(path, handle)
    except OSError as error:
        held = error.errno not in _HELD
    except BaseException:
        os.close(handle)
        raise
    if not held:
        os.close(handle)
        return None
    return handle


def _is(path: Path, handle: int) -> bool:
    # Whoever held it before has removed the file, and someone else may have made it anew.
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
