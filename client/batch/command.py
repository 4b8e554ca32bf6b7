"""`python client batch`: reads a study, plans it, and runs what is left of it."""

import os
import sys
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import address
from ..errors import ClientError, UsageError
from ..follow import DAY
from ..printable import printable
from ..report.command import make
from . import export, runner, store, study, thumbnails
from .board import Bars, Board, Lines, Pace, Quiet
from .cluster import Cluster
from .desk import Desk
from .engine import Engine, Rules, needs_of
from .estimate import estimate
from .folder import opened
from .gpus import shared
from .machine import Recipe, Started
from .prepare import prepared
from .servers import Servers
from .study import Study
from .table import FILE, Table

HOME = "http://127.0.0.1:8188"
DEPTH = 2  # so that a server has the next job when it ends one

Path_ = Annotated[Path, typer.Argument(metavar="STUDY", help="A .toml study, or a .csv or .jsonl with one job a row.")]
Addresses = Annotated[
    list[str], typer.Option("--server", envvar="WAN22_TURBO_SERVER", help="Where a ComfyUI is; once for each.")
]
Depths = Annotated[
    list[int], typer.Option("--depth", min=1, help="Jobs that a server has at once: once for all, or for each server.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="The results' folder. Default: results/NAME.")]
Graph_ = Annotated[str, typer.Option("--graph", help="For jobs that name none.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say how many jobs, how long and what it costs; run nothing.")]
Tries = Annotated[int, typer.Option(min=0, help="How often a job is tried whose node fails. 0: as the study says.")]
MaxUsd = Annotated[float | None, typer.Option(min=0, help="What all jobs may cost together, in US dollars.")]
Refused = Annotated[bool, typer.Option("--refused", help="Also try again what was refused before.")]
Missing = Annotated[bool, typer.Option("--missing", help="Also get again the clips that are no longer in the folder.")]
Clips = Annotated[str, typer.Option(help="Where the clips go, if not into the folder: an address that fsspec takes.")]
Start = Annotated[int, typer.Option(min=0, help="Start so many ComfyUIs on this machine, and use these.")]
Ray = Annotated[str, typer.Option(help="Use a Ray cluster by its address, or start one here: local.")]
Cores = Annotated[int, typer.Option(min=0, help="With --ray: cores that each ComfyUI gets, in place of a GPU.")]
Comfyui = Annotated[str, typer.Option(help="The folder of the ComfyUI to start; else that of the set-up.")]
Python = Annotated[str, typer.Option(help="That runs it, if not this one.")]
Models = Annotated[str, typer.Option(help="A models folder for it, beside its own.")]
Argument = Annotated[list[str], typer.Option("--comfyui-arg", help="An argument for its main.py; once for each.")]
Csv = Annotated[bool, typer.Option("--csv", help="Write study.csv beside the table at the end.")]
Parquet = Annotated[bool, typer.Option("--parquet", help="Write study.parquet beside the table at the end.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Write report.html at the end.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds that a server may be away before others get its jobs.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds that a job may take, waiting included.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def batch(
    study_file: Path_,
    server: Addresses = [],  # noqa: B006
    depth: Depths = [],  # noqa: B006
    start: Start = 0,
    ray: Ray = "",
    cores: Cores = 0,
    comfyui: Comfyui = "",
    python: Python = "",
    models: Models = "",
    comfyui_arg: Argument = [],  # noqa: B006
    output: Output = None,
    graph: Graph_ = "",
    dry_run: Dry = False,
    tries: Tries = 0,
    max_usd: MaxUsd = None,
    refused: Refused = False,
    missing: Missing = False,
    clips: Clips = "",
    csv: Csv = False,
    parquet: Parquet = False,
    report: Report = True,
    patience: Patience = 60.0,
    timeout: Timeout = DAY,
    quiet: QuietOption = False,
) -> None:
    """Run a study: many clips on many ComfyUIs. The same command goes on where it was stopped, however that was."""
    check_where(server, depth, bool(ray or start), clips)
    if start and not ray:
        shared(start, comfyui_arg)  # refuses more than there are GPUs, also in a dry run
    board = board_of(quiet)
    said = study.read(study_file, graph)
    said = replace(said, tries=tries or said.tries, max_usd=said.max_usd if max_usd is None else study.amount(max_usd))
    folder = output or Path("results") / said.name
    if dry_run:
        with closing(Servers(*named(server or list(said.servers) or [HOME], depth), patience, board.say)) as asked:
            tell(estimate(said, folder, asked, refused, missing, start, bool(ray)))
        return
    recipe = Recipe(comfyui, python, models, tuple(comfyui_arg))
    one_depth = (depth or [DEPTH])[0]
    rules = Rules(said.tries, said.max_usd, clips or str(folder), patience, timeout)
    made: list[Path] = []
    with opened(folder) as table:
        engine: Engine
        if ray:
            engine = Cluster(ray, recipe, table.identity(), one_depth, cores, start)
        elif start:
            engine = Started(recipe, start, one_depth, folder, board.say)
        else:
            engine = Servers(*named(server or list(said.servers) or [HOME], depth), patience, board.say)
        try:
            carry_out(said, table, engine, rules, board, refused, missing)
        finally:
            board.end()
            engine.close()
            if table.counts():
                made += [write(table) for asked, write in ((csv, export.to_csv), (parquet, export.to_parquet)) if asked]
                made += reported(folder, board) if report else []
        tell("\n".join(map(str, [table.folder / FILE, *made])))


def check_where(servers: list[str], depths: list[int], starts: bool, clips: str) -> None:
    """Refuses what would not count where ComfyUIs are started, and an address for clips that is none, or nobody's.

    Raises:
        UsageError: There is some.
    """
    if starts and servers and servers != os.environ.get("WAN22_TURBO_SERVER", "").split():
        raise UsageError("--server names ComfyUIs that run already, --start and --ray start their own. Leave out one.")
    if starts and len(depths) > 1:
        raise UsageError("With --start and --ray, --depth stands once for all.")
    if clips and "://" not in clips:
        raise UsageError(
            "--clips takes an address, such as s3://bucket/folder or file:///folder. For another folder, use --output."
        )
    store.check(clips)


def carry_out(
    said: Study, table: Table, engine: Engine, rules: Rules, board: Board, refused: bool = False, missing: bool = False
) -> None:
    """Plans a study, and runs what is left of it, on request also what was refused, or whose clip is gone.

    Raises:
        ClientError: Not all is done.
    """
    ready = prepared(said, table, refused, missing)
    jobs = ready.jobs
    if ready.lost and not missing:
        board.say(ready.told())
    store.clean(table.folder)
    desk = Desk(table, engine.places(), jobs, rules, board)
    left = Counter(jobs[known.digest].variant for known in table.left())
    board.begin(len(jobs) - left.total(), len(jobs), Pace(left, table.measured()), len(desk.places))
    try:
        if left:
            runner.run(desk, engine, needs_of((jobs[known.digest] for known in table.left()), ready.graphs))
        elif (error := runner.verdict(desk)) is not None:
            raise error
    finally:
        with suppress(ClientError):  # the report can do without, and what ended the run is worth more
            thumbnails.keep(table, jobs.values())


def reported(folder: Path, board: Board) -> list[Path]:
    """Makes the report, or says why there is none: it can be made later, from what is in the folder."""
    try:
        return [make(folder)]
    except ClientError as error:
        board.say(str(error))
        return []


def named(servers: list[str], depths: list[int]) -> tuple[list[address.Address], list[int]]:
    """Reads the addresses of servers, and how many jobs each has at once.

    Raises:
        UsageError: One is no address, or the depths do not fit.
    """
    token = os.environ.get("WAN22_TURBO_TOKEN", "")
    if len(depths) not in (0, 1, len(servers)):
        raise UsageError(
            f"--depth stands once for all servers or once for each, got {len(depths)} for {len(servers)} servers."
        )
    each_depth = depths if len(depths) > 1 else (depths or [DEPTH]) * len(servers)
    return [address.parse(each, token) for each in servers], each_depth


def board_of(quiet: bool) -> Board:
    """Chooses how to show a study: bars on a terminal, else lines."""
    console = Console(stderr=True)
    return Quiet(console) if quiet else Bars(console) if console.is_terminal else Lines(console)


def tell(text: str) -> None:
    """Prints a result."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()
