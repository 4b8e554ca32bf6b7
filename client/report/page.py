"""Lays out the report of a study as one HTML file, which takes nothing from anywhere but the clips beside it."""

import base64
import hashlib
import json
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from ..batch.board import duration
from ..batch.table import SERVER
from ..errors import UsageError
from ..publish import replaced
from .charts import charts
from .figures import Difference, Figures, Summary, figures
from .rows import Row, Told, read

FILE = "report.html"
HERE = Path(__file__).resolve().parent
VIDEOS = {".mp4", ".webm", ".mov", ".mkv", ".m4v"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif"}
KINDS = 200  # of errors that are listed
FPS = 16.0  # of a clip that does not say


class Media(NamedTuple):
    """One file of a job: where it is from the page, "" if that cannot be shown there; what it is; its name."""

    source: str
    kind: str
    name: str


def make(folder: Path, baseline: str = "") -> Path:
    """Writes the report of a study into its folder, in place of the one before, and returns its path.

    Args:
        folder: The study's.
        baseline: The variant that the others are compared with; "" for the first one.

    Raises:
        UsageError: There is no study, or no such variant in it.
        SaveError: It cannot be written.
    """
    told = read(folder)
    variants = list(dict.fromkeys(row.variant for row in told.rows))
    if baseline and baseline not in variants:
        raise UsageError(f"The study has no variant '{baseline}'. It has: {', '.join(variants)}.")
    path = folder / FILE
    with replaced(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(rendered(told, baseline or variants[0], folder.absolute().name))
    return path


def rendered(told: Told, baseline: str, folder: str) -> Iterator[str]:
    """Yields the page's text, piece by piece. What the study says is escaped wherever it stands."""
    numbers = figures(told.rows, baseline)
    parts = {name: (HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed, "seconds": duration, "quoted": shlex.quote}
    return environment.from_string(parts["html"]).generate(
        about=told.about,
        alike=numbers.alike,
        charts=list(charts(numbers, told.rows)),
        css=Markup(parts["css"]),
        digest=hashlib.sha256("\n".join(sorted(row.digest for row in told.rows)).encode()).hexdigest(),
        digests=digests(told),
        failures=list(failures(told.rows))[:KINDS],
        figures=numbers,
        folder=folder,
        fps=most_common_rate(told.rows),
        hash=base64.b64encode(hashlib.sha256(parts["js"].encode()).digest()).decode(),
        js=Markup(parts["js"]),
        made=time.strftime("%Y-%m-%d %H:%M"),
        servers=servers(told),
        states=Counter(row.state for row in told.rows),
        thumbnails={key: base64.b64encode(small).decode() for key, small in told.thumbnails.items()},
        took=sum(row.seconds or 0.0 for row in told.rows),
        media=media,
        details=details,
        shape=shape,
        cell=cell,
        total=len(told.rows),
    )


def media(row: Row) -> list[Media]:
    """Returns the files of a job, as the page refers to them."""
    return [media_of(clip) for clip in row.clips]


def media_of(clip: str) -> Media:
    """Returns how the page refers to a file: from where it lies itself, so that the folder may be moved."""
    name = PurePosixPath(clip).name
    suffix = PurePosixPath(name).suffix.lower()
    kind = "video" if suffix in VIDEOS else "picture" if suffix in PICTURES else "file"
    if "://" not in clip:
        return Media("./" + quote(clip), kind, name)
    return Media(clip if clip.startswith("file:///") else "", kind, clip)


def details(row: Row) -> str:
    """Returns all that is known of a job, in lines."""
    known: dict[str, Any] = {
        "variant": row.variant, "picture": row.picture, "prompt": row.prompt, "seed": row.seed,
        "settings": row.settings, "numbers": row.numbers, "latency, s": row.latency, "whole run, s": row.seconds,
        "waited, s": row.waited, "cost, $": row.usd, "server": row.server, "tries": row.tries, "digest": row.digest,
        "": row.texts,
    }  # fmt: skip
    told = {name: value for name, value in known.items() if value not in ("", None, {})}
    return "\n".join(f"{name}: {said(value)}".removeprefix(": ") for name, value in told.items())


def said(value: Any) -> str:
    """Writes a value, or the values of an object, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(each)}" for name, each in value.items())
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def shape(rows: Any) -> str:
    """Returns width / height of the first clip that says them, so that nothing moves when it is loaded."""
    for found in rows:
        sizes = [each.numbers.get(name, 0) for each in found for name in ("width", "height")][:2]
        if len(sizes) == 2 and all(size > 0 for size in sizes):
            return f"{sizes[0]:g} / {sizes[1]:g}"
    return "16 / 9"


def most_common_rate(rows: list[Row]) -> float:
    """Returns how many frames a second most clips have."""
    rates = Counter(row.numbers["fps"] for row in rows if row.numbers.get("fps", 0) > 0)
    return rates.most_common(1)[0][0] if rates else FPS


class Failure(NamedTuple):
    """Jobs that are not done, for one reason."""

    state: str
    why: str
    variants: dict[str, int]
    servers: list[str]
    names: list[str]

    @property
    def count(self) -> int:
        """How many jobs."""
        return sum(self.variants.values())


def failures(rows: list[Row]) -> Iterator[Failure]:
    """Yields what is not done and why, the most frequent reason first."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.state != "done":
            found[row.state, row.error].append(row)
    for (state, why), each in sorted(found.items(), key=lambda item: -len(item[1])):
        places = dict.fromkeys(row.server for row in each if row.server)
        names = dict.fromkeys(f"{row.picture or 'no picture'}, seed {row.seed}" for row in each)
        yield Failure(state, why, dict(Counter(row.variant for row in each)), list(places), list(names)[:5])


def servers(told: Told) -> dict[str, tuple[int, dict[str, str]]]:
    """Returns how many clips each server made, and what it ran."""
    made = Counter(row.server for row in told.rows if row.state == "done")
    ran = {name.removeprefix(SERVER): json.loads(each) for name, each in told.about.items() if name.startswith(SERVER)}
    return {name: (made[name], ran.get(name, {})) for name in sorted(made | dict.fromkeys(ran, 0)) if name}


def digests(told: Told) -> list[tuple[str, str]]:
    """Returns the sha256 of the study's graphs as posted, and of its pictures, of which two may share a name."""
    found = [(str(row.settings.get(name, name)), digest) for row in told.rows for name, digest in row.files.items()]
    return [*json.loads(told.about.get("graphs", "{}")).items(), *dict.fromkeys(found)]


class Cell(NamedTuple):
    """A cell of the table: what it is sorted by, what it says, and how it differs from the baseline."""

    value: float | None
    text: str
    difference: Difference | None = None
    less: str = ""
    verdict: str = ""


def cell(one: Summary, name: str, numbers: Figures) -> Cell:
    """Returns what the table says of a variant's measure."""
    spread = one.spreads.get(name)
    if spread is None:
        return Cell(None, "-")
    text = number(spread.mean) + (f" ± {number(spread.deviation, 2)}" if spread.deviation is not None else "")
    found = one.differences.get(name)
    if found is None:
        return Cell(spread.mean, text)
    better = next(each.better for each in numbers.measures if each.name == name)
    pairs = f"{found.pairs} pair{'s' * (found.pairs > 1)}"
    between = "" if found.low is None or found.high is None else f" ({signed(found.low)} to {signed(found.high)})"
    return Cell(spread.mean, text, found, f"{signed(found.mean)}{between}, {pairs}", found.verdict(better))


def number(value: float, digits: int = 4) -> str:
    """Writes a number with as many digits as people compare."""
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.0f}" if 1e9 > abs(value) >= 10**digits else f"{value:.{digits}g}"


def signed(value: float) -> str:
    """Writes a difference with its sign."""
    return ("+" if value > 0 else "-" if value < 0 else "") + number(abs(value), 3)
