"""The table of a study: one SQLite file with a row for each job, on the disk before anything is sent or believed.

    open ──> posted ──> done        the clip is in the folder
      ^        ├──────> failed      a node failed, `tries` times
      │        └──────> refused     the server does not take it, or it cannot be sent
      └────────┘                    the server lost it, or is away

Of all that is in it, rows and columns are for people: `sqlite3 FOLDER/study.sqlite "select * from jobs"`.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .plan import Job, bytes_digest
from .trouble import FILE, told

SERVER = "server "  # before the name of one, what it runs
LOCK = ".study.lock"  # held by the one process that works in the folder; the system lets go of it when that dies
CLIPS = "clips"
VERSION = 1
COLUMNS = {  # of the jobs, in the order in which people read them
    "number": "INTEGER PRIMARY KEY", "state": "TEXT NOT NULL DEFAULT 'open'", "variant": "TEXT NOT NULL",
    "graph": "TEXT NOT NULL", "picture": "TEXT NOT NULL", "prompt": "TEXT NOT NULL", "seed": "",
    "settings": "TEXT NOT NULL", "files": "TEXT", "digest": "TEXT NOT NULL UNIQUE",
    "wanted": "INTEGER NOT NULL DEFAULT 1", "tries": "INTEGER NOT NULL DEFAULT 0", "lost": "INTEGER NOT NULL DEFAULT 0",
    "server": "TEXT", "prompt_id": "TEXT", "posted": "REAL", "finished": "REAL", "waited": "REAL", "seconds": "REAL",
    "stages": "TEXT", "usd": "REAL", "carried": "INTEGER NOT NULL DEFAULT 0", "clips": "TEXT",
    "failed_usd": "REAL NOT NULL DEFAULT 0", "bytes": "INTEGER", "numbers": "TEXT", "texts": "TEXT", "error": "TEXT",
}  # fmt: skip
OBJECTS = ("settings", "files", "stages", "numbers")  # columns that hold a JSON object; several of a CSV file
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (key TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (digest TEXT PRIMARY KEY, thumbnail BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS jobs ({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())});
"""


