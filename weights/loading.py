"""Loads experts, text encoder, VAE and LoRAs through ComfyUI's own loaders and patcher."""

import re
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import comfy.lora
import comfy.lora_convert
import comfy.model_patcher
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.text_encoders import wan

from . import inspect, lora_format, lora_keys

# As in ComfyUI's own Load Diffusion Model.
WEIGHT_DTYPES: dict[str, dict[str, Any]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


XXL = {"d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 256384}


def load_expert(path: str, weight_dtype: str) -> comfy.model_patcher.ModelPatcher:
    """Loads one expert.

    Args:
        path: A file that `inspect.check_expert` has passed.
        weight_dtype: A key of `WEIGHT_DTYPES`.
    """
    return comfy.sd.load_diffusion_model(path, model_options=dict(WEIGHT_DTYPES[weight_dtype]))


def load_text_encoder(path: str) -> comfy.sd.CLIP:
    """Loads umT5.

    ComfyUI knows the encoder by the sizes of XXL; one of other sizes is built here, with those that the file has.
    """
    embeddings = folder_paths.get_folder_paths("embeddings")
    sizes = inspect.text_encoder_sizes(inspect.read_header(path)) if inspect.has_header(path) else XXL
    if sizes == XXL:
        return comfy.sd.load_clip(ckpt_paths=[path], embedding_directory=embeddings, clip_type=comfy.sd.CLIPType.WAN)
    state, _ = read_tensors(path)
    return comfy.sd.CLIP(
        SimpleNamespace(params={}, clip=wan.te(), tokenizer=wan.WanT5Tokenizer),
        embedding_directory=embeddings,
        tokenizer_data={"spiece_model": state.pop("spiece_model")},
        state_dict=[state],
        model_options={"umt5xxl_model_config": sizes},
    )


def load_vae(path: str) -> comfy.sd.VAE:
    """Loads a VAE."""
    state, metadata = read_tensors(path)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae


class Applied(NamedTuple):
    """A LoRA on an expert: the patched clone, how many of its layers change, how many of the file's keys do that, and
    those that belong to none of the expert's layers."""

    model: comfy.model_patcher.ModelPatcher
    layers: int
    keys: int
    unmatched: list[str]


def apply_lora(model: comfy.model_patcher.ModelPatcher, path: str, strength: float) -> Applied:
    """Adds a LoRA to a clone of an expert.

    Args:
        model: The expert; left as it is.
        path: The LoRA file.
        strength: Multiplies its effect; may be negative.
    """
    tensors, metadata = read_tensors(path)
    lora = lora_format.conform(comfy.lora_convert.convert_lora(tensors), shapes_of(model), metadata or {})
    key_map = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(lora.tensors, key_map, log_missing=False)
    patched = model.clone()
    layers = {layer_of(name) for name in patched.add_patches(patches, strength)}
    passed_over = [key for name, key in lora.origin.items() if layer_of(name) not in layers]
    return Applied(patched, len(layers), len(lora.origin) - len(passed_over), [*lora.unmatched, *passed_over])


def shapes_of(model: comfy.model_patcher.ModelPatcher) -> dict[str, tuple[int, ...] | None]:
    """Returns the shapes of an expert's weights by their name without `.weight`.

    None stands for a packed weight: quantised formats store fewer, wider numbers.
    """
    shapes: dict[str, tuple[int, ...] | None] = {}
    # The parameters themselves, as state_dict() would unpack them: GGUF's parameter tells its own shape.
    for name, weight in model.model.diffusion_model.named_parameters():
        if not name.endswith(".bias"):
            shapes[name.removesuffix(".weight")] = tuple(weight.shape) if weight.dtype.is_floating_point else None
    return shapes


def layer_of(name: Any) -> str:
    """Returns the layer of a LoRA's tensor in ComfyUI's generic form, or of a patch, which a tuple names in part."""
    name = name if isinstance(name, str) else name[0]
    written, part = lora_keys.split(name)
    return written if part else re.sub(r"\.(?:weight|bias)$", "", name)


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Reads a file's tensors and metadata; a PyTorch file without running anything that it may hold."""
    state, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    return cast(dict[str, Any], state), metadata
