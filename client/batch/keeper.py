"""Runs a command for as long as somebody holds this program's standard input: `python keeper.py COMMAND...`

So a ComfyUI that was started for a study ends with whoever started it, however that ended, kill -9 too. It needs the
standard library alone.
"""

import subprocess
import sys
import threading

GRACE = 10.0  # seconds between the wish to end and the end


def main(command: list[str]) -> int:
    """Runs the command, and ends it when standard input does. Returns its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=end_with_input, args=(child,), daemon=True).start()
    return child.wait()


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
