"""The parameters that ComfyUI's patcher passes over when it loads a model, and how their patches reach the sampler.

`ModelPatcher` and its dynamic twin patch the modules that hold all of their parameters themselves. A parameter beside
other modules, as the modulation of Wan's blocks and head is, keeps the value of the file, whatever was to be added to
it. Here such a parameter is patched right after the others, by the patcher's own method: that keeps the original in the
patcher's backup, from which every way of unpatching or changing to another clone restores it. docs/decisions/0020
"""

from __future__ import annotations

from typing import Any

from torch import nn

KEY = "wan22_turbo.passed_over"  # of the callback, so that a model has it once


def is_passed_over(model: nn.Module, parameter: str) -> bool:
    """Says whether a parameter belongs to a module that has other modules with parameters in it."""
    module = model.get_submodule(parameter.rpartition(".")[0])
    return any(True for child in module.children() for _ in child.parameters())


def can_patch(patcher: Any) -> bool:
    """Says whether a patcher restores these parameters when another clone or strength is loaded.

    The dynamic patcher of older ComfyUI leaves them as the last clone had them.
    """
    return not patcher.is_dynamic() or hasattr(patcher, "restore_loaded_backups")


def patch(patcher: Any, device_to: Any, *_: Any) -> None:
    """Patches what a patcher that has just loaded its model has passed over; its callback for that moment.

    Args:
        patcher: A `ModelPatcher` of any kind.
        device_to: The device that it has loaded the model to.
    """
    for name in patcher.patches:
        if name not in patcher.backup and is_passed_over(patcher.model, name):
            patcher.patch_weight_to_device(name, device_to)
