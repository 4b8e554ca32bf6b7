"""Runs every bench, each in a process of its own, and draws the charts: `make bench`.

One bench alone, and the charts: `make bench ARGS=saving`. More words go to it: `make bench ARGS="gpu --tiny"`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = (
    "import_cost",
    "sampling",
    "attention",
    "attention_error",
    "loading",
    "lora",
    "picture_quality",
    "clip_report",
    "quality",
    "styles",
    "motion",
    "long_parts",
    "density",
    "encoding",
    "saving",
    "decoding",
    "hosted",
    "batch",
    "gpu",
)
CHART = "chart"
MORE = ("fault_matrix", "long_clip", "time_shares", CHART)  # which nobody runs without asking for them


def main(arguments: list[str]) -> int:
    """Runs all benches, or the one that the first argument names; returns the worst exit code."""
    if arguments and arguments[0] not in BENCHES + MORE:
        sys.stderr.write(f"There is no bench '{arguments[0]}'. The benches are {', '.join(BENCHES + MORE)}.\n")
        return 2
    named, more = arguments[:1], arguments[1:]
    return max(run(bench, more) for bench in dict.fromkeys([*(named or BENCHES), CHART]))


def run(bench: str, arguments: list[str]) -> int:
    """Runs one bench, and returns its exit code."""
    command = [sys.executable, str(HERE / f"{bench}.py"), *(arguments if bench != CHART else [])]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
