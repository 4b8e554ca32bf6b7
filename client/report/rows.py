"""What the table of a study says, read while anybody may be writing into it."""

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

from ..batch.table import VERSION
from ..batch.trouble import FILE
from ..errors import UsageError

REPORT = "Clip Report"  # the stage in which a clip is measured, which is no part of making it


@dataclass(frozen=True, slots=True)
class Row:
    """A job of a study, as its table has it. See docs/studies.md for the columns."""

    number: int
    state: str
    variant: str
    graph: str
    picture: str
    prompt: str
    seed: int | str | None  # as text where SQLite has no such number
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    digest: str
    server: str
    tries: int
    waited: float | None
    seconds: float | None
    stages: Mapping[str, float]
    usd: float | None
    failed_usd: float | None
    clips: tuple[str, ...]
    numbers: Mapping[str, float]
    texts: str
    error: str

    @property
    def latency(self) -> float | None:
        """Seconds of the run without Clip Report's, by the server's clock."""
        return None if self.seconds is None else max(0.0, self.seconds - self.stages.get(REPORT, 0.0))

    @property
    def in_vain(self) -> float:
        """US dollars that tries may have cost which left no clip."""
        return (self.failed_usd or 0.0) + (0.0 if self.state == "done" else self.usd or 0.0)

    @property
    def values(self) -> dict[str, float]:
        """What was measured of the job, by name; of one that is not done, nothing."""
        if self.state != "done":
            return {}
        own = {"latency": self.latency, "usd": self.usd}
        return {name: value for name, value in own.items() if value is not None} | dict(self.numbers)


@dataclass(frozen=True)
class Told:
    """A study.

    Args:
        about: What is so of all of it: its name, text and versions.
        rows: Its jobs, in their order.
        thumbnails: Small JPEGs of its pictures, by the sha256 of these.
    """

    about: Mapping[str, str]
    rows: list[Row]
    thumbnails: Mapping[str, bytes]


def read(folder: Path) -> Told:
    """Reads the table in a study's folder.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    path = folder / FILE
    if not os.path.isfile(path):  # that of a path raises where a name is too long
        raise UsageError(
            f"{folder.name or folder} holds no study: there is no {FILE} in it. "
            "Name the folder that `python client batch` prints."
        )
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as table:
            table.row_factory = sqlite3.Row
            if table.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                raise UsageError(f"{FILE} in {folder.name} was made by another version of this program. Use that.")
            about = dict(map(tuple, table.execute("SELECT key, value FROM study")))
            rows = [row_of(dict(each)) for each in table.execute("SELECT * FROM jobs WHERE wanted ORDER BY number")]
            kept = table.execute("SELECT count(*) FROM sqlite_master WHERE name = 'pictures'").fetchone()[0]
            thumbnails = dict(map(tuple, table.execute("SELECT digest, thumbnail FROM pictures"))) if kept else {}
    except (sqlite3.Error, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{FILE} in {folder.name} is no table of a study that can be read ({error}).") from error
    if not rows:
        raise UsageError(f"The study in {folder.name} has no job. Run it first: python client batch STUDY.")
    return Told(about, rows, thumbnails)


def row_of(said: Mapping[str, Any]) -> Row:
    """Reads a row; one of an earlier version lacks some columns."""
    given = {name: said.get(name) for name in Row.__dataclass_fields__}
    for name in ("settings", "files", "stages", "numbers"):
        given[name] = {intern(key): value for key, value in dict(json.loads(given[name] or "{}")).items()}
    for name in ("state", "variant", "graph", "picture", "prompt", "server", "texts", "error"):
        given[name] = intern(given[name] or "")  # thousands of rows say the same
    return Row(**{**given, "clips": tuple(json.loads(given["clips"] or "[]"))})
