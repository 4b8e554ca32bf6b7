"""Files known by the names and shapes of their tensors, and written with no more than these in them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from pack.weights.checks import vae_tensors
from safetensors.torch import save_file

from .models import expert_shapes

Shapes = Mapping[str, tuple[int, ...]]

I2V = dict(expert_shapes(36, 16, 128, 1, 8))
T2V = I2V | {"patch_embedding.weight": (128, 16, 1, 2, 2)}
ATTENTION = "encoder.block.{}.layer.0.SelfAttention.{}.weight"
UMT5 = {
    "shared.weight": (20, 4096),
    ATTENTION.format(0, "q"): (6, 4096),
    ATTENTION.format(0, "relative_attention_bias"): (32, 2),
    ATTENTION.format(1, "q"): (6, 4096),
    ATTENTION.format(1, "relative_attention_bias"): (32, 2),
    "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (5, 4096),
    "spiece_model": (9,),
}
VAE21: Shapes = dict.fromkeys(vae_tensors(), (8,)) | {
    "decoder.middle.0.residual.0.gamma": (8, 1, 1, 1),
    "decoder.conv1.weight": (8, 16, 3, 3, 3),
    "decoder.head.2.weight": (3, 8, 3, 3, 3),
}
LORA = {"diffusion_model.blocks.0.ffn.0.lora_A.weight": (4, 8)}


def write(folder: Path, shapes: Shapes, name: str = "x.safetensors", metadata: dict[str, str] | None = None) -> Path:
    """Writes a file of zeros, a byte each."""
    path = folder / name
    save_file({key: torch.zeros(shape, dtype=torch.uint8) for key, shape in shapes.items()}, path, metadata)
    return path


def without(shapes: Shapes, *names: str) -> Shapes:
    return {key: shape for key, shape in shapes.items() if key not in names}


WAN = "diffusion_model.blocks.{}.self_attn.q.lora_{}.weight"


def wan(width=5120, ranks=(4,)):
    """Shapes of a LoRA's tensors: one layer of Wan for each rank."""
    return {WAN.format(layer, "A"): (rank, width) for layer, rank in enumerate(ranks)}
