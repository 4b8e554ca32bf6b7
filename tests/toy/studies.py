"""Studies for loopback ComfyUIs: what they say, how they are run in this process and in one of their own."""

import io
import json
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from pack.client import address
from pack.client.batch import command, study
from pack.client.batch.board import Quiet
from pack.client.batch.engine import Rules
from pack.client.batch.servers import Servers
from pack.client.batch.table import FILE
from pack.tests.toy.comfy_prompts import HOSTED, PROMPT
from PIL import Image
from rich.console import Console

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds; none of the servers is away for longer, unless it is for good


def write(folder: Path, jobs: int, more: str = "", pictures: int = 2) -> Path:
    """Writes a study of so many jobs for the loopback servers' graph, or for that which `more` names."""
    for number in range(pictures):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(folder / f"{number}.png")
    (folder / "own.json").write_text(json.dumps(PROMPT), encoding="utf-8")
    (folder / "hosted.json").write_text(json.dumps(HOSTED), encoding="utf-8")
    graphs = "" if "graph" in more else 'graphs = ["own.json"]\n'
    path = folder / "study.toml"
    seeds = list(range(jobs // pictures))
    path.write_text(f'pictures = ["*.png"]\nseeds = {seeds}\n{graphs}{more}', encoding="utf-8")
    return path


def servers(addresses: list[str], depth: int = 2, patience: float = PATIENCE) -> Servers:
    return Servers([address.parse(each) for each in addresses], [depth] * len(addresses), patience, lambda text: None)


def run(path: Path, folder: Path, engine, refused=False, missing=False, **rules) -> str:
    """Runs a study to its end, and returns what was said on the way."""
    said = study.read(path)
    console = Console(file=io.StringIO(), width=500)
    rules = Rules(**{"target": str(folder), "patience": PATIENCE, "max_usd": said.max_usd, **rules})
    try:
        with command.opened(folder) as table:
            command.carry_out(said, table, engine, rules, Quiet(console), refused, missing)
    finally:
        engine.close()
    return console.file.getvalue()


def arguments(path: Path, folder: Path, addresses: list[str] = [], *more: str) -> list[str]:  # noqa: B006
    """The command that runs a study."""
    where = [part for each in addresses for part in ("--server", each)]
    return [sys.executable, str(ROOT / "client"), "batch", str(path), *where, "--output", str(folder), *more]


def rows(folder: Path) -> list[dict]:
    """The rows of a study, as anybody reads them."""
    with sqlite3.connect(folder / FILE) as table:
        table.row_factory = sqlite3.Row
        found = [dict(row) for row in table.execute("SELECT * FROM jobs ORDER BY number")]
    table.close()
    return found


def states(folder: Path) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in rows(folder):
        counted[row["state"]] = counted.get(row["state"], 0) + 1
    return counted


def check_all_done(folder: Path, jobs: int) -> None:
    """Every job has one row and one clip, and nothing else lies in the folder but the report."""
    done = rows(folder)
    assert {row["state"] for row in done} == {"done"}, [row["error"] for row in done]
    assert len(done) == len({row["digest"] for row in done}) == jobs
    clips = sorted(f"clips/{path.name}" for path in (folder / "clips").iterdir())
    assert clips == sorted(clip for row in done for clip in json.loads(row["clips"]))
    assert len(clips) == jobs
    assert {path.name for path in folder.iterdir()} - {"report.html"} == {".study.lock", "clips", FILE}


def wait_until(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone_soon(comfy, jobs=1):
    wait_until(lambda: comfy.running is not None and comfy.posted.total() >= jobs)
    comfy.down = True


@contextmanager
def going_away(comfy, jobs=1):
    """A server goes away in a job, once so many are sent to it; none ends before."""
    comfy.hold = True
    thread = threading.Thread(target=gone_soon, args=(comfy, jobs))
    thread.start()
    yield
    thread.join()


async def forgetting(comfy):
    """Starts a server again, which then knows no job."""
    comfy.forget()


def run_again(path, out, comfies, tries, refused=False):
    """Runs a study as the command does with --tries."""
    text = path.read_text(encoding="utf-8")
    path.write_text(f"tries = {tries}\n{text}", encoding="utf-8")
    run(path, out, servers(comfies.addresses), refused, tries=tries)
