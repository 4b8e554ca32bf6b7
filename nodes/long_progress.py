"""What a person sees while a long clip is made: one bar over all parts, a few words, and the part in the making."""

import statistics
import time
from typing import Any

import comfy.utils
import torch

from ..samplers.routing import Expert
from .progress import duration, picture, say


class StoryProgress:
    """The bar counts steps, and a decoded part as one more.

    Args:
        experts: Which expert runs which step of a part.
        missing: Of each part, whether it has to be sampled.
        latent_format: Of the model; it colours the preview.
        node_id: Where the words appear; None without a server.
    """

    def __init__(self, experts: list[Expert], missing: list[bool], latent_format: Any, node_id: str | None) -> None:
        self.experts, self.latent_format, self.node_id = experts, latent_format, node_id
        self.parts = len(missing)
        self.step_seconds: list[float] = []
        self.decoded, self.decoded_seconds = 0, 0.0
        self.to_sample = sum(missing) * len(experts)
        self.bar = comfy.utils.ProgressBar(self.to_sample + self.parts, node_id=node_id)
        self.part = 0
        self.since = time.perf_counter()

    def sample(self, part: int) -> None:
        """Shows that a part, counted from 0, is sampled now."""
        self.part, self.since = part, time.perf_counter()
        self._say_step(0)

    def __call__(self, step: int, x0: torch.Tensor, x: torch.Tensor, total: int) -> None:
        """Reports a finished step. ComfyUI's bar raises its interrupt from here."""
        self.step_seconds.append(self._lap())
        self._update(picture(x0, self.latent_format))
        if step + 1 < total:
            self._say_step(step + 1)

    def decode(self, part: int) -> None:
        """Shows that a part is decoded and saved now."""
        self.part, self.since = part, time.perf_counter()
        say(f"Part {part + 1} of {self.parts}, decoding{self._left()}", self.node_id)

    def finish_part(self) -> None:
        """Reports a part that is in the file."""
        self.decoded_seconds += self._lap()
        self.decoded += 1
        self._update(None)

    def _lap(self) -> float:
        before, self.since = self.since, time.perf_counter()
        return self.since - before

    def _update(self, shown: Any) -> None:
        # A part that was there, and cannot be read, is made after all.
        steps = len(self.step_seconds)
        self.bar.update_absolute(steps + self.decoded, max(self.to_sample, steps) + self.parts, shown)

    def _say_step(self, step: int) -> None:
        count = f"step {step + 1} of {len(self.experts)}, {self.experts[step]}-noise expert"
        say(f"Part {self.part + 1} of {self.parts}, {count}{self._left()}", self.node_id)

    def _left(self) -> str:
        timed = self.step_seconds[1:]  # the first one also loads the model
        steps = max(0, self.to_sample - len(self.step_seconds))
        if not timed and (steps or not self.decoded):
            return ""
        step = statistics.mean(timed) if timed else 0.0
        part = self.decoded_seconds / self.decoded if self.decoded else step
        return f", about {duration(step * steps + part * (self.parts - self.decoded))} left"
