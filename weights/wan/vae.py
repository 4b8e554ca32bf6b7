"""The tensors of the VAE of Wan 2.1, by which a file that lacks some is known.

Source: `comfy/ldm/wan/vae.py`, which follows Wan-Video/Wan2.1 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator

_RESIDUAL = tuple(
    f"residual.{part}" for part in ("0.gamma", "2.weight", "2.bias", "3.gamma", "6.weight", "6.bias")
)  # fmt: skip
_RESAMPLE = ("resample.1.weight", "resample.1.bias")
_LAYERS = {
    "r": _RESIDUAL,
    "w": (*_RESIDUAL, "shortcut.weight", "shortcut.bias"),  # to another width
    "a": ("norm.gamma", "to_qkv.weight", "to_qkv.bias", "proj.weight", "proj.bias"),
    "s": _RESAMPLE,  # in space
    "t": (*_RESAMPLE, "time_conv.weight", "time_conv.bias"),  # in time too
}
_HALVES = {
    "encoder": {"downsamples": "rrswrtwrtrr", "middle": "rar"},
    "decoder": {"middle": "rar", "upsamples": "rrrtwrrtrrrsrrr"},
}


def tensors() -> Iterator[str]:
    """Yields the names of all of them."""
    for half, stages in _HALVES.items():
        yield from (f"{half}.{name}" for name in ("conv1.weight", "conv1.bias"))
        for stage, layers in stages.items():
            yield from (f"{half}.{stage}.{n}.{part}" for n, layer in enumerate(layers) for part in _LAYERS[layer])
        yield from (f"{half}.head.{name}" for name in ("0.gamma", "2.weight", "2.bias"))
    yield from (f"{conv}.{part}" for conv in ("conv1", "conv2") for part in ("weight", "bias"))
