"""The GPUs of this machine, of which each of several ComfyUIs gets one: `--start 2`."""

import itertools
import os
import re
from collections.abc import Sequence

from ..errors import UsageError
from ..printable import short

GPUS = "CUDA_VISIBLE_DEVICES"
GPU = re.compile(r"\d|GPU-|MIG-")  # how the name of one begins; at any other, such as -1, CUDA reads no further


def shared(count: int, arguments: Sequence[str]) -> list[dict[str, str]]:
    """Returns the variables that give each of several ComfyUIs a GPU of its own, of those that this process may use.

    Raises:
        UsageError: These are too few, or one of them is named twice.
    """
    said = os.environ.get(GPUS)
    named = map(str, range(count)) if said is None else map(str.strip, said.split(","))
    known = list(itertools.takewhile(GPU.match, named))
    if count == 1 or "--cpu" in arguments or not known:
        return [{}] * count
    if len(set(known)) < len(known):
        raise UsageError(f"{GPUS} names a GPU twice, got '{short(said or '')}'. CUDA then finds none: name each once.")
    if len(known) < count:
        raise UsageError(
            f"--start {count} needs a GPU for each, and {GPUS} names {len(known)}. Start fewer, or with "
            "--comfyui-arg=--cpu."
        )
    return [{GPUS: each} for each in known[:count]]
