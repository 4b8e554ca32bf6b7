"""One ComfyUI of a Ray cluster, in an actor on its node.

Ray starts it again there if it dies, and nowhere else: what its ComfyUI paid, the ledger on that node knows.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ClientError
from ..progress import Silent
from . import store
from .engine import Needs, Order
from .machine import Recipe, Started
from .table import Result

HERE = Path.home() / ".cache" / "wan22-turbo" / "machines"  # on each node

Said = tuple[str, Any]  # "done" and what came of it, or the kind of an error and its text


class Worker:
    """One ComfyUI, in an actor on its node.

    Args:
        recipe: How it is started there.
        study: What tells the study from every other one, and its folder from theirs: nodes are shared.
        number: Which of its node it is.
        depth: Jobs that it has at once.
    """

    def __init__(self, recipe: Recipe, study: str, number: int, depth: int):
        self.folder = HERE / study / str(number)
        self.folder.mkdir(parents=True, exist_ok=True)
        store.make(self.folder)
        self.engine = Started(recipe, 1, depth, self.folder, lambda text: None)
        (self.place,) = self.engine.places()
        self.at: dict[str, Stage] = {}
        self.lock = threading.Lock()

    def open(self, needs: Needs) -> Said:
        """Starts the ComfyUI where it does not run, and asks it."""
        return said(lambda: self.engine.open(self.place, needs))

    def run(self, order: Order, files: Mapping[str, bytes]) -> Said:
        """Runs a job, and returns what came of it with the bytes of its clips, unless these went elsewhere.

        Args:
            order: With files of whoever ordered it.
            files: Their bytes, by the paths in the order.
        """
        here = {path: self.keep(path, content) for path, content in files.items()}
        values = {name: here.get(value, value) for name, value in order.job.values.items()}
        away = "://" in order.target
        mine = replace(order, job=replace(order.job, values=values), target=order.target if away else str(self.folder))
        stage = self.at[order.prompt_id] = Stage()
        try:
            return said(lambda: self.made(self.engine.run(self.place, mine, stage), away))
        finally:
            del self.at[order.prompt_id]

    def stage(self, prompt_id: str) -> tuple[str, int, int]:
        """Returns the node at work in a job, and its steps."""
        now = self.at.get(prompt_id)
        return ("", 0, 0) if now is None else (now.title, now.done, now.total)

    def keep(self, path: str, content: bytes) -> str:
        """Puts a file of whoever ordered a job onto this node, under its own name, and returns where it is."""
        folder = self.folder / "pictures" / hashlib.sha256(content).hexdigest()[:16]
        file = folder / path.replace("\\", "/").rpartition("/")[2]
        with self.lock:
            if not file.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                part = folder / ".part"
                part.write_bytes(content)
                part.replace(file)
        return str(file)

    def made(self, result: Result, away: bool) -> tuple[Result, dict[str, bytes]]:
        """Takes a job's clips off this node's disk."""
        if away:
            return result, {}
        paths = {Path(clip).name: self.folder / clip for clip in result.clips}
        clips = {name: path.read_bytes() for name, path in paths.items()}
        for path in paths.values():
            path.unlink()
        return result, clips


class Stage(Silent):
    """The node at work in a job, for whoever asks."""

    def __init__(self) -> None:
        self.title, self.done, self.total = "", 0, 0

    def stage(self, title: str) -> None:
        """Takes note of it."""
        self.title, self.done, self.total = title, 0, 0

    def step(self, done: int, total: int) -> None:
        """Takes note of it."""
        self.done, self.total = done, total


def said(do: Callable[[], Any]) -> Said:
    """Returns what comes of a function, an error too: on its way through Ray that would lose its kind."""
    try:
        return "done", do()
    except ClientError as error:
        return type(error).__name__, str(error)
