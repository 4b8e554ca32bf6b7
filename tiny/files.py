"""The files of the trained models, under the names that the shipped graphs use, in bfloat16."""

import os
from pathlib import Path

import numpy as np
import torch
from comfy.ldm.wan.model import WanModel
from comfy.ldm.wan.vae import WanVAE
from comfy.sd import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..tests.toy.models import HIGH, LORA_HIGH, LORA_LOW, LOW, TEXT_ENCODER, VAE
from ..weights.formats.model_file import open_model
from ..weights.loading import load_text_encoder
from . import lora, text, vae
from .drawing import draw
from .experts import new_expert, side
from .quick import DEVICE, half_precision, lay_out
from .scenes import random_scene
from .vae_training import UNSEEN, as_tensor

MEASURED = 128  # clips, for the statistics of the latents
NAMES = {
    "vae": f"vae/{VAE}",
    "text": f"text_encoders/{TEXT_ENCODER}",
    "expert_high": f"diffusion_models/{HIGH}",
    "expert_low": f"diffusion_models/{LOW}",
    "rcm_high": f"loras/{LORA_HIGH}",
    "rcm_low": f"loras/{LORA_LOW}",
    **{
        f"{style}_{side(high)}": f"loras/{words.replace(' ', '_')}_{side(high)}_noise.safetensors"
        for style, words in text.STYLE_WORDS.items()
        for high in (True, False)
    },
}


def write(state: dict[str, Tensor], models: Path, name: str) -> None:
    """Writes a file of `NAMES` below a models folder, whole or not at all, and its trigger words into it."""
    path = models / NAMES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    words = text.STYLE_WORDS.get(name.rpartition("_")[0])
    save_file(state, beside, {"modelspec.trigger_phrase": words} if words else None)
    os.replace(beside, path)


def write_vae(model: WanVAE, models: Path) -> None:
    """Writes the VAE, with the statistics of its latents of scenes that are trained on made those of Wan's."""
    latents = []
    for seed in range(UNSEEN, UNSEEN + MEASURED):
        clip = as_tensor(draw(random_scene(seed), 208, 112, 9)[None])
        with torch.no_grad(), half_precision(clip.device):
            latents.append(vae.encode(model, clip)[0].float())
    values = torch.cat(latents)
    write(vae.file_state(model, values.mean((0, 2, 3, 4)), values.std((0, 2, 3, 4))), models, "vae")


def read_vae(models: Path) -> WanVAE:
    """Returns the VAE of the file."""
    state = _read(models, "vae")
    model = vae.new_vae(len(state["decoder.head.0.gamma"]), seed=0).requires_grad_(False)
    model.load_state_dict(state)
    lay_out(model)
    return model.to(DEVICE)


def write_text(models: Path, seed: int) -> None:
    """Writes the text encoder."""
    write(text.text_state(seed), models, "text")


def read_text(models: Path) -> CLIP:
    """Returns the text encoder of the file."""
    return load_text_encoder(open_model(_present(models, "text")))


def write_expert(model: WanModel, models: Path, high: bool) -> None:
    """Writes an expert."""
    write(_rounded(model), models, f"expert_{side(high)}")


def read_expert(models: Path, high: bool) -> WanModel:
    """Returns an expert of the file."""
    model = new_expert(seed=0)
    model.load_state_dict(_read(models, f"expert_{side(high)}"))
    return model.to(DEVICE)


def write_lora(model: WanModel, models: Path, name: str) -> None:
    """Writes the LoRA that an expert has, as a file of `NAMES`."""
    write(lora.file_state(model), models, name)


def adapted(expert: WanModel, models: Path, name: str) -> WanModel:
    """Puts the LoRA of a file into an expert, and returns the expert."""
    lora.adapt(expert, seed=0)
    state = _read(models, name)
    for place, part in expert.named_modules():
        if isinstance(part, lora.Adapted):
            part.down.data.copy_(state[f"diffusion_model.{place}.lora_down.weight"])
            part.up.data.copy_(state[f"diffusion_model.{place}.lora_up.weight"])
    return expert.requires_grad_(False)


def megabytes(models: Path) -> float:
    """Returns the size of all files."""
    return float(np.sum([path.stat().st_size for path in models.rglob("*.safetensors")])) / 1e6


def _rounded(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}


def _read(models: Path, name: str) -> dict[str, Tensor]:
    return {key: value.float() for key, value in load_file(_present(models, name)).items()}


def _present(models: Path, name: str) -> Path:
    path = models / NAMES[name]
    if not path.exists():
        raise FileNotFoundError(
            f"This course needs {path.name}, which another one makes. Run the courses in their order: `make tiny`."
        )
    return path
