"""What the benches share: ComfyUI in this process, alternating measurements, and one file of results per machine."""

import argparse
import importlib.util
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
MODELS = ROOT / "tiny" / "models"  # the trained ones, which draw the clips of several benches


def need_setup() -> None:
    """Ends a bench that was started without what the set-up prepares, with a sentence that says how to start it."""
    if not os.environ.get("COMFYUI_DIR") or importlib.util.find_spec("torch") is None:
        sys.exit(
            "A bench runs in the ComfyUI and the Python that the set-up prepares. "
            f"Start it with: make bench ARGS={Path(sys.argv[0]).stem}"
        )


need_setup()  # here, so that no bench can forget it
sys.path.append(str(ROOT / "tools"))  # where `pack` is, too; last, so that it hides nothing


def import_comfyui(cpu: bool = True) -> None:
    """Imports ComfyUI as `main.py` would."""
    sys.path[0] = os.environ["COMFYUI_DIR"]
    from torch_compat import let_torchvision_import

    let_torchvision_import()
    from comfy.cli_args import args

    args.cpu = cpu
    import utils.extra_config  # noqa: F401  # first, as in main.py: nodes puts comfy/ on the path, which has a `utils` too

    import nodes  # noqa: F401  # isort: skip
    import server  # noqa: F401  # which is in memory wherever a node runs, so it is no cost of ours


class Timing(NamedTuple):
    """Medians of one peer: seconds on the clock, and of the processor, which other work on the machine moves less."""

    seconds: float
    cpu: float


def alternate(peers: dict[str, Callable[[], Any]], runs: int = 7) -> dict[str, Timing]:
    """Times each peer in turn, `runs` times after one warm-up; nobody always goes first."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for run in peers.values():
        run()
    for turn in range(runs):
        for name, run in list(peers.items())[:: 1 if turn % 2 else -1]:
            clock, cpu = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - clock, time.process_time() - cpu))
    return {name: Timing(*map(statistics.median, zip(*both, strict=True))) for name, both in taken.items()}


def peak_memory(script: Path, *arguments: str) -> float:
    """Runs a script in a process of its own, which prints its `peak_mb()` as its last line, and returns that."""
    output = subprocess.run(
        [sys.executable, str(script), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    return float(output.splitlines()[-1])


def peak_mb() -> float:
    """The most memory that this process has held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def save(rows: dict[str, dict[str, float | str]]) -> None:
    """Prints rows, and merges them into this machine's results.

    Args:
        rows: By title, "<group>: <ours> / <peer>, <what>"; each a short name for every number. The names decide how a
            number is drawn: see chart.py.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{machine()}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**known, **rows}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for title, row in rows.items():
        print(title + ": " + ", ".join(f"{name} {value}" for name, value in row.items()))


def machine() -> str:
    """Names this kind of machine: its accelerator, else its processor type and number of cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name().lower().replace(" ", "-")
    return f"cpu-{platform.machine()}-{os.cpu_count()}-cores"


def with_row(path: Path, name: str, row: dict[str, float]) -> dict[str, dict[str, float]]:
    """Returns the numbers of a results file, by key and row, with those of one row anew; NaN is left out.

    Args:
        path: Of the file; there may be none yet.
        name: Of the row.
        row: Its numbers by key.
    """
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for key, value in row.items():
        known.setdefault(key, {}).pop(name, None)
        if not math.isnan(value):
            known[key][name] = value
    return known


def asked(text: str | None, ways: Collection[str], scenes: int, **more: Any) -> argparse.Namespace:
    """Returns what a bench of the trained models is asked for: `names` of ways, how many `scenes`, whose `models`.

    Args:
        text: The bench's own, for `--help`.
        ways: All that it can measure.
        scenes: That the committed numbers have.
        more: Further options by their names, as argparse takes them.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="WAY")
    parser.add_argument("--scenes", type=int, default=scenes)
    parser.add_argument("--models", type=Path, default=MODELS)
    for name, taken in more.items():
        parser.add_argument(f"--{name}", **taken)
    options = parser.parse_args()
    if unknown := set(options.names) - set(ways):
        parser.error(f"There is no way {'; '.join(sorted(unknown))}. The ways are: {'; '.join(ways)}.")
    if options.scenes < 1:
        parser.error(f"--scenes must be 1 or more, got {options.scenes}. The committed numbers have {scenes}.")
    return options


def write_table(page: Path, table: str, mark: str = "rows") -> None:
    """Puts a table between the marks of a page, in the place of the one that stands there."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of the {mark} -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(before + begin + table + end + rest.partition(end)[2], encoding="utf-8")
