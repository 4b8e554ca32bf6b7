"""What a LoRA's tensors become on their way to ComfyUI's patcher, as tests look at it."""

from pathlib import Path
from typing import NamedTuple

from pack.weights.formats.header import Header, ModelFile
from pack.weights.loras import format as lora_format
from pack.weights.loras.report import Match


class Conformed(NamedTuple):
    """What `conform` returns and notes: passes of tensors and of their own keys, and the keys that change nothing."""

    passes: list
    origin: list
    unmatched: list
    ignored: list
    other_expert: list


def conform(tensors, shapes, scaling=None, expert="high"):
    match = Match(ModelFile(Path("x.safetensors"), Header({}, {})), expert)
    passes = lora_format.conform(tensors, shapes, match, scaling)
    return Conformed(
        [{name: value for name, (_, value) in parts.items()} for parts in passes],
        [{name: key for name, (key, _) in parts.items() if key} for parts in passes],
        match.unmatched,
        match.ignored,
        match.other_expert,
    )
