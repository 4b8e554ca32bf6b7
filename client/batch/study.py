"""What a study says: which pictures, prompts, graphs, settings and seeds, each with each; or a file with one job a row.

    pictures = ["portraits/*.jpg"]      # beside this file; patterns may be used
    prompts = ["She looks up.", "Leaves fall."]
    seeds = [1, 2, 3]
    graphs = ["wan22_turbo_i2v"]        # shipped ones by name, your own API-format files by path
    tries = 2                           # of a job whose node fails
    max_usd = 5                         # of all jobs together
    measure = false                     # leave Clip Report out

    [settings]                          # by the names of `python client inputs GRAPH`
    seconds = 3
    steps = [2, 4]                      # a list: with each of them

    [[variants]]                        # and each of these, if settings belong together
    name = "lightning"
    graph = "wan22_lightning_i2v"
    settings = { strength_high = 0.8 }

A CSV file has those names as its columns, a JSONL file as its keys, `graph` and `variant` among them. A study may take
its jobs from there: jobs = "rows.csv".
"""

import itertools
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import UsageError
from .tables import (
    TABLES,
    Row,
    Value,
    amount,
    at_least,
    known,
    listed,
    mapping,
    masked,
    plain,
    reason,
    shown,
    table,
    text,
    truth,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = (
    "name", "pictures", "prompts", "seeds", "graphs", "settings", "variants", "jobs", "tries", "max_usd", "servers",
    "measure",
)  # fmt: skip
VARIANT_KEYS = ("name", "graph", "settings")
MOST = 1_000_000  # jobs
ODD = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of what steers, is half a letter, or ends a line or paragraph


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        name: Of its results' folder, unless another one is named.
        folder: What the paths in it are relative to.
        rows: Its jobs.
        tries: How often a job is tried whose node fails.
        max_usd: What all its jobs may cost together, in US dollars; None for any sum.
        servers: Where it runs, unless the command says so.
        measure: Whether each clip gets a Clip Report.
        text: Of its file, as it may be shown to anybody.
    """

    name: str
    folder: Path
    rows: list[Row] = field(repr=False)
    tries: int = 1
    max_usd: float | None = None
    servers: tuple[str, ...] = ()
    measure: bool = True
    text: str = field(default="", repr=False)


def read(path: Path, graph: str = "") -> Study:
    """Reads a study, or a table of jobs.

    Args:
        path: A .toml, .csv or .jsonl file.
        graph: For rows of a table that name none.

    Raises:
        UsageError: It cannot be read, or says what no study can say.
    """
    if path.suffix.lower() in TABLES:
        return Study(path.stem, path.parent.absolute(), list(table(path, graph)))
    if path.suffix.lower() != ".toml":
        raise UsageError(f"A study is a .toml, .csv or .jsonl file, got {path.name or path}.")
    try:
        whole = path.read_text(encoding="utf-8-sig")
        said = tomllib.loads(whole)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"A study must be a TOML file that can be read; {path} is not: {reason(error)}.") from error
    known(said, KEYS, path.name)
    return Study(
        name=name_of(said.get("name", path.stem)),
        folder=path.parent.absolute(),
        rows=list(rows(said, path, graph)),
        tries=at_least(said.get("tries", 1), 1, "tries"),
        max_usd=None if "max_usd" not in said else amount(said["max_usd"]),
        servers=tuple(text(each, "servers") for each in listed(said.get("servers", []), "servers")),
        measure=truth(said.get("measure", True), "measure"),
        text=shown(whole, said.values()),
    )


def name_of(value: Any) -> str:
    """Returns the name of a study, after which its results' folder is called."""
    name = text(value, "name")
    odd = any(unicodedata.category(letter) in ODD and letter != "\t" for letter in name)
    if name != PureWindowsPath(name).name or name == ".." or odd:
        raise UsageError(
            f"'name' is also what the folder of the results is called, so it is one line, and no path, got '{name}'."
        )
    return name


def rows(said: Mapping[str, Any], path: Path, graph: str) -> Iterator[Row]:
    """Yields the jobs of a study: picture by picture, so that those who watch can compare early."""
    if "jobs" in said:
        other = [key for key in ("pictures", "prompts", "seeds", "graphs", "settings", "variants") if key in said]
        if other:
            raise UsageError(f"A study takes its jobs from 'jobs' or makes them of {other[0]}, and not both.")
        yield from table(path.parent / text(said["jobs"], "jobs"), graph)
        return
    axes = {
        "picture": pictures(path.parent, listed(said.get("pictures", []), "pictures")),
        "prompt": [text(each, "prompts") for each in listed(said.get("prompts", []), "prompts")],
        "seed": [at_least(each, 0, "seeds") for each in listed(said.get("seeds", []), "seeds")],
    }
    given = {name: values for name, values in axes.items() if values}
    wanted = list(variants(said, graph))
    count = len(wanted)
    for values in given.values():
        count *= len(values)
    if count > MOST:
        raise UsageError(f"A study has at most {MOST} jobs, and this one has {count}. Split it.")
    for chosen in itertools.product(*given.values()):
        for variant in wanted:
            values = {**variant.values, **dict(zip(given, chosen, strict=True))}
            twice = sorted(given.keys() & variant.values.keys())
            if twice:
                raise UsageError(f"The study gives '{twice[0]}' twice: among its settings and as {twice[0]}s.")
            yield Row(variant.graph, variant.variant, values)


def variants(said: Mapping[str, Any], graph: str) -> Iterator[Row]:
    """Yields every graph with each of its settings, under a name that no other has."""
    common = mapping(said.get("settings", {}), "settings")
    graphs = [text(each, "graphs") for each in listed(said.get("graphs", []), "graphs")] or ([graph] if graph else [])
    tables = said.get("variants", [{}])
    if not isinstance(tables, list) or not tables or not all(isinstance(each, dict) for each in tables):
        raise UsageError("The variants of a study are tables, each under a line [[variants]].")
    seen = set()
    for each in tables:
        known(each, VARIANT_KEYS, "a variant")
        wanted = [text(each["graph"], "graph")] if "graph" in each else graphs
        if not wanted:
            raise UsageError(
                'The study names no graph. Write graphs = ["wan22_turbo_i2v"], or a graph in each variant.'
            )
        settings = {**common, **mapping(each.get("settings", {}), "settings")}
        for name, values in itertools.product(wanted, combined(settings)):
            made = called(each, name, settings, values, several=len(wanted) > 1)
            if made in seen:
                raise UsageError(f"Two variants are called '{made}'. Give each a name of its own.")
            seen.add(made)
            yield Row(name, made, values)


def called(
    variant: Mapping[str, Any], graph: str, settings: Mapping[str, Any], values: Mapping[str, Any], several: bool
) -> str:
    """Names a variant by what is its own: its name, its graph, and what of its settings is one of several."""
    stem = Path(graph).stem
    first = [text(variant["name"], "name")] if "name" in variant else [stem]
    if "name" in variant and several:
        first.append(stem)
    varied = [
        f"{name}={masked(values[name])}" for name, each in settings.items() if isinstance(each, list) and len(each) > 1
    ]
    return " ".join([*first, *varied])


def combined(settings: Mapping[str, Any]) -> Iterator[dict[str, Value]]:
    """Yields settings with one value each, of those that list several."""
    values = [[plain(one, name) for one in listed(each, name)] for name, each in settings.items()]
    for name, each in zip(settings, values, strict=True):
        if not each:
            raise UsageError(f"The setting '{name}' lists no value. Leave it out, or name one.")
    for chosen in itertools.product(*values):
        yield dict(zip(settings, chosen, strict=True))


def pictures(folder: Path, patterns: Iterable[Any]) -> list[str]:
    """Returns the files that patterns mean, in order, each once."""
    found: dict[str, None] = {}
    for pattern in patterns:
        name = text(pattern, "pictures")
        try:
            files = matching(folder.absolute() / os.path.expanduser(name))
        except (ValueError, NotImplementedError, OSError) as error:
            raise UsageError(f"The pictures '{name}' cannot be looked for: {reason(error)}.") from error
        if not files:
            raise UsageError(f"The study finds no picture '{name}' in {folder.absolute().name}. Check the path.")
        found.update((str(each), None) for each in files)
    return list(found)


def matching(pattern: Path) -> list[Path]:
    """Returns the files that a whole path means. What there is under a name is not taken for a pattern: "a [1].png"."""
    here, left = Path(pattern.anchor), list(pattern.parts[1:])
    while left and (here / left[0]).exists():
        here /= left.pop(0)
    return [each for each in (sorted(here.glob("/".join(left))) if left else [here]) if each.is_file()]
