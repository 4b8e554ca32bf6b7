"""The parts of long clips on the disk: a latent each, named by the digest of all that decides it.

A part is written when it is sampled, whole or not at all, so that a cancelled, failed or killed run goes on where it
stopped. A part goes when nobody has used it for `DAYS`, or earlier, the longest unused first, when all of them take
more than `ROOM`. The parts of the clip that is being made stay.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .publish import plain, publish

SUFFIX = ".safetensors"
DAYS, ROOM = 14, 4 * 2**30  # bytes; a part of 5 s at 720p has 19 MB
TENSOR = "latent"  # in a file, with `Kept` as text in its header


class Kept(NamedTuple):
    """What a file says of its part without being read whole.

    Args:
        story: Digest of the clip's lines and settings, whatever its picture is and whoever samples it.
        size: Of the frames.
        sampled_by: Names and versions of what sampled it; "" in files from before they were kept.
    """

    story: str
    size: str
    sampled_by: str = ""


class PartStore:
    """The parts in a folder, which is made when the first one comes.

    Args:
        folder: Of all long clips of this ComfyUI.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, digest: str) -> bool:
        """Returns whether a part is there."""
        return self._path(digest).is_file()

    def load(self, digest: str) -> torch.Tensor | None:
        """Returns a part's latent, and counts it as used; None where there is none, or none that can be read."""
        path = self._path(digest)
        try:
            with safe_open(path, "pt") as file:
                latent = file.get_tensor(TENSOR)
        except OSError:  # gone
            return None
        except SafetensorError:  # damaged: it is made again
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            path.touch()
        return latent

    def save(self, digest: str, latent: torch.Tensor, kept: Kept) -> torch.Tensor:
        """Writes a part, and returns the latent that is on the disk now.

        That is another process's where one was faster: later parts on the disk may have grown from it, and on another
        card the same inputs give other numbers.

        Raises:
            OSError: The disk does not take it; the text says why, and what to do.
        """
        path = self._path(digest)
        content = save({TENSOR: latent.cpu().contiguous()}, kept._asdict())
        try:
            self.folder.parent.mkdir(0o700, parents=True, exist_ok=True)  # what is in it may be private
            self.folder.mkdir(0o700, exist_ok=True)
        except OSError as err:
            raise plain(err, path) from err
        try:
            with publish(path) as temporary:
                temporary.write_bytes(content)
        except FileExistsError:
            found = self.load(digest)
            return latent if found is None else found
        return latent

    def of_story(self, story: str) -> set[Kept]:
        """Returns what the files of a story's parts say, whatever its pictures are."""
        found = (self._describe(path) for path, _ in self._files())
        return {kept for kept in found if kept and kept.story == story}

    def clean(self, needed: Iterable[str], days: float = DAYS, room: float = ROOM) -> int:
        """Removes old parts, and returns how many.

        Args:
            needed: Digests of those that stay.
            days: For which a part may be unused.
            room: Bytes that all may take.
        """
        stay = {self._path(digest) for digest in needed}
        files = sorted(self._files(), key=lambda file: file[1].st_mtime, reverse=True)
        taken, removed = 0, 0
        for path, status in files:
            taken += status.st_size
            old = status.st_mtime < time.time() - days * 86400
            if path not in stay and (old or taken > room):
                with suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        return self.folder / (digest + SUFFIX)

    def _files(self):
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # another process has just removed it
                yield path, path.stat()

    def _describe(self, path: Path) -> Kept | None:
        with suppress(OSError, SafetensorError, TypeError), safe_open(path, "pt") as file:
            return Kept(**(file.metadata() or {}))
        return None
