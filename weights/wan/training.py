"""Which experts were trained to attend sparsely, and with which schedule: what a run of them should be.

TurboDiffusion's files show it by the tensors of their linear branch. LightWan2.2's (LightX2V's Wan2.2-NVFP4-Sparse, as
ComfyUI reads it) have the tensors of any other nvfp4 file, so of these the name tells.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..formats.header import ModelFile
from .transformer import layout_of
from .turbodiffusion import has_projections, is_marked


class Training(NamedTuple):
    """What an expert was trained with.

    Args:
        name: Of the method.
        density: Share of key blocks that each query block keeps.
        schedule: A name of `samplers.schedules`.
        shift: Of a shifted schedule; None for another.
        advice: What else its authors say.
    """

    name: str
    density: float
    schedule: str
    shift: float | None = None
    advice: str = ""

    def spoken_schedule(self) -> str:
        """Returns the schedule as a sentence names it."""
        return spoken(self.schedule, self.shift)


SLA = Training("SLA", 0.1, "rcm", advice="Their authors take a density of 0.1, and advise 0.15 for finer pictures.")
LIGHTWAN = Training(
    "LightWan2.2",
    0.1,
    "shifted",
    7.0,
    "They were trained at 480p with a density of 0.1, and their authors advise 0.2 at 720p.",
)
_NOT = {"no", "non", "not", "dense"}  # words of a name that take back what "sparse" says in it


def training_of(file: ModelFile) -> Training | None:
    """Returns how an expert was trained to be sparse; None where nothing tells that it was."""
    if is_marked(file.header):
        return SLA if has_projections(file.header) else None
    named = any(map(_is_lightwan, (file.path.stem, file.path.parent.name)))
    return LIGHTWAN if named and layout_of(file.header) == "nvfp4" else None


def _is_lightwan(name: str) -> bool:
    """Returns whether a file or a folder is called so, each by itself: a folder "sparse" says nothing of its files."""
    words = re.findall(r"[a-z0-9]+", name.casefold())
    said = {"nvfp4", "sparse"} <= set(words) and not _NOT & set(words)
    return said or any(word.startswith("lightwan") for word in words)


def wanted(training: Training | None) -> tuple[str, float | None]:
    """Returns the schedule and the shift that an expert should have; rcm where nothing is known of it."""
    return (training.schedule, training.shift) if training else ("rcm", None)


def spoken(schedule: str, shift: float | None) -> str:
    """Returns a schedule as a sentence names it."""
    return f"{schedule}, shift {shift:g}" if shift else schedule


def by_subject(high: Training | None, low: Training | None) -> dict[str, Training]:
    """Returns how the experts were trained, by the subject and verb that a sentence about it begins with."""
    if high and high == low:
        return {"These files were": high}
    found = {"The high-noise file was": high, "The low-noise file was": low}
    return {subject: training for subject, training in found.items() if training}


def note(file: ModelFile, training: Training) -> str:
    """Returns what a person should know of a file that was trained to be sparse."""
    told = ", as its name says," if training is LIGHTWAN else ""
    return (
        f"'{file.name}' was trained for sparse attention ({training.name}){told} and the schedule "
        f"{training.spoken_schedule()}. Sparse Attention runs it so, and rCM Sampler's schedule auto. Without that "
        "node ComfyUI's attention is dense, which is slower, and the picture may differ a little."
    )
