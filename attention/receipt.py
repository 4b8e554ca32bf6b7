"""The receipt of a run: what was sparse, what was not and why, how long it took and how far it is from exact."""

import time
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

import torch


class Clock:
    """Measures how long the device works on something, without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self.start = self.now()
        self.end = self.start

    def now(self) -> torch.cuda.Event | float:
        """Returns a moment of the device's own time."""
        if not self.on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def stop(self) -> "Clock":
        """Marks the end."""
        self.end = self.now()
        return self

    def seconds(self) -> float:
        """Returns the time between; on a GPU it waits for the end to come."""
        if isinstance(self.start, torch.cuda.Event) and isinstance(self.end, torch.cuda.Event):
            self.end.synchronize()
            return self.start.elapsed_time(self.end) / 1000
        return self.end - self.start  # pyright: ignore[reportOperatorIssue]


class Call(NamedTuple):
    """The self-attention of one layer in one evaluation.

    Args:
        layer: Its number.
        clock: Of the attention with its probe.
        why_dense: Why it was dense; empty where it was sparse.
        kernel: That computed it; empty where it was dense.
        density: Share of the scores that were computed exactly.
        bound: The relative error is at most this, by the probe; None where the model was trained to attend so.
    """

    layer: int
    clock: Clock
    why_dense: str = ""
    kernel: str = ""
    density: torch.Tensor | float | None = None
    bound: float | None = None


class Step(NamedTuple):
    """One evaluation of an expert: a step has two where cfg is not 1."""

    number: int
    expert: str
    clock: Clock
    calls: list[Call]


def rows(steps: Iterable[Step]) -> list[dict[str, object]]:
    """Returns a receipt as plain values, a row for each evaluation, for whoever reads it with a program."""
    return [_row(step) for step in steps]


def _row(step: Step) -> dict[str, object]:
    sparse = [call for call in step.calls if not call.why_dense]
    whole = max(step.clock.seconds(), 1e-9)
    row: dict[str, object] = {
        "step": step.number + 1,
        "expert": step.expert,
        "sparse layers": len(sparse),
        "layers": len(step.calls),
        "seconds": round(whole, 3),
        "share of time": round(sum(call.clock.seconds() for call in step.calls) / whole, 3),
        "dense": dict(Counter(call.why_dense for call in step.calls if call.why_dense)),
    }
    if sparse:
        bounds = [call.bound for call in sparse if call.bound is not None]
        row["kernel"] = ", ".join(dict.fromkeys(call.kernel for call in sparse))
        row["density"] = round(sum(float(call.density) for call in sparse if call.density is not None) / len(sparse), 4)
        if bounds:
            row["median error"], row["worst error"] = (round(found, 4) for found in (median(bounds), max(bounds)))
    return row


def lines(found: Iterable[dict[str, object]]) -> list[str]:
    """Writes a receipt for people, a line for each evaluation."""
    return [_line(row) for row in found]


def _line(row: dict[str, object]) -> str:
    parts = [f"step {row['step']} {row['expert']}:"]
    if not row["layers"]:
        return f"{parts[0]} not computed; another node put an earlier result in its place"
    if "density" in row:
        said = f"{row['sparse layers']} of {row['layers']} layers sparse, density {row['density']:.3f}, {row['kernel']}"
        if "worst error" in row:
            said += f", error at most {row['median error']:.3f} (median) and {row['worst error']:.3f} (worst)"
        parts.append(f"{said};")
    why = row["dense"]
    parts += [f"{count} dense: {reason};" for reason, count in why.items()] if isinstance(why, dict) else []
    return " ".join([*parts, f"attention took {row['share of time']:.0%} of the time"])
