"""Reads what every file in a folder says about itself, as a process that watches itself; a line of JSON for each.

    python tests/toy/read_files.py FOLDER

A line has the name, the error, the memory in bytes, and whatever Python did that reading a file does not need.
"""

import encodings.ascii
import encodings.cp437  # noqa: F401  # which zipfile would import while it is watched
import json
import os
import re
import sys
import tracemalloc
import types
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


def peak_resident() -> int:
    """Returns the most memory that this process has held since it began or was last reset, in bytes; Linux only."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def reset_peak() -> None:
    """Begins a new peak."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Reads the files."""
    pack = types.ModuleType("pack")
    pack.__path__ = [str(ROOT)]
    sys.modules["pack"] = pack
    from pack.weights import lora_keys
    from pack.weights.formats.header import ModelFile, is_safetensors, read_header
    from pack.weights.formats.torch_file import read_torch_header
    from pack.weights.loras import report, triggers
    from pack.weights.wan import quantised

    assert "torch" not in sys.modules  # which would take more memory than all of this
    linux = os.access("/proc/self/clear_refs", os.W_OK)
    watching = False
    sys.addaudithook(lambda event, arguments: watch(event, arguments) if watching else None)
    for path in sorted(Path(sys.argv[1]).iterdir()):
        tracemalloc.start()
        if linux:
            reset_peak()
        before, error = peak_resident() if linux else 0, ""
        watching = True
        try:
            told = (read_header if is_safetensors(path) else read_torch_header)(path)
            report.facts(told)
            triggers.trigger_words(told.metadata, [])
            lora_keys.Scaling.of(told.metadata)
            quantised.check_storage(ModelFile(path, told), ())
        except (ValueError, OSError, RuntimeError) as err:
            error = f"{type(err).__name__}: {err}"
        watching = False
        held = peak_resident() - before if linux else 0
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        result = {"name": path.name, "error": error, "traced": traced, "held": held, "events": events[:]}
        sys.stdout.write(json.dumps(result) + "\n")
        events.clear()


if __name__ == "__main__":
    main()
