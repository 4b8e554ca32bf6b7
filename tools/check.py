"""All checks: lint, format, types, then the tests. `make test`, or a part: `make test ARGS="tests/unit -k rcm"`.

Arguments go to pytest; with any, the linters are left out.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINTERS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "basedpyright", "--pythonpath", sys.executable],
}
TESTS = ["-m", "pytest", "-m", "not gpu", "--durations=5"]


def run(name: str, arguments: list[str]) -> bool:
    """Runs one check and says how it ended."""
    # Pyright looks for modules where the interpreter would; ComfyUI's are there only while it runs.
    path = {"PYTHONPATH": os.environ["COMFYUI_DIR"]} if name == "types" else {}
    passed = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **path}).returncode == 0
    sys.stdout.write(f"{name}: {'passed' if passed else 'FAILED'}\n")
    sys.stdout.flush()
    return passed


def main(arguments: list[str]) -> int:
    """Runs every check, also after one failed, so that one run shows all there is to mend."""
    results = [] if arguments else [run(name, command) for name, command in LINTERS.items()]
    results.append(run("tests", [*TESTS, *arguments]))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
