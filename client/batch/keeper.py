"""Runs a command for as long as somebody holds this program's standard input: `python keeper.py COMMAND...`

So a ComfyUI that was started for a study ends with whoever started it, however that ended, kill -9 too. On Linux it
also ends when this program is killed. It needs the standard library alone.
"""

import ctypes
import signal
import subprocess
import sys
import threading

GRACE = 10.0  # seconds between the wish to end and the end
DIE_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG


def main(command: list[str]) -> int:
    """Runs the command, and ends it when standard input does. Returns its exit code."""
    bound = bind if sys.platform == "linux" else None
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=bound)
    threading.Thread(target=end_with_input, args=(child,), daemon=True).start()
    return child.wait()


def bind() -> None:
    """Has the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def end_with_input(child: "subprocess.Popen[bytes]") -> None:
    """Waits until nobody holds standard input any more."""
    while sys.stdin.buffer.read(4096):
        pass
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
