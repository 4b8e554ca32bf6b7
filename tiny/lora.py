"""LoRAs on the tiny experts: in place while they learn, and as the file that trainers write."""

import torch
from comfy.ldm.wan.model import WanModel
from torch import Tensor, nn

RANK = 16
PARTS = tuple(f"{attention}.{letter}" for attention in ("self_attn", "cross_attn") for letter in "qkvo")


class Adapted(nn.Module):
    """A linear layer, which stays, and what is added to it."""

    def __init__(self, base: nn.Linear, rank: int, random: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        down = torch.randn(rank, base.in_features, generator=random) / base.in_features**0.5
        self.down = nn.Parameter(down.to(base.weight.device))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    @property
    def weight(self) -> Tensor:
        """The layer's own, by whose kind newer versions of ComfyUI choose how to compute it."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Returns what both make of x."""
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, self.down), self.up)


def adapt(model: WanModel, seed: int, rank: int = RANK) -> WanModel:
    """Puts a LoRA that does nothing yet into every block of an expert, and freezes all else. Returns the expert."""
    model.requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    for block in model.blocks:
        for name in (*PARTS, "ffn.0", "ffn.2"):
            holder, _, last = name.rpartition(".")
            setattr(block.get_submodule(holder), last, Adapted(block.get_submodule(name), rank, random))  # pyright: ignore[reportArgumentType]
    return model


def file_state(model: WanModel) -> dict[str, Tensor]:
    """Returns what the LoRA's file holds, in the spelling that most trainers use."""
    state = {}
    for name, part in model.named_modules():
        if isinstance(part, Adapted):
            state[f"diffusion_model.{name}.lora_down.weight"] = part.down.detach()
            state[f"diffusion_model.{name}.lora_up.weight"] = part.up.detach()
            state[f"diffusion_model.{name}.alpha"] = torch.tensor(float(len(part.down)))
    return {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}
