"""Lets torchvision import beside a CPU-only torch that it was not built for.

The package index has no CPU builds of torchvision; its operator library wants CUDA and cannot be loaded. Importing it
then fails on two operators that it describes to torch without having them. Declaring them first is enough: nothing that
ComfyUI does with a video model calls them.
"""

import contextlib
import importlib.util
from pathlib import Path

import torch

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_declared: list[torch.library.Library] = []  # a library's operators go when it does


def let_torchvision_import() -> None:
    """Declares the operators if torch is CPU-only and torchvision cannot bring its own."""
    spec = importlib.util.find_spec("torchvision")
    if torch.version.cuda or torch.version.hip or spec is None or spec.origin is None or _declared:
        return
    for library in Path(spec.origin).parent.glob("_C*"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(library)
            return
    declared = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        declared.define(operator + SIGNATURE)
    _declared.append(declared)
