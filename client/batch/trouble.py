"""Sentences for what can be wrong with the table of a study."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SaveError, UsageError

FILE = "study.sqlite"


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turns what is wrong with the file into an error with a sentence.

    Raises:
        UsageError: Another process has it, or it is no such file.
        SaveError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise SaveError(f"The results cannot be written into {folder.name}: {error.strerror}.") from error
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise UsageError(
                f"Another batch works in {folder.name}. Wait for its end, or use another folder."
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise SaveError(
                f"The table of the study in {folder.name} cannot be written ({error}). Make room on that disk, or make "
                "it writable, and run the same command again: it goes on where this one stopped."
            ) from error
        raise UsageError(f"{FILE} in {folder.name} is no table of a study ({error}). Use another folder.") from error
