"""Folders that only their owner can enter, whatever the umask, and what is read from them."""

import os
import stat
from pathlib import Path

from .errors import HostedError

FOLDER = "__wan22_turbo"  # ComfyUI serves no user folder whose name begins with two underscores
POSIX = os.name == "posix"  # Windows has no such modes: there, the profile's folder is its owner's
PRIVATE = 0o077  # what nobody else may


def make_folder(path: Path) -> None:
    """Makes a folder and those above it that are missing, and closes what of this pack's own was left open.

    Raises:
        HostedError: It is open to others, and cannot be closed.
        OSError: It cannot be made.
    """
    line = [path, *path.parents]
    ours = next((index for index, each in enumerate(line) if each.name == FOLDER), 0)
    for each in reversed(line):
        try:
            each.mkdir(0o700)
        except FileExistsError:
            if each not in line[: ours + 1]:
                continue  # ComfyUI's own, or the machine's
        except OSError:
            if not each.is_dir():
                raise
            continue
        close(each)


def close(folder: Path) -> None:
    """Takes from everybody but its owner what they may do in a folder.

    Raises:
        HostedError: It is not this user's to change.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not POSIX or mode == 0o700:
        return
    try:
        os.chmod(folder, 0o700)
    except OSError:
        if mode & PRIVATE:
            raise HostedError(
                f"A folder of keys and paid jobs must be open to its owner alone, got mode {mode:04o}. Run: "
                f"chmod 700 {folder.name}, in ComfyUI's folder user{'' if folder.name == FOLDER else f'/{FOLDER}'}, "
                "as the user who owns it."
            ) from None


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
