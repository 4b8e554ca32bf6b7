"""The command line: `python client --help`.

Exit codes: 0 done, 1 the run failed, 2 a name or value cannot be used, 3 the server refused the prompt, 4 it refused a
part and the rest is saved, 5 the server lost the job, 6 it cannot be reached, 7 the clip could not be saved, 8 the job
takes longer than --timeout, 9 a study would pass its ceiling, 130 cancelled. Saved files are printed on standard
output, one a line; everything else goes to standard error.
"""

import json
import math
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import address, job, prompts, schema
from .batch.command import HOME, batch
from .cancel import cancel
from .errors import CancelledError, ClientError, JobLostError, PartlyRefusedError, UsageError
from .follow import DAY, Follower
from .printable import printable
from .progress import Bars, Display, Lines, Silent
from .report.command import report
from .save import check_target
from .server import Server
from .settings import Setting
from .values import expected

app = typer.Typer(
    help="Runs the shipped API prompts, or your own, on a ComfyUI.", epilog=(__doc__ or "").partition("\n\n")[2],
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip

app.command()(batch)
app.command()(report)

ONE_REQUEST = 1.0  # seconds within which two requests to end are one
Named = Annotated[str, typer.Argument(metavar="PROMPT", help="A shipped prompt's name, or an API-format .json file.")]
Job = Annotated[str, typer.Argument(metavar="JOB", help="The id that `run` printed.")]
Address = Annotated[str, typer.Option("--server", envvar="WAN22_TURBO_SERVER", help="Where ComfyUI is.")]
Target = Annotated[Path, typer.Option("--output", "-o", help="A folder, or the clip's name: clip.mp4.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files. Else new ones get a number.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds that the server may be away during a run.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds that the job may take, waiting included.")]
PATIENCE = 60.0


@app.command("list")
def list_prompts() -> None:
    """List the shipped prompts and what may be set in each."""
    for name in prompts.names():
        settings = schema.settings_in(schema.load(name)) if schema.path_of(name).is_file() else []
        out(f"{name}\n    {', '.join(setting.name for setting in settings)}")


@app.command()
def inputs(
    prompt: Named,
    server: Annotated[str, typer.Option(help="Ask this ComfyUI, instead of the shipped schema.")] = "",
) -> None:
    """Show what may be set in a prompt: names, ranges, defaults."""
    table = Table("name", "takes", "default", "what it is", box=None, pad_edge=False)
    for setting in described(prompt, server):
        default = setting.default if isinstance(setting.default, str) else json.dumps(setting.default)
        what = f"{setting.title}. {setting.help}" if setting.help else setting.title
        table.add_row(*map(escaped, (setting.name, expected(setting), shortened(default), what)))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


@app.command()
def run(
    prompt: Named,
    values: Annotated[list[str], typer.Option("--set", "-s", metavar="NAME=VALUE", help="Set an input.")] = [],  # noqa: B006
    inputs: Annotated[Path | None, typer.Option(help="A JSON file of inputs; --set goes before it.")] = None,
    server: Address = HOME,
    output: Target = Path(),
    overwrite: Overwrite = False,
    strict: Annotated[bool, typer.Option("--strict", help="Run nothing if the server refuses a part.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the clip; else `fetch` it later.")] = True,
    patience: Patience = PATIENCE,
    quiet: Quiet = False,
    timeout: Timeout = DAY,
) -> None:
    """Run a prompt and download the clip. Ctrl-C cancels it on the server."""
    loaded, given, display = prompts.load(prompt), read_values(values, inputs), display_of(quiet)
    with connected(server, patience, display) as comfyui:
        if wait:
            tell(job.run(comfyui, loaded, given, output, display, overwrite, strict, timeout))
            return
        ready = job.prepare(comfyui, loaded, given, display.say)
        prompt_id, refused = job.submit(comfyui, ready, uuid.uuid4().hex, display, strict)
        out(prompt_id)
        if refused:
            raise PartlyRefusedError(refused, [])


@app.command()
def fetch(
    job_id: Job,
    server: Address = HOME,
    output: Target = Path(),
    overwrite: Overwrite = False,
    patience: Patience = PATIENCE,
    quiet: Quiet = False,
    timeout: Timeout = DAY,
) -> None:
    """Wait for a job that was sent before, and download its clip."""
    display = display_of(quiet)
    with connected(server, patience, display, known=True) as comfyui:
        known = comfyui.locate(job_id)
        if known.state == "unknown":
            raise JobLostError(f"The server has no job {job_id}. After a restart it knows none from before.")
        check_target(output, known.prompt)
        follower = Follower(comfyui, uuid.uuid4().hex, display, timeout)
        tell(job.finish(comfyui, follower, job_id, known.prompt, output, overwrite, display))


@app.command("cancel")
def cancel_job(job_id: Job, server: Address = HOME) -> None:
    """Cancel a job, running or waiting, and no other."""
    with connected(server, PATIENCE, display_of(quiet=False)) as comfyui:
        out(printable(cancel(comfyui, job_id)))


@app.command("schema")
def show_schema(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="As for run; all shipped ones with --write.")] = "",
    server: Address = HOME,
    write: Annotated[bool, typer.Option("--write", help="Write the schemas of all shipped prompts.")] = False,
) -> None:
    """Print the JSON Schema of a prompt's inputs, as this ComfyUI describes them."""
    if bool(prompt) == write:
        raise UsageError("Name a prompt, or write the schemas of all shipped ones with --write.")
    with connected(server, PATIENCE, Silent()) as comfyui:
        for name in prompts.names() if write else [prompt]:
            made = schema.schema_of(Path(name).stem, job.settings_on(comfyui, prompts.load(name)))
            text = json.dumps(made, indent=2, ensure_ascii=False)
            out(str(schema.write(name, made)) if write else printable(text, len(text)))


