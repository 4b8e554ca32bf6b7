"""All checks: the tests in a few more processes than there are cores; beside them lint, format and types. `make test`.

make test-quick                            the unit ring but for what is marked slow, lint and format, in a minute
make test ARGS="tests/unit -k rcm"         a part; arguments go to pytest, and the linters are left out
make test ARGS="-n 2 tests/browser"        a part in two processes
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
LINTERS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "basedpyright", "--pythonpath", sys.executable],
}
TESTS = ["-m", "pytest", "-m", "not gpu", "--durations=5"]
QUICK = "--quick"
QUICK_TESTS = ["-m", "not gpu and not slow", "tests/unit"]  # of two `-m`, pytest takes the last
SLOW = "types"  # reads all of ComfyUI that we use: left out between two thoughts
MORE = 1  # process than cores: another one collects all tests and starts a ComfyUI and pages of its own
MORE_QUICK = 3  # of the unit ring, whose slowest tests wait for a server, a child or the disk
MOST = 6  # processes
ROOM = 3e9  # bytes of memory for each: it has a ComfyUI in it, and up to three and a browser beside it


def environment(name: str) -> dict[str, str]:
    """Returns the variables of one check.

    The tiny models gain nothing from threads of their own; those of several processes would wait for each other.
    """
    if name == "types":  # pyright looks where the interpreter would; ComfyUI's modules are there only while it runs
        return {**os.environ, "PYTHONPATH": os.environ["COMFYUI_DIR"]}
    return {"OMP_NUM_THREADS": "1", **os.environ}


def lint(name: str) -> bool:
    """Runs one linter, and prints what it said and how it ended in one piece: the tests print at the same time."""
    result = subprocess.run(
        [sys.executable, *LINTERS[name]], cwd=ROOT, env=environment(name), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8",
    )  # fmt: skip
    said = result.stdout if result.returncode else ""
    say(f"\n{said}{name}: {'passed' if result.returncode == 0 else 'FAILED'}\n")
    return result.returncode == 0


def test(arguments: list[str]) -> bool:
    """Runs pytest, and says how it ended."""
    passed = subprocess.run([sys.executable, *TESTS, *arguments], cwd=ROOT, env=environment("tests")).returncode == 0
    say(f"tests: {'passed' if passed else 'FAILED'}\n")
    return passed


def spread(cores: int, memory: float, more: int) -> list[str]:
    """Returns the options that spread the tests over the cores: whole files, since these share servers and pages.

    Args:
        cores: That these tests may use.
        memory: Of the machine, in bytes.
        more: Processes than cores.
    """
    processes = min(cores + more, MOST, int(memory / ROOM))
    # In the order of tests/conftest.py, the longest first: xdist's own begins with the files of the most tests.
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"] if min(cores, processes) > 1 else []


def say(text: str) -> None:
    """Prints at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Runs every check, also after one failed, so that one run shows all there is to mend."""
    if arguments and arguments != [QUICK]:
        return 0 if test(arguments) else 1
    quick = bool(arguments)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = [name for name in LINTERS if not (quick and name == SLOW)]
    with ThreadPoolExecutor(1) as beside:  # one linter after another
        linters = [beside.submit(lint, name) for name in names]
        spreading = spread(cores, psutil.virtual_memory().total, MORE_QUICK if quick else MORE)
        tests = test([*spreading, *(QUICK_TESTS if quick else [])])
        passed = [linter.result() for linter in linters]
    say("".join(f"{name}: {'passed' if good else 'FAILED'}\n" for name, good in zip(names, passed, strict=True)))
    return 0 if tests and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
