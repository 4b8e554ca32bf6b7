"""Reads what every file in a folder says about itself, as a process that watches itself; a line of JSON for each.

    python tests/toy/read_files.py FOLDER

A line has the name, the error, the memory in bytes, and whatever Python did that reading a file does not need.
"""

import encodings.ascii
import encodings.cp437  # noqa: F401  # which zipfile would import while it is watched
import functools
import json
import os
import re
import sys
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDLESS = re.compile(
    r"(compile|exec|import|marshal\..*|pickle\..*|os\.(?!listdir|scandir).*|subprocess\..*|socket\..*|ctypes\..*|urllib.*)$"
)
events: list[str] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Notes an event that reading a file does not need."""
    if NEEDLESS.match(event):
        events.append(f"{event} {arguments!r}"[:200])


def own_memory() -> int:
    """Returns the most memory that this process ever had, in bytes, also what it never wrote to; Linux only."""
    found = re.search(r"VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def traced_memory() -> int:
    """Returns the most memory that Python's objects had since tracing began, in bytes."""
    return tracemalloc.get_traced_memory()[1]


def apart(work: Callable[[], None]) -> None:
    """Does something in a fork, whose memory is counted anew: to trace each object takes many times as long."""
    sys.stdout.flush()
    fork = os.fork()
    if fork:
        assert os.waitpid(fork, 0)[1] == 0
        return
    code = 1
    try:
        work()
        sys.stdout.flush()
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def traced(work: Callable[[], None]) -> None:
    """Does something while Python traces its memory, where the system does not count it."""
    tracemalloc.start()
    work()
    tracemalloc.stop()


def main() -> None:
    """Reads the files."""
    sys.path.append(str(ROOT / "tools"))
    from pack.weights import lora_keys
    from pack.weights.formats.header import ModelFile, explained, is_safetensors, open_file, read_safetensors
    from pack.weights.formats.torch_file import read_torch
    from pack.weights.loras import report, triggers
    from pack.weights.wan import quantised

    assert "torch" not in sys.modules  # which would take more memory than all of this
    watching = False
    sys.addaudithook(lambda event, arguments: watch(event, arguments) if watching else None)
    linux = sys.platform == "linux"
    memory = own_memory if linux else traced_memory

    def read(path: Path) -> None:
        nonlocal watching
        before, error = memory(), ""
        watching = True
        try:
            form, reader = ("safetensors", read_safetensors) if is_safetensors(path) else ("PyTorch", read_torch)
            with explained(path, form), open_file(path) as file:  # as `open_model` does, whose module needs torch
                told = reader(file, path.stat().st_size)
            report.facts(told)
            triggers.trigger_words(told.metadata, [])
            lora_keys.Scaling.of(told.metadata)
            quantised.check_storage(ModelFile(path, told), ())
        except (ValueError, OSError, RuntimeError) as err:
            error = f"{type(err).__name__}: {err}"
        watching = False
        result = {"name": path.name, "error": error, "memory": memory() - before, "events": events[:]}
        sys.stdout.write(json.dumps(result) + "\n")
        events.clear()

    for path in sorted(Path(sys.argv[1]).iterdir()):
        (apart if linux else traced)(functools.partial(read, path))


if __name__ == "__main__":
    main()