def described(prompt: str, server: str) -> list[Setting]:
    """Returns what may be set: from the server if one is named or the prompt is not ours, else from the schema."""
    if prompt in prompts.names() and not server:
        return schema.settings_in(schema.load(prompt))
    with connected(server or HOME, PATIENCE, Silent()) as comfyui:
        return job.settings_on(comfyui, prompts.load(prompt))


def read_values(pairs: list[str], path: Path | None) -> dict[str, Any]:
    """Reads the inputs from a JSON file, and from NAME=VALUE pairs, which go before it."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"--inputs must be a JSON file that can be read; {path} is not: {error}.") from error
        if not isinstance(values, dict):
            raise UsageError(f"--inputs must hold one JSON object of names and values; {path} does not.")
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, got '{pair}'.")
        values[name] = value
    return values


@contextmanager
def connected(server: str, patience: float, display: Display, known: bool = False) -> Iterator[Server]:
    """Speaks to a server, with the token from the environment."""
    comfyui = Server(address.parse(server, os.environ.get("WAN22_TURBO_TOKEN", "")), patience, display.say, known)
    try:
        with address.masked(comfyui.address):
            yield comfyui
    except KeyboardInterrupt:  # before a job was sent, or again while one is being cancelled
        raise CancelledError("Stopped. A job that was sent already may still run.") from None
    finally:
        comfyui.close()


def display_of(quiet: bool) -> Display:
    """Chooses how to show a run: bars on a terminal, else lines."""
    console = Console(stderr=True)
    return Silent() if quiet else Bars(console) if console.is_terminal else Lines(console)


def escaped(text: str) -> str:
    """Makes a text printable, and keeps rich from reading its brackets as its own."""
    return printable(text).replace("[", "\\[")


def shortened(text: str, most: int = 48) -> str:
    """Cuts a long default."""
    return text if len(text) <= most else text[: most - 3] + "..."


def out(text: str) -> None:
    """Prints a result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(saved: list[Path]) -> None:
    """Prints where the clips are."""
    for path in saved:
        out(str(path))


class Stop:
    """Treats a polite request to end as Ctrl-C, so that the job on the server ends too.

    One that comes again within a second is the same one: `timeout` of GNU sends it to the client and to its group.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.asked = -math.inf

    def __call__(self, *_: object) -> None:
        """Handles a signal."""
        if (now := self.clock()) - self.asked >= ONE_REQUEST:
            self.asked = now
            raise KeyboardInterrupt


def main() -> int:
    """Runs the command line and returns its exit code."""
    stop = Stop()
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:  # nohup ignores one
            signal.signal(getattr(signal, name), stop)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # by the shell, for jobs in the background of a script
        signal.signal(signal.SIGINT, stop)
    try:
        app(prog_name="python client")
    except ClientError as error:
        tell(error.saved)
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
