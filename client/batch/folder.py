"""The folder of a study: opened, removed again where nothing came of it, and what somebody took out of it."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from .table import CLIPS, LOCK, Table
from .trouble import FILE, told


class Copy(Table):
    """The table in a folder as it is now, or a new one, in memory: whatever is written into it, the folder stays.

    Raises:
        UsageError: The file is none of this program's.
        SaveError: It cannot be read.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with told(folder):
            if (folder / FILE).is_file():
                read = f"{(folder / FILE).absolute().as_uri()}?mode=rw"  # else SQLite leaves files of its own behind
                with closing(sqlite3.connect(read, uri=True)) as there:  # also while a batch writes into it
                    there.backup(self.rows)
            self.begin()

    def close(self) -> None:
        """Forgets all."""
        self.rows.close()


@contextmanager
def opened(folder: Path) -> Iterator[Table]:
    """Opens the table of a study, and closes it whatever happens. What is new is removed again if it has no job."""
    with told(folder):
        new = [each for each in (folder, *folder.parents) if not each.exists()]
    table = Table(folder)
    try:
        yield table
    finally:
        if new and not table.counts():
            remove(table, new)
        else:
            table.close()


def remove(table: Table, folders: Iterable[Path]) -> None:
    """Closes a table, and removes it with its folder and those around it, unless there is something else in one."""
    table.rows.close()
    with suppress(OSError):  # while nobody else can have begun there
        (table.folder / CLIPS).rmdir()
        (table.folder / FILE).unlink()
        (table.folder / LOCK).unlink()
    table.close()
    with suppress(OSError):
        if os.name == "nt":  # which removes no file that is open: this one while it was, or another's now
            (table.folder / LOCK).unlink(missing_ok=True)
        for folder in folders:
            folder.rmdir()


def gone(table: Table) -> list[int]:
    """Lists the jobs that are done, and whose clips are no longer in the folder."""
    done = table.rows.execute("SELECT number, clips FROM jobs WHERE wanted AND state = 'done'")
    made = ((number, clip) for number, clips in done for clip in json.loads(clips) if "://" not in clip)
    return list(dict.fromkeys(number for number, clip in made if not (table.folder / clip).is_file()))


def fetch(table: Table, numbers: Iterable[int]) -> None:
    """Writes down that clips are to be fetched again from where they were made, or made again if that is gone."""
    with table.together():
        for number in numbers:
            table.set(number, state="posted")
