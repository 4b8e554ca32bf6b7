"""Where clips go: into the study's folder, or to any address that fsspec takes; whole, under their own names."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SaveError, UsageError
from .table import CLIPS

SECRET = re.compile(r"://[^/]*@")  # who asks, and by which password, which may hold an @ too
PART = ".part-"  # before the name of a folder in which a clip arrives


@dataclass
class Kept:
    """The files of one job.

    Args:
        folder: Where they arrive.
        files: Those that have.
        clips: Where they are then: names below the study's folder, or whole addresses.
        size: Of all, in bytes.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    clips: tuple[str, ...] = ()
    size: int = 0


@contextmanager
def keep(target: str, name: str) -> Iterator[Kept]:
    """Takes the files of a job in a folder of their own, and gives them their names once all are there.

    The names are the job's, so that a job which is fetched again replaces what it made, and no other.

    Args:
        target: The study's folder, or an address.
        name: Of the job.

    Raises:
        SaveError: They cannot be written.
    """
    away = "://" in target
    parent = None if away else Path(target) / CLIPS
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{PART}{name}-", dir=parent))
    except OSError as error:
        raise SaveError(f"The clip could not be written: {error.strerror}.") from error
    kept = Kept(folder)
    try:
        yield kept
        kept.size = sum(path.stat().st_size for path in kept.files)
        named = {path: name + end for path, end in zip(kept.files, endings(kept.files), strict=True)}
        if away:
            send(target, named)
        else:
            for path, own in named.items():
                path.replace(Path(target) / CLIPS / own)
            sync(Path(target) / CLIPS)
        root = SECRET.sub("://", target).rstrip("/") if away else CLIPS
        kept.clips = tuple(f"{root}/{own}" for own in named.values())
    except OSError as error:
        raise SaveError(f"The clip could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def endings(files: list[Path]) -> list[str]:
    """Returns how the names of one job's files end: with a number where there are several."""
    return [path.suffix if len(files) == 1 else f"_{number}{path.suffix}" for number, path in enumerate(files, 1)]


def send(target: str, named: dict[Path, str]) -> None:
    """Sends files to an address.

    Raises:
        SaveError: It does not take them.
    """
    files, root = file_system(target)
    from fsspec.implementations.local import LocalFileSystem

    for path, name in named.items():
        try:
            files.makedirs(root, exist_ok=True)
            if isinstance(files, LocalFileSystem):  # whose put_file may leave half a clip
                write(Path(root) / name, path.read_bytes())
            else:
                files.put_file(str(path), f"{root}/{name}")
        except SaveError:
            raise
        except Exception as error:  # noqa: BLE001  # of whichever library speaks to that address
            raise SaveError(f"The clip could not be sent to {scheme(target)}: {type(error).__name__}.") from OSError(
                5, "The address does not take it"
            )


def file_system(target: str) -> tuple[Any, str]:
    """Returns who writes to an address, and the path there.

    Raises:
        UsageError: Nobody does.
    """
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise UsageError("An address for clips needs the package fsspec. Run: pip install fsspec") from error
    try:
        files, root = fsspec.core.url_to_fs(target)
    except (ImportError, ValueError, OSError) as error:
        raise UsageError(f"Clips cannot be sent to {scheme(target)}: {error}.") from error
    return files, root.rstrip("/")


def check(target: str) -> None:
    """Refuses an address that nobody here speaks to.

    Raises:
        UsageError: It is one.
    """
    if "://" in target:
        file_system(target)


def scheme(target: str) -> str:
    """Names an address without what may be secret in it."""
    return target.partition("://")[0] + "://..."


def make(folder: Path) -> None:
    """Makes the folder of the clips, without what killed runs left half-arrived there."""
    (folder / CLIPS).mkdir(parents=True, exist_ok=True)
    clean(folder)


def write(path: Path, content: bytes) -> None:
    """Writes a clip that came as bytes: whole or not at all.

    Raises:
        SaveError: It cannot be written.
    """
    part = path.with_name(f"{PART}{path.name}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SaveError(f"The clip could not be written: {error.strerror}.") from error


def sync(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, before the table says so; Windows and some disks cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clean(folder: Path) -> None:
    """Removes what killed runs left half-arrived. Nobody else may be at work in the folder."""
    for path in (folder / CLIPS).glob(f"{PART}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
