"""What a person sees of a study: one bar over all with the time left, and one line for each worker."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..printable import printable, short
from ..progress import Display, Silent
from .plan import Job

LINES = 24  # of workers; those of more are not shown
A_SECOND = 4.0  # redraws of the lines


class Pace:
    """How long what is left takes, by what was measured: of each variant its own time, else that of all.

    Args:
        left: Jobs by variant.
        measured: How many of each were timed so far, and the seconds that one takes.
        clock: In seconds.
    """

    def __init__(
        self,
        left: Mapping[str, int],
        measured: Mapping[str, tuple[int, float]],
        clock: Callable[[], float] = time.monotonic,
    ):
        self.left = Counter(left)
        self.times = {variant: (count, count * mean) for variant, (count, mean) in measured.items()}
        self.clock = clock
        self.began = clock()
        self.worked = 0.0  # seconds of runs that ended since
        self.ended = 0

    def settled(self, variant: str, seconds: float | None) -> None:
        """Counts a job that has ended."""
        self.left[variant] -= 1
        self.ended += 1
        if seconds is not None:
            count, total = self.times.get(variant, (0, 0.0))
            self.times[variant] = (count + 1, total + seconds)
            self.worked += seconds

    def work(self) -> float | None:
        """Returns the seconds that one place would need for all that is left; None where nothing was measured."""
        count, total = (sum(each[part] for each in self.times.values()) for part in (0, 1))
        if not count:
            return None
        means = {variant: seconds / timed for variant, (timed, seconds) in self.times.items()}
        return sum(number * means.get(variant, total / count) for variant, number in self.left.items() if number > 0)

    def seconds(self, places: int) -> float | None:
        """Returns the seconds until the end: as many places at once as were at work so far, or all of them."""
        work, spent = self.work(), self.clock() - self.began
        if work is None:
            return None
        return work / (self.worked / spent if self.worked and spent else max(places, 1))


class Board(Protocol):
    """Shows a study."""

    def say(self, text: str) -> None:
        """Shows a sentence."""
        ...

    def begin(self, done: int, total: int, pace: Pace, places: int) -> None:
        """Shows how much there is to do."""
        ...

    def worker(self, place: str, slot: int, name: str) -> Display:
        """Returns what shows a job at work."""
        ...

    def settled(self, job: Job, state: str, why: str, seconds: float | None) -> None:
        """Shows that a job has ended."""
        ...

    def end(self) -> None:
        """Leaves what was shown as it is."""
        ...


class Quiet:
    """Shows nothing but what goes wrong with a server."""

    def __init__(self, console: Console):
        self.console = console
        self.pace: Pace | None = None
        self.done = self.total = self.places = 0

    def say(self, text: str) -> None:
        """Prints a sentence."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def begin(self, done: int, total: int, pace: Pace, places: int) -> None:
        """Takes note of it."""
        self.done, self.total, self.pace, self.places = done, total, pace, places

    def worker(self, place: str, slot: int, name: str) -> Display:
        """Shows nothing of a job at work."""
        return Silent()

    def settled(self, job: Job, state: str, why: str, seconds: float | None) -> None:
        """Counts it."""
        self.done += 1
        if self.pace is not None:
            self.pace.settled(job.variant, seconds)

    def end(self) -> None:
        """Shows nothing."""

    def left(self) -> str:
        """Returns how long the rest takes."""
        seconds = self.pace.seconds(self.places) if self.pace is not None else None
        return "" if seconds is None or self.done >= self.total else f"about {duration(seconds)} left"


class Lines(Quiet):
    """A line for every job that has ended: for logs."""

    def begin(self, done: int, total: int, pace: Pace, places: int) -> None:
        """Prints it."""
        super().begin(done, total, pace, places)
        self.say(f"{done} of {total} jobs are done. {self.left()}".strip())

    def settled(self, job: Job, state: str, why: str, seconds: float | None) -> None:
        """Prints what became of a job, and how much is left."""
        super().settled(job, state, why, seconds)
        took = f" in {seconds:.1f} s" if seconds is not None else ""
        parts = (f"{self.done}/{self.total}  {job.name}  {state}{took}", self.left())
        self.say(", ".join(filter(None, parts)) + (f"\n    {why}" if why else ""))


class Bars(Quiet):
    """A bar over all, and a line for each worker: for people."""

    def __init__(self, console: Console):
        super().__init__(console)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[more]}", markup=False), console=console, refresh_per_second=A_SECOND,
        )  # fmt: skip
        self.lock = threading.Lock()
        self.all: TaskID | None = None
        self.tasks: dict[tuple[str, int], TaskID] = {}

    def say(self, text: str) -> None:
        """Prints a sentence above the bars."""
        self.bars.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def begin(self, done: int, total: int, pace: Pace, places: int) -> None:
        """Starts the bar over all."""
        super().begin(done, total, pace, places)
        self.all = self.bars.add_task("All jobs", total=total, completed=done, more=self.left())
        self.bars.start()

    def worker(self, place: str, slot: int, name: str) -> Display:
        """Starts a line, or takes the one of the job before."""
        with self.lock:
            if (place, slot) not in self.tasks and len(self.tasks) < LINES:
                self.tasks[place, slot] = self.bars.add_task(short(place), total=None, more="")
            task = self.tasks.get((place, slot))
        return Silent() if task is None else Line(self.bars, task, short(name))

    def settled(self, job: Job, state: str, why: str, seconds: float | None) -> None:
        """Moves the bar over all, and prints what went wrong."""
        super().settled(job, state, why, seconds)
        if why:
            self.say(f"{job.name}  {state}: {why}")
        if self.all is not None:
            self.bars.update(self.all, completed=self.done, more=self.left())

    def end(self) -> None:
        """Takes the lines of the workers away, and leaves the bar."""
        for task in self.tasks.values():
            self.bars.remove_task(task)
        self.tasks.clear()
        self.bars.stop()


class Line(Silent):
    """The line of a worker: the job, the node at work in it, and its steps."""

    def __init__(self, bars: Progress, task: TaskID, name: str):
        self.bars, self.task, self.name = bars, task, name
        self.bars.reset(task, total=None, more=f"{name}  waiting")

    def stage(self, title: str) -> None:
        """Shows another node."""
        self.bars.update(self.task, completed=0, total=None, more=f"{self.name}  {title}")

    def step(self, done: int, total: int) -> None:
        """Moves the bar."""
        self.bars.update(self.task, completed=done, total=total)


def duration(seconds: float) -> str:
    """Writes a time as people say it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
