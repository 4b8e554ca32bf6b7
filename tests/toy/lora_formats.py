"""Writes one LoRA in every format that trainers use, and says what each does to the weights.

Every function takes a random generator and returns the file's tensors, its metadata, and the change that strength 1
makes to each weight of `models.expert`, in float32, from the format's own formula. Sources: kohya-ss/sd-scripts and
musubi-tuner (alpha / rank x up down), huggingface/peft and diffusers, ModelTC/LightX2V, KohakuBlueleaf/LyCORIS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

DIM, FFN_DIM, RANK, ALPHA = 128, 256, 4, 2.0
SIZES = {  # (outputs, inputs) of the layers that the files here change
    "blocks.0.self_attn.q": (DIM, DIM),
    "blocks.1.self_attn.o": (DIM, DIM),
    "blocks.0.cross_attn.k": (DIM, DIM),
    "blocks.1.cross_attn.o": (DIM, DIM),
    "blocks.0.ffn.0": (FFN_DIM, DIM),
    "blocks.1.ffn.2": (DIM, FFN_DIM),
    "time_projection.1": (6 * DIM, DIM),
    "text_embedding.0": (DIM, 4096),
    "head.head": (64, DIM),
}
DIFFUSERS = {
    "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
    "blocks.1.self_attn.o": "blocks.1.attn1.to_out.0",
    "blocks.0.cross_attn.k": "blocks.0.attn2.to_k",
    "blocks.1.cross_attn.o": "blocks.1.attn2.to_out.0",
    "blocks.0.ffn.0": "blocks.0.ffn.net.0.proj",
    "blocks.1.ffn.2": "blocks.1.ffn.net.2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "head.head": "proj_out",
}


class File(NamedTuple):
    """A LoRA file and the change that it makes to each weight, by the weight's name."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] | None
    changes: dict[str, Tensor]


def low_rank(
    spell: Callable[[str], str],
    down: str,
    up: str,
    alpha: float | None = None,
    settings: dict[str, object] | None = None,
    scale: float = 1.0,
) -> Callable[[Generator, torch.dtype], File]:
    """Returns the writer of a plain LoRA: its layers' spelling, its factors' names, its alpha as a tensor if any."""

    def write(generator: Generator, dtype: torch.dtype) -> File:
        tensors, changes = {}, {}
        for layer, (outputs, inputs) in SIZES.items():
            a, b = factor(generator, dtype, RANK, inputs), factor(generator, dtype, outputs, RANK)
            name = spell(layer)
            tensors |= {f"{name}{down}": a, f"{name}{up}": b}
            if alpha is not None:
                tensors[f"{name}.alpha"] = torch.tensor(alpha, dtype=dtype)
            changes[f"{layer}.weight"] = scale * b.float() @ a.float()
        metadata = {"lora_adapter_metadata": json.dumps(settings)} if settings else None
        return File(tensors, metadata, changes)

    return write


def factor(generator: Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    return (torch.randn(*shape, generator=generator) / shape[-1] ** 0.5).to(dtype)


def flat(prefix: str, names: dict[str, str] | None = None) -> Callable[[str], str]:
    """Returns a spelling with underscores for dots."""
    return lambda layer: prefix + (names or {}).get(layer, layer).replace(".", "_")


def dotted(prefix: str, names: dict[str, str] | None = None) -> Callable[[str], str]:
    return lambda layer: prefix + (names or {}).get(layer, layer)


def lightx2v(generator: Generator, dtype: torch.dtype) -> File:
    """Factors, and whole differences of biases, norms and modulation."""
    file = low_rank(dotted("diffusion_model."), ".lora_down.weight", ".lora_up.weight")(generator, dtype)
    whole = {
        "blocks.0.self_attn.q.diff_b": ("blocks.0.self_attn.q.bias", (DIM,)),
        "blocks.0.self_attn.norm_q.diff": ("blocks.0.self_attn.norm_q.weight", (DIM,)),
        "blocks.0.norm3.diff": ("blocks.0.norm3.weight", (DIM,)),
        "blocks.0.norm3.diff_b": ("blocks.0.norm3.bias", (DIM,)),
        "blocks.1.diff_m": ("blocks.1.modulation", (1, 6, DIM)),
        "head.diff_m": ("head.modulation", (1, 2, DIM)),
        "patch_embedding.diff": ("patch_embedding.weight", (DIM, 36, 1, 2, 2)),
    }
    for name, (weight, shape) in whole.items():
        file.tensors[f"diffusion_model.{name}"] = factor(generator, dtype, *shape)
        file.changes[weight] = file.tensors[f"diffusion_model.{name}"].float()
    return file


def loha(generator: Generator, dtype: torch.dtype) -> File:
    """LyCORIS LoHa: alpha / rank x (w1_a w1_b) * (w2_a w2_b)."""
    tensors, changes = {}, {}
    for layer, (outputs, inputs) in SIZES.items():
        name = flat("lora_unet_")(layer)
        halves = [
            (factor(generator, dtype, outputs, RANK), factor(generator, dtype, RANK, inputs), number)
            for number in (1, 2)
        ]
        for a, b, number in halves:
            tensors |= {f"{name}.hada_w{number}_a": a, f"{name}.hada_w{number}_b": b}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA, dtype=dtype)
        products = [a.float() @ b.float() for a, b, _ in halves]
        changes[f"{layer}.weight"] = ALPHA / RANK * products[0] * products[1]
    return File(tensors, None, changes)


