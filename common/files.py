"""Files that are whole or absent, names that nobody else has, and the lock of a file.

The lock is the system's own, so that a crash leaves none behind, and the file goes with it. `filelock` is not used:
where a disk has no locks it raises, or takes a file for a lock, which a crash leaves behind.
"""

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_NO_SYNC = {
    errno.EINVAL,
    errno.EBADF,
    errno.ENOTSUP,
}  # of disks that confirm files alone; PostgreSQL spares the first two
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}  # Windows says EACCES


@contextlib.contextmanager
def atomic_write(path: Path, replace: bool = True) -> Iterator[IO[bytes]]:
    """Yields a file that only its owner can read, and gives it its name when the block ends normally.

    By then it is on the disk, so that a crash or a power cut leaves the old file or the new one. An exception leaves
    nothing.

    Args:
        replace: An older file of that name goes.

    Raises:
        FileExistsError: The name is taken, and must not be replaced.
        OSError: It cannot be written.
    """
    file = tempfile.NamedTemporaryFile(suffix=".part", dir=path.parent, delete=False)  # noqa: SIM115  # closed below
    name = file.name
    try:
        os.chmod(name, 0o600)  # the umask may have taken more
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        if replace:
            os.replace(name, path)
        else:
            move(Path(name), path)
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # it tries once more to write what had no room
            file.close()
        with contextlib.suppress(OSError):  # gone, or on Windows still open elsewhere
            Path(name).unlink()


def move(source: Path, target: Path) -> None:
    """Renames a file, but never onto something: a file, a folder, or a link even if that leads nowhere.

    Raises:
        FileExistsError: The new name is taken.
        OSError: The folder cannot be written to.
    """
    if os.name == "nt":  # where renaming refuses by itself
        source.rename(target)
        return
    try:
        os.link(source, target)  # the one step that takes a name and cannot replace
    except FileExistsError:
        if not _same(source, target):  # NFS may do what it is told, and lose the answer
            raise
    except FileNotFoundError:
        raise
    except OSError:  # a disk without hard links, such as FAT and some network drives
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            source.replace(target)
        except OSError:
            if source.exists():
                target.unlink()
            raise
        return
    with contextlib.suppress(OSError):  # the name is taken; an old one that stays does no harm
        source.unlink()


def remove(path: Path) -> None:
    """Removes a file, if it is there, for good: a power cut does not bring it back."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def read_bounded(path: Path, longest: int) -> tuple[bytes, os.stat_result]:
    """Returns a file's content and what the system says of that very file. Nothing is waited for.

    Raises:
        OSError: It is none, or cannot be read.
        ValueError: It is longer than so many bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would not answer
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a file")
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError("too long")
    return content, status


def try_lock(path: Path) -> int | None:
    """Makes a file and locks it. Returns its handle for `unlock`, or None while somebody else holds the lock.

    A disk that has no locks refuses nobody.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.fchmod(handle, 0o600)  # the umask may have taken more
        _lock(handle)
        held = _is_open(path, handle)
    except OSError as error:
        held = error.errno not in _HELD
    except BaseException:
        os.close(handle)
        raise
    if not held:
        os.close(handle)
        return None
    return handle


def unlock(path: Path, handle: int) -> None:
    """Removes a file that `try_lock` made, and its lock."""
    with contextlib.suppress(OSError):  # Windows removes no open file
        path.unlink()
    os.close(handle)
    if sys.platform == "win32":
        with contextlib.suppress(OSError):  # another process has it open by now
            path.unlink()


def _sync(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise
        finally:
            os.close(handle)


def _is_open(path: Path, handle: int) -> bool:
    # Whoever held it before has removed the file, and someone else may have made it anew.
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _same(source: Path, target: Path) -> bool:
    try:
        return os.path.samestat(source.lstat(), target.lstat())
    except FileNotFoundError:
        return False
