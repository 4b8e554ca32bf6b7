"""Runs pip with its progress shown, and turns its failures into one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from setup_cache import SetupError, cache_dir

SHOWN = re.compile(r"^\s*(Downloading|Building|Installing collected|Successfully)\b")
OFFLINE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ProtocolError|Failed to establish|name resolution"
    r"|ProxyError|SSLError|Connection (?:refused|reset|broken)|Network is unreachable|Could not fetch URL",
    re.IGNORECASE,
)
NO_BUILD = re.compile(r"satisfies the requirement (\S+) \(from versions: none\)")
UNKNOWN_FILE = re.compile(r"^    (\S+) (?:from|@) .*\n\s+Expected sha256", re.MULTILINE)
UNLISTED = re.compile(
    r"must have their versions pinned with ==. These do not:\n\s+(\S+)|hashes are missing.*\n\s+(\S+)"
)
NO_WHEEL = re.compile(r"no matching distributions available for your environment:\n\s+(\S+)")
OWN = "To do without, name a Python that has everything in COMFYUI_PYTHON."
NO_SPACE = re.compile(r"No space left on device|Errno 28|not enough space", re.IGNORECASE)


def pip(python: Path, *arguments: str) -> None:
    """Runs `python -m pip`, showing its download lines; the whole output goes to a log in the cache.

    Raises:
        SetupError: pip failed. The text says why in a sentence and names the log.
    """
    log = cache_dir() / "setup.log"
    command = [str(python), "-m", "pip", *arguments, "--no-input", "--progress-bar", "off"]
    environment = {**own_environment(), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    lines = []
    with log.open("a", encoding="utf-8") as file, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            if SHOWN.match(line):
                sys.stderr.write(f"        {line.strip()[:110]}\n")
                sys.stderr.flush()
    if process.returncode:
        raise SetupError(explain("".join(lines), log))


def own_environment() -> dict[str, str]:
    """Returns the variables for an environment of our own: without those that would mix another one into it."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def explain(output: str, log: Path) -> str:
    """Returns what went wrong from what pip printed."""
    if NO_SPACE.search(output):
        return f"The disk is full. Free some, or set WAN22_TURBO_CACHE to a folder on another disk (now {log.parent})."
    if OFFLINE.search(output):
        return (
            "The package index cannot be reached. Connect, or set COMFYUI_DIR and COMFYUI_PYTHON to a ComfyUI you have."
        )
    unchecked = explain_check(output)
    if unchecked:
        return f"{unchecked} Nothing of it was installed. {OWN}"
    missing = NO_BUILD.search(output)
    if missing:
        return f"The package index has no {missing[1]} for this Python and system, or it cannot be reached."
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-1:]
    return f"pip failed: {' '.join(errors[:1]).strip()} The whole output is in {log}."


def explain_check(output: str) -> str:
    """Returns which package pip would not take for want of a hash; "" where that was not the reason."""
    unknown, unlisted, no_wheel = (pattern.search(output) for pattern in (UNKNOWN_FILE, UNLISTED, NO_WHEEL))
    if unknown:
        return (
            f"The file of {unknown[1]} that pip was given is none of those in tools/constraints.txt: its sha256 is "
            "another. Someone may have changed it, or PIP_FIND_LINKS or another index has a build of its own."
        )
    if unlisted:
        return (
            f"tools/constraints.txt lists no {unlisted[1]} for this Python and system, so no file of it "
            "can be checked. `make pins` writes down what is missing."
        )
    if no_wheel:
        return f"There is no file of {no_wheel[1]} for this Python and system in the version that is written down."
    return ""


def runs(python: Path) -> bool:
    """Returns whether an interpreter still starts: one that its environment was made from may be gone."""
    try:
        return subprocess.run([str(python), "-c", ""], env=own_environment()).returncode == 0
    except OSError:
        return False