def lokr(generator: Generator, dtype: torch.dtype) -> File:
    """LyCORIS LoKr: the Kronecker product of a small matrix and a factored one; of two whole ones alpha is no part."""
    tensors, changes = {}, {}
    for layer, (outputs, inputs) in SIZES.items():
        name = flat("lycoris_", DIFFUSERS)(layer)
        small = factor(generator, dtype, 4, 4)
        a, b = factor(generator, dtype, outputs // 4, RANK), factor(generator, dtype, RANK, inputs // 4)
        tensors |= {f"{name}.lokr_w1": small, f"{name}.lokr_w2_a": a, f"{name}.lokr_w2_b": b}
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA, dtype=dtype)
        changes[f"{layer}.weight"] = ALPHA / RANK * torch.kron(small.float(), a.float() @ b.float())
    kernel = factor(generator, dtype, DIM // 4, 9, 1, 2, 2)
    small = factor(generator, dtype, 4, 4)
    tensors |= {"lycoris_patch_embedding.lokr_w1": small, "lycoris_patch_embedding.lokr_w2": kernel}
    whole = torch.einsum("ab,cdtyx->acbdtyx", small.float(), kernel.float())
    changes["patch_embedding.weight"] = whole.reshape(DIM, 36, 1, 2, 2)
    return File(tensors, None, changes)


PEFT = {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
PATTERN = {  # of every layer by name, and one that would be far too strong if it were not read
    **PEFT,
    "transformer.lora_alpha": 64.0,
    "transformer.alpha_pattern": {f"^{name}".replace(".", "\\."): ALPHA for name in DIFFUSERS.values()},
}
FORMATS: dict[str, Callable[[Generator, torch.dtype], File]] = {
    "kohya, musubi": low_rank(flat("lora_unet_"), ".lora_down.weight", ".lora_up.weight", ALPHA, scale=ALPHA / RANK),
    "Wan Fun": low_rank(flat("lora_unet__"), ".lora_down.weight", ".lora_up.weight", ALPHA, scale=ALPHA / RANK),
    "musubi for ComfyUI": low_rank(dotted("diffusion_model."), ".lora_A.weight", ".lora_B.weight"),
    "PEFT": low_rank(
        dotted("base_model.model."), ".lora_A.default.weight", ".lora_B.default.weight", ALPHA, scale=ALPHA / RANK
    ),
    "PEFT, adapter of another name": low_rank(
        dotted("base_model.model.transformer."), ".lora_A.my_style.weight", ".lora_B.my_style.weight"
    ),
    "PEFT without .weight": low_rank(dotted("diffusion_model."), ".lora_A", ".lora_B"),
    "DiffSynth": low_rank(dotted(""), ".lora_A.default.weight", ".lora_B.default.weight"),
    "diffusers": low_rank(dotted("transformer.", DIFFUSERS), ".lora_A.weight", ".lora_B.weight"),
    "diffusers with settings": low_rank(
        dotted("transformer.", DIFFUSERS), ".lora_A.weight", ".lora_B.weight", settings=PEFT, scale=ALPHA / RANK
    ),
    "diffusers, rank-stabilised": low_rank(
        dotted("transformer.", DIFFUSERS),
        ".lora_A.weight",
        ".lora_B.weight",
        settings={**PEFT, "transformer.use_rslora": True},
        scale=ALPHA / RANK**0.5,
    ),
    "diffusers with settings of layers": low_rank(
        dotted("", DIFFUSERS), ".lora_A.weight", ".lora_B.weight", settings=PATTERN, scale=ALPHA / RANK
    ),
    "diffusers, old": low_rank(dotted("transformer.", DIFFUSERS), ".lora.down.weight", ".lora.up.weight"),
    "diffusers' names, prefix transformer": low_rank(dotted("transformer."), ".lora_A.weight", ".lora_B.weight"),
    "OneTrainer": low_rank(
        flat("lora_transformer_", DIFFUSERS), ".lora_down.weight", ".lora_up.weight", ALPHA, scale=ALPHA / RANK
    ),
    "lightx2v": lightx2v,
    "LoHa": loha,
    "LoKr": lokr,
}


def dora(weights: dict[str, Tensor], peft: bool) -> Callable[[Generator, torch.dtype], File]:
    """Returns the writer of a DoRA on some weights, which scales every row (PEFT) or column (LyCORIS) of the sum.

    The change is ComfyUI's formula, not that of the papers: for rows it divides by the norm of the weight before
    instead of by that of the sum. Strength 0.5 goes half the way from the weight to the scaled sum.
    """

    def write(generator: Generator, dtype: torch.dtype) -> File:
        tensors, changes = {}, {}
        for layer, (outputs, inputs) in SIZES.items():
            alpha = torch.tensor(int(ALPHA))
            weight = weights[f"{layer}.weight"].float()
            a, b = factor(generator, dtype, RANK, inputs), factor(generator, dtype, outputs, RANK)
            total = weight + ALPHA / RANK * b.float() @ a.float()
            if peft:
                name = dotted("base_model.model.")(layer)
                norm = weight.norm(dim=1, keepdim=True)
                magnitude = (norm * 1.1).to(dtype)
                tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b, f"{name}.alpha": alpha}
                tensors[f"{name}.lora_magnitude_vector"] = magnitude[:, 0]
            else:
                name = flat("lora_unet_")(layer)
                norm = total.norm(dim=0, keepdim=True)
                magnitude = (norm * 1.1).to(dtype)
                tensors |= {f"{name}.lora_down.weight": a, f"{name}.lora_up.weight": b, f"{name}.alpha": alpha}
                tensors[f"{name}.dora_scale"] = magnitude
            changes[f"{layer}.weight"] = total * (magnitude.float() / norm) - weight
        return File(tensors, None, changes)

    return write
