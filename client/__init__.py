"""Runs the shipped API prompts, or your own, on a ComfyUI: from the command line, `python client`, or from Python.

    from pathlib import Path
    from client import make

    clips = make("http://127.0.0.1:8188", "wan22_turbo_i2v", {"picture": "cat.png", "seconds": 3}, Path("clips"))

It needs the packages in `client/requirements.txt`. ComfyUI never imports it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import address, prompts
from .errors import ClientError
from .follow import DAY
from .job import run
from .progress import Display, Silent
from .server import Server

__all__ = ["ClientError", "Server", "make", "run"]


def make(
    server: str,
    prompt: str,
    values: Mapping[str, Any],
    target: Path,
    token: str = "",
    display: Display | None = None,
    timeout: float = DAY,
) -> list[Path]:
    """Runs a prompt and returns where the clips are.

    Args:
        server: Its address.
        prompt: The name of a shipped prompt, or the path of an API-format file.
        values: By readable name: `python client inputs NAME` lists them.
        target: A folder, or a file's name if the prompt makes one file. Nothing is overwritten.
        token: For the Authorization header, if the server wants one.
        display: Shows the run; nothing does by default.
        timeout: Seconds that the job may take.

    Raises:
        ClientError: It could not be done. The text says why, its kind what to do; see `client.errors`.
    """
    shown = display or Silent()
    comfyui = Server(address.parse(server, token), say=shown.say)
    try:
        with address.masked(comfyui.address):
            return run(comfyui, prompts.load(prompt), values, target, shown, timeout=timeout)
    finally:
        comfyui.close()
