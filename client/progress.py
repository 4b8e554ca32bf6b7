"""What a person sees of a run: a bar per stage with the time left on a terminal, a line per step elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from .printable import printable

AT_ONCE = 500  # lines
A_SECOND = 5.0  # lines
BARS = 40  # on a terminal


@dataclass
class Stage:
    """A node at work.

    Args:
        title: The node's.
        began: On a monotonic clock, in seconds.
        done, total: Its steps; 0 of 0 while it does not count them.
    """

    title: str
    began: float
    done: int = 0
    total: int = 0

    def left(self, now: float) -> float | None:
        """Returns the seconds until its end, at the pace so far. None before the first step and after the last."""
        if not 0 < self.done < self.total:
            return None
        return (now - self.began) / self.done * (self.total - self.done)


class Display(Protocol):
    """Shows a run."""

    def say(self, text: str) -> None:
        """Shows a sentence."""

    def stage(self, title: str) -> None:
        """Shows that another node is at work."""

    def step(self, done: int, total: int) -> None:
        """Shows how far it is."""

    def end(self) -> None:
        """Shows that nothing is at work any more."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Shows nothing."""

    def stage(self, title: str) -> None:
        """Shows nothing."""

    def step(self, done: int, total: int) -> None:
        """Shows nothing."""

    def end(self) -> None:
        """Shows nothing."""


class Lines:
    """A line for every stage, and for every step of it: for logs. Of a flood, a few lines a second."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.console = console
        self.clock = clock
        self.began = clock()
        self.now: Stage | None = None
        self.shown = 0

    def say(self, text: str) -> None:
        """Prints a sentence."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def stage(self, title: str) -> None:
        """Prints a node's title."""
        self.now = Stage(title, self.clock())
        self.line(title)

    def step(self, done: int, total: int) -> None:
        """Prints a step, once."""
        if self.now is not None and (self.now.done, self.now.total) != (done, total):
            self.now.done, self.now.total = done, total
            self.line(f"{self.now.title}  {done}/{total}{left_in_words(self.now.left(self.clock()))}")

    def end(self) -> None:
        """Forgets the stage."""
        self.now = None

    def line(self, text: str) -> None:
        """Prints a line after the time since the beginning."""
        seconds = self.clock() - self.began
        if self.shown < AT_ONCE + A_SECOND * seconds:
            self.shown += 1
            self.say(f"{seconds:7.1f} s  {text}")


class Bars:
    """A bar for every stage: for people."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False), console=console,
        )  # fmt: skip
        self.clock = clock
        self.now: Stage | None = None
        self.task: TaskID | None = None

    def say(self, text: str) -> None:
        """Prints a sentence above the bars."""
        self.bars.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def stage(self, title: str) -> None:
        """Ends the bar before, and starts one without a known length."""
        self.finish()
        self.bars.start()
        for old in self.bars.task_ids[:-BARS]:
            self.bars.remove_task(old)
        self.now = Stage(title, self.clock())
        self.task = self.bars.add_task(title, total=None, left="")

    def step(self, done: int, total: int) -> None:
        """Moves the bar."""
        if self.now is not None and self.task is not None:
            self.now.done, self.now.total = done, total
            left = left_in_words(self.now.left(self.clock()))
            self.bars.update(self.task, completed=done, total=total, left=left.lstrip(", "))

    def finish(self) -> None:
        """Fills the bar, for the stage has ended."""
        if self.now is not None and self.task is not None:
            total = self.now.total or 1
            self.bars.update(self.task, completed=total, total=total, left="")
            self.bars.stop_task(self.task)
        self.now = self.task = None

    def end(self) -> None:
        """Leaves the bars as they are."""
        if self.task is not None:
            self.bars.stop_task(self.task)
        self.now = self.task = None
        self.bars.stop()


def left_in_words(seconds: float | None) -> str:
    """Returns how long a stage will take; nothing if that is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", about {minutes} min {rest:02d} s left" if minutes else f", about {rest} s left"
