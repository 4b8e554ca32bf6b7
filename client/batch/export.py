"""The table of a study as CSV or Parquet: a row for each job, a column for each setting, stage and number."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..publish import replaced
from .table import COLUMNS, OBJECTS, Table


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row with the objects in it as columns of their own: settings.steps, stages.rCM Sampler."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if name in OBJECTS:
            made |= {f"{name}.{key}": each for key, each in json.loads(value or "{}").items()}
        elif name == "clips":
            made[name] = "\n".join(json.loads(value or "[]"))
        else:
            made[name] = value
    return made


def columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Returns the columns of all rows, those of an object in its place."""
    found: dict[str, dict[str, None]] = {name: {} for name in COLUMNS}
    for row in rows:
        for name in row:
            found[name.partition(".")[0]][name] = None
    return [name for group in COLUMNS for name in sorted(found[group]) or ([group] if group not in OBJECTS else [])]


def to_csv(table: Table) -> Path:
    """Writes study.csv into the study's folder, in place of the one before, and returns its path.

    Raises:
        SaveError: It cannot be written.
    """
    path = table.folder / "study.csv"
    names = columns(map(flat, table.wanted()))
    with replaced(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(map(flat, table.wanted()))
    return path


def to_parquet(table: Table) -> Path:
    """Writes study.parquet into the study's folder, in place of the one before, and returns its path.

    Raises:
        UsageError: There is no pyarrow.
        SaveError: It cannot be written.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]  # an optional extra
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise UsageError("--parquet needs the package pyarrow. Run: pip install pyarrow") from error
    path = table.folder / "study.parquet"
    rows = [flat(row) for row in table.wanted()]
    made = {name: column([row.get(name) for row in rows]) for name in columns(rows)}
    with replaced(path) as part:
        pyarrow.parquet.write_table(pyarrow.table(made), part)
    return path


def column(values: list[Any]) -> list[Any]:
    """Returns values of one type: texts, where they are of several."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return [float(value) if kinds == {int, float} and value is not None else value for value in values]
    return [None if value is None else str(value) for value in values]
