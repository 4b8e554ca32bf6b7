"""Files with one job a row, and what a value of a study may be."""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import UsageError
from ..settings import close_to

Value = str | int | float | bool
ADDRESS = re.compile(r"https?://[^\s\"']+")
SECRET = re.compile(r"[?#].*")  # behind an address, what may be a token
USER = re.compile(r"(?<=://)[^/?#\s\"']+@")  # who asks, and by which password, which may hold an @ too
END = "\x1a"  # a last row of our own: one that is read into the cell before it shows that no mark closes that
FOLDER = r"(?:[^\\/\s\"'<>|,;]+[\\/]+)"
QUOTED = r"(?<=[\"'])(?:~[\w.-]*|[A-Za-z]:)?[\\/]+(?:[^\\/\"'<>|\n]+[\\/]+)+"  # with spaces in it
FOLDERS = re.compile(  # of a whole path: file:///home/ada/, C:\Users\ada\, ~/, /home/ada/, \\nas\ada\
    rf"{QUOTED}|file:/+{FOLDER}*|(?<=:)/(?!/){FOLDER}+"
    rf"|(?<![\w.:/\\*)\]}}-])(?:(?:~[\w.-]*|[A-Za-z]:)[\\/]+{FOLDER}*|[\\/]+{FOLDER}+)"
)


@dataclass(frozen=True)
class Row:
    """One job, as it is written down.

    Args:
        graph: A shipped prompt's name, or the path of an API-format file.
        variant: What the jobs are called that differ in picture, prompt and seed alone.
        values: By readable name. `picture` is the graph's only picture, `seed` every seed in it.
        place: Where it stands, for errors: "Row 7 of jobs.csv".
    """

    graph: str
    variant: str
    values: Mapping[str, Value]
    place: str = ""


def table(path: Path, graph: str) -> Iterator[Row]:
    """Yields the jobs of a CSV or JSONL file."""
    count = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in TABLES.get(path.suffix.lower(), of_json)(file):
                place = f"Row {number} of {path.name}"
                values = {str(name): plain(value, f"{name} of {place}") for name, value in line.items()}
                wanted = str(values.pop("graph", graph))
                if not wanted:
                    raise UsageError(f"{place} names no graph. Add a column graph, or name one: --graph NAME.")
                count += 1
                yield Row(wanted, str(values.pop("variant", Path(wanted).stem)), values, place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The jobs must be in a file that can be read; {path} is not: {reason(error)}.") from error
    if not count:
        raise UsageError(f"The file {path.name} holds no job.")


def of_csv(file: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a CSV file under the names in its first line. An empty cell sets nothing.

    Between cells is what the first line has most: a comma, or the semicolon or tab of a spreadsheet program.
    """
    lines = iter(file)
    first = next(lines, "")
    reader = csv.reader(chain([first], lines, [END]), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    names = [name.strip() for name in next(reader, ())]
    once([name for name in names if name], "The first line")
    for cells in reader:
        if cells == [END]:
            return
        given = zip_longest(names, map(str.strip, cells), fillvalue="")
        values = {name: cell for name, cell in given if cell}
        if "" in values:
            raise UsageError(f"Row {reader.line_num} has more cells than the first line has names.")
        if values:
            yield reader.line_num, values
    raise UsageError("In the table, a quotation mark before a cell has none behind that. Add it, or remove the one.")


def of_json(file: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the objects of a JSONL file, one a line."""
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=lambda pairs, row=number: paired(pairs, f"Row {row}"))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"Row {number} must be a JSON object, and is not: {reason(error)}.") from error
        yield number, mapping(values, f"row {number}")


def paired(pairs: list[tuple[str, Any]], place: str) -> dict[str, Any]:
    """Returns an object of JSON, whose names are each of their own."""
    once([name for name, _ in pairs], place)
    return dict(pairs)


def once(names: list[str], place: str) -> None:
    """Refuses a name that is given twice, for one of its values would be lost."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{place} names '{twice}' twice. Remove one of them.")


TABLES = {".csv": of_csv, ".jsonl": of_json}


def known(said: Mapping[str, Any], keys: tuple[str, ...], place: str) -> None:
    """Refuses a key that nobody reads, with the nearest one."""
    for key in said:
        if key not in keys:
            close = close_to(key, keys, 1)
            hint = f"Did you mean {close[0]}?" if close else f"It takes {', '.join(keys)}."
            raise UsageError(f"There is no '{key}' in {place}. {hint}")


def listed(value: Any, name: str) -> list[Any]:
    """Returns a list; a single value is one of its own."""
    if isinstance(value, dict):
        raise UsageError(f"'{name}' takes a value or a list of values, got a table.")
    return value if isinstance(value, list) else [value]


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Returns a table."""
    if not isinstance(value, dict):
        raise UsageError(f"'{name}' must be a table of names and values, got '{value}'.")
    return value


def plain(value: Any, name: str) -> Value:
    """Returns a text, a number or a truth."""
    if not isinstance(value, (str, int, float, bool)):
        raise UsageError(f"'{name}' takes texts, numbers, true and false, got '{value}'.")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"'{name}' takes numbers that are finite, got '{value}'.")
    return value


def text(value: Any, name: str) -> str:
    """Returns a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"'{name}' must be text, got '{value}'.")
    return value


def at_least(value: Any, least: int, name: str) -> int:
    """Returns a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"'{name}' takes whole numbers from {least} on, got '{value}'.")
    return value


def truth(value: Any, name: str) -> bool:
    """Returns true or false."""
    if not isinstance(value, bool):
        raise UsageError(f"'{name}' must be true or false, got '{value}'.")
    return value


def amount(value: Any) -> float:
    """Returns a sum of US dollars."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise UsageError(f"'max_usd' must be a sum of US dollars, got '{value}'.")
    return float(value)


def reason(error: Exception) -> str:
    """Returns why a file cannot be read, without its path."""
    if isinstance(error, UnicodeDecodeError):
        return "its letters are not UTF-8. Save it as UTF-8, which Excel calls 'CSV UTF-8'"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__


def masked(value: Any) -> Any:
    """Returns a value without what may be a token in an address."""
    if not isinstance(value, str):
        return value
    return ADDRESS.sub(lambda found: SECRET.sub("?***", found[0]), USER.sub("", value))


def shown(whole: str, values: Iterable[Any]) -> str:
    """Returns the text of a study as anybody may see it: without secrets in addresses, and files without folders.

    Args:
        whole: The text.
        values: What is read in it. A value that is a whole path may have spaces in it, as no pattern can tell.
    """
    for value in values:
        if isinstance(value, (dict, list)):
            whole = shown(whole, value.values() if isinstance(value, dict) else value)
        elif isinstance(value, str) and (value[:1] in ("/", "~") or PureWindowsPath(value).is_absolute()):
            folder = max(value.rfind("/"), value.rfind("\\")) + 1
            for written in (value, value.replace("\\", "\\\\")):  # as TOML spells it
                whole = whole.replace(written, value[folder:])
    return bare(whole)


def bare(text: str) -> str:
    """Returns what somebody says, with files without their folders and addresses without what may be a token."""
    return FOLDERS.sub("", masked(text))
