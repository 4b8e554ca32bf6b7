"""What tests load through the pack's own loaders, by its path."""

from typing import Any, NamedTuple

from pack.weights import loading
from pack.weights.formats.model_file import open_model
from pack.weights.loras.report import Match


class Applied(NamedTuple):
    """A patched clone of an expert, and what became of the LoRA."""

    model: Any
    match: Match


def load_expert(path, weight_dtype="default"):
    return loading.load_expert(open_model(path), weight_dtype)


def apply_lora(model, path, strength=1.0, expert="high"):
    match = Match(open_model(path), expert, strength)
    return Applied(loading.apply_lora(model, match), match)
