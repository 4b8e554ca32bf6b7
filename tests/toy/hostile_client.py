"""The client at work on servers that mean harm: `python hostile_client.py FOLDER`

Reads the arguments of one command line of the client after the other from standard input, JSON, one a line, and answers
each with {code, out, said, memory}: what its own entry point does and prints, and the most memory above the start, in
megabytes. A helper of tests/unit/test_client_hostile.py, in a process of its own so that the memory is the client's.
"""

import contextlib
import gc
import io
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from client import cli, follow, save, server, transport  # noqa: E402

STATUS = Path("/proc/self/status")
# So that what takes a minute takes a moment.
server.PAUSES, server.UNSURE_SECONDS = (0.01,), 0.2
follow.POLL, follow.SILENCE, follow.CONNECT_AGAIN = 0.05, 0.2, 0.1
transport.LATE = 0.5
save.PAUSE, save.LARGEST = 0.01, 30_000_000


def memory(which: str) -> float:
    """Returns VmRSS, the memory now, or VmHWM, the most since it was forgotten, in megabytes; 0 where nobody tells."""
    if not STATUS.exists():
        return 0.0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1000


def forget_peak() -> None:
    """Lets VmHWM begin anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Runs the client's entry point, and returns its exit code and what it prints."""
    out, said = io.StringIO(), io.StringIO()
    sys.argv = ["client", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            code = cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), said.getvalue()


def main() -> None:
    """Works off standard input."""
    start = 0.0
    for line in sys.stdin:
        gc.collect()
        forget_peak()
        code, out, said = run(json.loads(line))
        start = start or memory("VmRSS")
        answer = {"code": code, "out": out, "said": said, "memory": memory("VmHWM") - start}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
