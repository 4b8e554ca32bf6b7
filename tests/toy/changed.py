"""An expert whose own weights a test has changed by a formula, to compare the sampler's latents with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

from .sampling import conditioning, sample

PREFIX = "diffusion_model."


def own(model, name):
    """Returns the module and the name in it of one of an expert's parameters."""
    path, _, last = f"{PREFIX}{name}".rpartition(".")
    return comfy.utils.get_attr(model.model, path), last


def value(model, name) -> Tensor:
    """Returns a parameter as its layer multiplies with it, in float32."""
    module, last = own(model, name)
    weight = getattr(module, last).detach()
    return (weight.dequantize() if "Quantized" in type(weight).__name__ else weight).float()


@contextmanager
def changed(model, changes: dict[str, Tensor]) -> Iterator[None]:
    """Adds to an expert's own parameters, without its patcher, as long as the context lasts.

    A quantised weight is quantised anew as its layer itself does it.
    """
    comfy.model_management.load_models_gpu([model])  # without the patches of a clone that ran before
    kept = []
    try:
        for name, change in changes.items():
            module, last = own(model, name)
            parameter = getattr(module, last)
            kept.append((module, last, parameter))
            wanted = value(model, name) + change
            if "Quantized" in type(parameter).__name__:
                module.set_weight(wanted, seed=comfy.utils.string_to_seed(f"{PREFIX}{name}"))
            else:
                setattr(module, last, torch.nn.Parameter(wanted.to(parameter.dtype), requires_grad=False))
        yield
    finally:
        for module, last, parameter in kept:
            setattr(module, last, parameter)


def latent(model, **settings) -> Tensor:
    """Returns what our sampler makes of an expert."""
    return sample(model, model, conditioning(1), **{"steps": 1, **settings})


def distance(first: Tensor, second: Tensor) -> float:
    """Returns how far apart two latents are, in parts of the second's size."""
    return float((first - second).norm() / second.norm())
