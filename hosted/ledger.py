"""Which job belongs to which request: one small JSON file per request, so that nothing is paid twice or forgotten.

A row holds digests, an id, a state and times. It holds no prompt, no picture, no address and no key.

    claimed ──> sent ──> done          the clip can be fetched as often as the provider keeps it
       │          ├────> failed        the next run starts a new job
       │          └────> missing       the provider did not know it; looked for once more before a new job starts
       └──> (row removed)              refused, or never left this machine

A row in whose place a new job is ordered is kept under another name, for the sums of what was spent.

"claimed" is on disk before the request leaves, "sent" with the job's id before the first poll. A row that is found
claimed by nobody alive is a request that may or may not have arrived.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..common import files, text
from .errors import HostedError

FOLDER = "__wan22_turbo"  # ComfyUI serves no user folder whose name begins with two underscores
POSIX = os.name == "posix"  # Windows has no such modes: there, the profile's folder is its owner's
PRIVATE = 0o077  # what nobody else may
State = Literal["claimed", "sent", "done", "failed", "missing"]
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LATEST = 1e11  # seconds since 1970: some three thousand years
WAKE = 0.1  # seconds between two looks at what other threads and processes do
STATES = ("claimed", "sent", "done", "failed", "missing")
LONGEST = 65_536  # bytes of a row; those of today have two thousand
KEPT_DAYS = 60  # long after every provider has forgotten the job


@dataclass(frozen=True)
class Row:
    """What is known of one request."""

    digest: str  # of the request
    provider: str
    model: str
    state: State
    posted: float  # seconds since 1970, just before the request left
    marks: Mapping[str, str] = field(default_factory=dict)  # digests of what was sent, to find the job by
    job_id: str | None = None
    usd: float | None = None  # its price, asked or estimated; None where nobody names one
    asked: bool = False
    flagged: bool | None = None  # by the provider's word, of a clip that is done
    charged: float | None = None  # US dollars, by the same word; None where it says none, for 0 is none yet


class Entry(NamedTuple):
    """A file of the ledger."""

    name: str  # without its ending
    row: Row | None  # None where the file holds none

    @property
    def retired(self) -> bool:
        """Whether another job was ordered in the place of this one."""
        return "-" in self.name


def digest_of(value: Any) -> str:
    """Identifies a value of a job without telling what it is; 1 and 1.0 are the same, as they are in JSON."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def marks_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Returns a digest of each parameter of a job: enough to find it, and nothing to read."""
    return {name: digest_of(value) for name, value in fields.items()}


class Ledger:
    """The rows, in a folder that is made when the first row is."""

    def __init__(self, folder: Path):
        self.folder = folder

    @contextlib.asynccontextmanager
    async def alone(self, name: str, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Waits until no other process holds a lock, and holds it. The event loop goes on meanwhile.

        On a disk that has no locks, the first row of a request is all that tells processes apart.

        Args:
            name: A request's digest, so that what a process found is still true when it changes it; or a day's lock.
            waiting: Is called before each wait.
        """
        make_folder(self.folder)
        path = self.folder / f"{name}.lock"
        while (handle := files.try_lock(path)) is None:
            waiting()
            await asyncio.sleep(WAKE)
        try:
            yield
        finally:
            files.unlock(path, handle)

    def find(self, digest: str) -> Row | None:
        """Returns the row of a request; HostedError if it cannot be read, for guessing could cost money."""
        try:
            content, status = files.read_bounded(self._path(digest), LONGEST)
            return _row(text.read_json(content), status.st_mtime)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise HostedError(
                f"The note of an earlier job cannot be read ({type(error).__name__}). Look up job and price at the "
                f"provider, then remove the file {digest}.json from ComfyUI's folder user/__wan22_turbo/jobs."
            ) from None

    def claim(self, row: Row) -> bool:
        """Writes the first row of a request. Returns whether nobody else had."""
        self._forget_old()
        try:
            self._write(row, replace=False)
        except FileExistsError:
            return False
        return True

    def change(self, row: Row, **changes: Any) -> Row:
        """Replaces a row, in one step that a crash cannot halve, and returns the new one."""
        row = dataclasses.replace(row, **changes)
        self._write(row)
        return row

    def remove(self, row: Row) -> None:
        """Forgets a request that led to no job."""
        files.remove(self._path(row.digest))

    def retire(self, row: Row) -> None:
        """Makes room for a new job of the same request. What the old one cost is still known."""
        files.move(self._path(row.digest), self.folder / f"{row.digest}-{time.time_ns()}.json")

    def entries(self, since: float = 0.0) -> Iterator["Entry"]:
        """Yields what the files hold that were written since a moment: rows, retired rows, and what is none."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                row = self.find(path.stem) if path.stat().st_mtime >= since else None
            except FileNotFoundError:
                continue  # it has just gone
            except HostedError:
                yield Entry(path.stem, None)
            else:
                if row:
                    yield Entry(path.stem, row)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _write(self, row: Row, replace: bool = True) -> None:
        make_folder(self.folder)
        with files.atomic_write(self._path(row.digest), replace) as file:
            file.write(json.dumps(dataclasses.asdict(row)).encode())

    def _forget_old(self) -> None:
        horizon = time.time() - KEPT_DAYS * 86_400
        for pattern in ("*.json", "*.part", "*.lock"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(OSError, HostedError):
                    if path.stat().st_mtime < horizon and (path.suffix != ".json" or self._led_nowhere(path.stem)):
                        path.unlink()

    def _led_nowhere(self, name: str) -> bool:
        row = self.find(name)
        return row is not None and (row.state in ("failed", "missing") or Entry(name, row).retired)


def _row(data: Any, written: float) -> Row:
    """Makes a row of what a file holds. What is damaged is left out, if the job can be found and told without it.

    Args:
        written: When the file was, for a row without a time.

    Raises:
        ValueError, TypeError: Too much of it is damaged.
    """
    row = Row(**data)
    told = (row.digest, row.provider, row.model, row.state)
    if not all(isinstance(value, str) and value.isprintable() and 0 < len(value) <= 200 for value in told):
        raise ValueError("not a row")
    if row.state not in STATES or not _DIGEST.fullmatch(row.digest):
        raise ValueError("not a row")
    job_id = text.job_id(row.job_id)
    posted = text.number(row.posted, _LATEST)
    return dataclasses.replace(
        row,
        job_id=job_id,
        state=row.state if job_id or row.state == "failed" else "claimed",  # to be looked for
        posted=written if posted is None else posted,
        marks=_marks(row.marks),
        usd=text.amount(row.usd),
        asked=row.asked is True,
        flagged=row.flagged if isinstance(row.flagged, bool) else None,
        charged=text.amount(row.charged) or None,
    )


def _marks(value: Any) -> dict[str, str]:
    """Returns the marks, or none at all: a part of them would fit another job."""
    if not isinstance(value, dict) or len(value) > 64:
        return {}
    whole = all(isinstance(mark, str) and _DIGEST.fullmatch(mark) and len(name) <= 64 for name, mark in value.items())
    return value if whole else {}


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
    """Takes from everybody but its owner what they may do in a folder; HostedError if it is another user's."""
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
