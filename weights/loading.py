"""Loads experts, text encoder, VAE and LoRAs through ComfyUI's own loaders and patcher."""

from pathlib import Path
from typing import Any

import comfy.lora
import comfy.lora_convert
import comfy.model_patcher
import comfy.sd
import comfy.utils
import folder_paths
import torch

from . import inspect

# As in ComfyUI's own Load Diffusion Model.
WEIGHT_DTYPES: dict[str, dict[str, Any]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


def load_expert(path: str, weight_dtype: str) -> comfy.model_patcher.ModelPatcher:
    """Loads one expert.

    Args:
        path: A file that `inspect.check_expert` has passed.
        weight_dtype: A key of `WEIGHT_DTYPES`.
    """
    return comfy.sd.load_diffusion_model(path, model_options=dict(WEIGHT_DTYPES[weight_dtype]))


def load_text_encoder(path: str) -> comfy.sd.CLIP:
    """Loads umT5. Its sizes are read from the file, so a smaller one than XXL loads as well."""
    sizes = inspect.text_encoder_sizes(inspect.read_header(path)) if is_safetensors(path) else {}
    return comfy.sd.load_clip(
        ckpt_paths=[path],
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=comfy.sd.CLIPType.WAN,
        model_options={"umt5xxl_model_config": sizes} if sizes else {},
    )


def load_vae(path: str) -> comfy.sd.VAE:
    """Loads a VAE."""
    state, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae


def apply_lora(
    model: comfy.model_patcher.ModelPatcher, path: str, strength: float
) -> tuple[comfy.model_patcher.ModelPatcher, int, list[str]]:
    """Adds a LoRA to a clone of an expert.

    Args:
        model: The expert; left as it is.
        path: The LoRA file.
        strength: Multiplies its effect; may be negative.

    Returns:
        The patched clone, how many weights of the model it changes, and the file's keys that belong to none of them.
    """
    tensors = comfy.lora_convert.convert_lora(comfy.utils.load_torch_file(path, safe_load=True))
    key_map = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(tensors, key_map, log_missing=False)
    patched = model.clone()
    matched = patched.add_patches(patches, strength)
    return patched, len(matched), unused_keys(tensors, key_map)


def unused_keys(tensors: dict[str, torch.Tensor], key_map: dict[str, Any]) -> list[str]:
    """Returns the keys of a LoRA that name no layer of the model, in the file's order."""
    known = {str(name) for name in key_map}
    return [key for key in tensors if not any(prefix in known for prefix in prefixes(key))]


def prefixes(key: str) -> list[str]:
    """Returns a dotted key and all that it may be short for: `a.b.lora_A.weight` is a part of `a.b`."""
    parts = key.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def is_safetensors(path: str) -> bool:
    """Says by its suffix whether a file has a safetensors header."""
    return Path(path).suffix.lower() in (".safetensors", ".sft")
