"""A course of training: steps under a seed, with a bar, checkpoints, resuming, a log and curves.

What is drawn at random in a step follows from the seed and the step's number alone, so a course that was broken off
goes on from its last checkpoint as if nothing had been.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from .curves import draw_curves

Row = dict[str, float]


class Stateful(Protocol):
    """A model, an optimiser, or whatever else a step changes."""

    def state_dict(self) -> dict[str, Any]:
        """Returns all of its state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Takes such a state."""
        ...


@dataclass
class Course:
    """A course of training.

    Args:
        name: Of its files.
        folder: Where checkpoint, log and curves are kept.
        steps: How many there are in all.
        parts: All that a step changes, by name.
        step: Does the step of a number, and returns its losses.
        judge: Returns what is measured on unseen scenes.
        every: Seconds of the processor between checkpoints.
        apart: How many checkpoints there are to a judgement.
    """

    name: str
    folder: Path
    steps: int
    parts: dict[str, Stateful]
    step: Callable[[int], Row]
    judge: Callable[[], Row]
    every: float = 240
    apart: int = 2
    done: int = field(default=0, init=False)
    spent: float = field(default=0, init=False)

    @property
    def checkpoint(self) -> Path:
        """The file from which the course goes on."""
        return self.folder / f"{self.name}.pt"

    @property
    def log(self) -> Path:
        """The file of what was measured: one JSON object a line."""
        return self.folder / f"{self.name}.jsonl"

    def run(self) -> None:
        """Goes on to the last step."""
        self._resume()
        saved, saves, losses = _processor(), 0, []
        while self.done < self.steps:
            before = _processor()
            losses.append(self.step(self.done))
            self.done += 1
            self.spent += _processor() - before
            self._bar(losses[-1])
            last = self.done == self.steps
            if last or _processor() - saved > self.every:
                saves += 1
                measured = self.judge() if last or saves % self.apart == 0 else {}
                self._write({**_mean(losses[-200:]), **measured})
                self.save()
                saved, losses = _processor(), []

    def save(self) -> None:
        """Writes the checkpoint: a new one takes the place of the old one whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        states = {name: part.state_dict() for name, part in self.parts.items()}
        beside = self.checkpoint.with_suffix(".part")
        torch.save({"done": self.done, "spent": self.spent, "parts": states}, beside)
        os.replace(beside, self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.done, self.spent = state["done"], state["spent"]
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        rows = [row for row in read_log(self.log) if row["step"] <= self.done]
        self.log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def _write(self, measured: Row) -> None:
        """Adds a line to the log, and draws the curves anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        row = {"step": self.done, "processor_hours": round(self.spent / 3600, 4)}
        row |= {key: round(value, 5) for key, value in measured.items()}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.log.with_suffix(".svg").write_text(draw_curves(self.name, read_log(self.log)), encoding="utf-8")
        sys.stderr.write(f"\r{time.strftime('%H:%M:%S')} {json.dumps(row)}\n")

    def _bar(self, losses: Row) -> None:
        if sys.stderr.isatty():
            full = 30 * self.done // self.steps
            said = " ".join(f"{key} {value:.4f}" for key, value in losses.items())
            sys.stderr.write(f"\r{self.name} [{'#' * full:30}] {self.done}/{self.steps} {said} ")
            sys.stderr.flush()


def read_log(path: Path) -> list[Row]:
    """Returns the lines of a log; none if there is none yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _mean(rows: list[Row]) -> Row:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]} if rows else {}


def _processor() -> float:
    """Returns the seconds that this process has had of the processor, which other work on the machine moves less."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