@dataclass(frozen=True)
class Result:
    """What became of a job that ended well.

    Args:
        clips: Where they are: names in the folder of the clips, or whole addresses.
        size: Of them all, in bytes.
        waited: Seconds in the server's queue; None where that was not seen.
        seconds: Of the run, by the server's clock.
        stages: Seconds of each node, by its title; of a run that was not watched, none.
        usd: What it cost; None where nobody says.
        numbers: What the server measured of the clip.
        texts: What its nodes report.
    """

    clips: tuple[str, ...]
    size: int
    waited: float | None = None
    seconds: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    usd: float | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What the table knows of a job that is not done."""

    number: int
    digest: str
    state: str
    server: str | None
    prompt_id: str | None
    tries: int
    lost: int
    usd: float | None = None  # as it was posted last
    carried: bool = False  # that stands for an earlier try as well, which may have paid what the server remembers
    failed_usd: float = 0.0  # of earlier tries, whose hosted jobs left no clip
    clips: str | None = None  # that it had before: posted, it is only to be fetched again


class Table:
    """The table in a folder. One process at a time works in it; within that, whoever calls takes turns.

    Args:
        folder: Is made if it is missing.

    Raises:
        UsageError: Another process works in it, or the file is none of this program's.
        SaveError: There is no room for it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with told(folder):
            (folder / CLIPS).mkdir(parents=True, exist_ok=True)
            self.lock = sqlite3.connect(folder / LOCK, isolation_level=None, timeout=0, check_same_thread=False)
            self.lock.execute("BEGIN EXCLUSIVE")
            self.rows = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
            self.begin()

    def begin(self) -> None:
        """Makes what the file lacks, if it is this program's."""
        self.rows.row_factory = sqlite3.Row
        if self.rows.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            raise UsageError(
                f"{FILE} in {self.folder.name} was made by a newer version of this program. Use that or another folder."
            )
        self.rows.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)  # for power cuts
        with self.together():
            self.add_columns()
        self.rows.execute(f"PRAGMA user_version={VERSION}")

    def add_columns(self) -> None:
        """Adds the columns that the table of an earlier version lacks."""
        lacks = COLUMNS.keys() - {row["name"] for row in self.rows.execute("PRAGMA table_info(jobs)")}
        for name in lacks:
            self.rows.execute(f"ALTER TABLE jobs ADD COLUMN {name} {COLUMNS[name]}")
        if "carried" in lacks:  # where that version does not tell, rather counted twice than not at all
            paid = "state = 'posted' AND clips IS NULL OR tries + lost > 0 AND (usd IS NOT NULL OR failed_usd = 0)"
            self.rows.execute(f"UPDATE jobs SET carried = {paid}")

    def close(self) -> None:
        """Writes all into the one file, and lets others in."""
        self.rows.close()
        self.lock.close()

    def digest_of(self, path: Path) -> str:
        """Returns the digest of a file's bytes, from the table where the file has not changed since."""
        try:
            there = path.stat()
        except OSError:
            return bytes_digest(path)
        key = hashlib.sha256(str(path).encode(errors="replace")).hexdigest()  # a folder's name is nobody's business
        mark = (there.st_size, max(there.st_mtime_ns, there.st_ctime_ns))  # a copy may bring an old time with it
        known = self.rows.execute("SELECT size, changed, digest FROM files WHERE key = ?", (key,)).fetchone()
        if known and tuple(known)[:2] == mark:
            return known["digest"]
        digest = bytes_digest(path)
        with told(self.folder):
            self.rows.execute("REPLACE INTO files VALUES (?, ?, ?, ?)", (key, *mark, digest))
        return digest

    def plan(self, jobs: Iterable[Job], about: Mapping[str, Any]) -> None:
        """Writes down which jobs the study has now. Those that it no longer has stay, unwanted."""
        rows = (
            (each.digest, each.variant, each.graph, each.picture, each.prompt, each.kept_seed,
             json.dumps(each.shown(), ensure_ascii=False), written(each.files))
            for each in jobs
        )  # fmt: skip
        with self.together():
            self.rows.execute("UPDATE jobs SET wanted = 0")
            self.rows.executemany(
                "INSERT INTO jobs (digest, variant, graph, picture, prompt, seed, settings, files) "
                "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (digest) DO UPDATE SET wanted = 1, variant = excluded.variant, "
                "picture = excluded.picture, files = excluded.files",
                rows,
            )
            self.note(about)

    def note(self, about: Mapping[str, Any]) -> None:
        """Writes down what is so of the whole study."""
        with told(self.folder):
            self.rows.executemany("REPLACE INTO study VALUES (?, ?)", [(key, str(said)) for key, said in about.items()])

    def identity(self) -> str:
        """Returns what tells this study from every other one, wherever its folder lies: drawn once, and kept."""
        with told(self.folder):
            self.rows.execute("INSERT OR IGNORE INTO study VALUES ('id', lower(hex(randomblob(16))))")
        return self.rows.execute("SELECT value FROM study WHERE key = 'id'").fetchone()[0]

    def thumbnails(self, found: Mapping[str, bytes]) -> None:
        """Keeps small JPEGs of the study's pictures, by the sha256 of these, for its report."""
        with self.together():
            self.rows.executemany("REPLACE INTO pictures VALUES (?, ?)", found.items())

    def pictured(self) -> set[str]:
        """Returns the sha256 of the pictures of which there is one."""
        return {row["digest"] for row in self.rows.execute("SELECT digest FROM pictures")}

    def again(self, tries: int, refused: bool, most: int) -> None:
        """Opens failed jobs of fewer tries, refused ones if asked. A job lost `most` times is asked after once more."""
        state = "iif(lost >= ?3 AND prompt_id IS NOT NULL, 'posted', 'open'), lost = min(lost, ?3 - 1)"
        which = "state = 'failed' AND tries < ?1 OR state = 'refused' AND ?2"
        with told(self.folder):
            self.rows.execute(f"UPDATE jobs SET state = {state} WHERE {which}", (tries, refused, most))

    def left(self) -> list[Known]:
        """Lists the jobs that are to be done, in their order."""
        asked = f"SELECT {', '.join(Known.__dataclass_fields__)} FROM jobs WHERE wanted AND state IN ('open', 'posted')"
        return [Known(*row) for row in self.rows.execute(f"{asked} ORDER BY number")]

    def posted(self, number: int, server: str, prompt_id: str, usd: float | None = None) -> None:
        """Writes down that a job is about to be sent, and what it may cost from now on."""
        self.set(number, state="posted", server=server, prompt_id=prompt_id, posted=time.time(), usd=usd)

    def done(self, number: int, result: Result) -> None:
        """Writes down a job's clips."""
        self.set(
            number, state="done", finished=time.time(), waited=result.waited, seconds=result.seconds, usd=result.usd,
            stages=written(result.stages), clips=json.dumps(result.clips), bytes=result.size, error=None,
            numbers=written(result.numbers), texts="\n".join(result.texts) or None,
        )  # fmt: skip

    def reopen(self, known: Known, error: str) -> None:
        """Writes down why a job is not done, and all that is known of it now: its money moves with its state."""
        self.set(**asdict(known), error=error, finished=None if known.state in ("open", "posted") else time.time())

    def set(self, number: int, **values: Any) -> None:
        """Writes values into a job's row, and returns when they are on the disk."""
        names = ", ".join(f"{name} = ?" for name in values)
        with told(self.folder):
            self.rows.execute(f"UPDATE jobs SET {names} WHERE number = ?", (*values.values(), number))

    def counts(self) -> dict[str, int]:
        """Counts the wanted jobs by state."""
        return dict(map(tuple, self.rows.execute("SELECT state, count(*) FROM jobs WHERE wanted GROUP BY state")))

    def spent(self) -> float:
        """Returns what all tries of all jobs cost so far, or may have cost, also of those that are no longer wanted."""
        return self.rows.execute("SELECT total(usd) + total(failed_usd) FROM jobs").fetchone()[0]

    def measured(self) -> dict[str, tuple[int, float]]:
        """Returns how many jobs of each variant were timed, and how many seconds one takes."""
        asked = "SELECT variant, count(*), avg(seconds) FROM jobs WHERE seconds IS NOT NULL GROUP BY variant"
        return {variant: (count, mean) for variant, count, mean in self.rows.execute(asked)}

    def wanted(self) -> Iterator[dict[str, Any]]:
        """Yields the rows of the study's jobs."""
        yield from map(dict, self.rows.execute("SELECT * FROM jobs WHERE wanted ORDER BY number"))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes all of what is inside, or nothing."""
        with told(self.folder), self.rows:
            self.rows.execute("BEGIN")
            yield


def written(values: Mapping[str, Any]) -> str | None:
    """Returns an object as JSON, None for an empty one."""
    return json.dumps(values, ensure_ascii=False) if values else None
