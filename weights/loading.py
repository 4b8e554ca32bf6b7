"""Loads experts, text encoder, VAE and LoRAs through ComfyUI's own loaders and patcher."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import comfy.lora
import comfy.lora_convert
import comfy.memory_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.quant_ops
import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.text_encoders import wan

from . import checks, lora_keys, names, passed_over, peft
from .formats import model_file
from .formats.header import DamageError
from .loras import format as lora_format
from .loras import numbers as lora_numbers
from .wan import finite, kinds, quantised, turbodiffusion

# As in ComfyUI's own Load Diffusion Model.
WEIGHT_DTYPES: dict[str, dict[str, Any]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


SLA = "wan22_turbo.sla"  # the attachment that holds a model's `turbodiffusion.SlaProjections`
XXL = {"d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 256384}


def load_expert(path: str, weight_dtype: str, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Loads one expert.

    Args:
        path: A file that `checks.check_expert` has passed.
        weight_dtype: A key of `WEIGHT_DTYPES`.
        disable_dynamic: Turns ComfyUI's dynamic loading off; ComfyUI asks for it when it needs a second copy.

    Raises:
        ValueError: This ComfyUI does not compute with the way that the file stores its weights.
    """
    header = checks.read_listing(path)
    check_numbers(path)
    if turbodiffusion.is_turbodiffusion(header):
        return _load_turbodiffusion(header, path, weight_dtype, disable_dynamic)
    prefix = kinds.wan_prefix(header) or ""
    # The one prefix that ComfyUI does not read; older versions read no metadata that names layers with any.
    renamed = prefix and (prefix == kinds.SAVED_PREFIX or quantised.METADATA in header.metadata)
    misread = quantised.is_misread(header)
    if renamed or misread or header.spare or not checks.is_safetensors(path):
        state, metadata = read_tensors(path)
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if misread:
            state, metadata = quantised.in_new_names(state, metadata, header)
        return _load_state(state, quantised.without_prefix(metadata, prefix), path, weight_dtype, disable_dynamic)
    options = dict(WEIGHT_DTYPES[weight_dtype])
    return comfy.sd.load_diffusion_model(path, model_options=options, disable_dynamic=disable_dynamic)


def check_numbers(path: str) -> None:
    """Refuses an expert or a text encoder whose numbers cannot be computed with, before any of it is loaded.

    Raises:
        ValueError: This ComfyUI does not compute with the way that the file stores its weights, or they are damaged.
    """
    header = checks.read_listing(path)
    if not turbodiffusion.is_turbodiffusion(header):
        finite.check_scales(quantised.check_storage(header, path, set(comfy.quant_ops.QUANT_ALGOS)), Path(path))
    finite.check_small(header, Path(path))


def _load_turbodiffusion(
    header: checks.Header, path: str, weight_dtype: str, disable_dynamic: bool
) -> comfy.model_patcher.ModelPatcher:
    with turbodiffusion.converted(header, Path(path)) as (state, sla):
        if comfy.memory_management.aimdo_enabled:  # ComfyUI takes these very tensors for the model, and copies none
            state = {name: tensor.make() for name, tensor in state.items()}
        model = _load_state(state, None, path, weight_dtype, disable_dynamic)
    if sla:
        model.set_attachments(SLA, sla)
    return model


def _load_state(
    state: dict[str, Any], metadata: dict[str, str] | None, path: str, weight_dtype: str, disable_dynamic: bool
) -> comfy.model_patcher.ModelPatcher:
    options = dict(WEIGHT_DTYPES[weight_dtype])
    loaded = comfy.sd.load_diffusion_model_state_dict(state, options, metadata, disable_dynamic)
    model = cast(comfy.model_patcher.ModelPatcher, loaded)  # None is for files that no check has passed
    model.cached_patcher_init = (load_expert, (path, weight_dtype))  # how ComfyUI makes a copy for another device
    return model


def load_text_encoder(path: str) -> comfy.sd.CLIP:
    """Loads umT5.

    ComfyUI knows the encoder by the sizes of XXL; one of other sizes is built here, with those that the file has.

    Raises:
        ValueError: This ComfyUI does not compute with the way that the file stores its weights.
    """
    embeddings = folder_paths.get_folder_paths("embeddings")
    header = checks.read_listing(path)
    sizes = checks.text_encoder_sizes(header)
    check_numbers(path)
    misread = quantised.is_misread(header)
    if sizes == XXL and not misread and not header.spare:
        return comfy.sd.load_clip(ckpt_paths=[path], embedding_directory=embeddings, clip_type=comfy.sd.CLIPType.WAN)
    state, metadata = read_tensors(path)
    if misread:
        state, metadata = quantised.in_new_names(state, metadata, header)
    state, _ = comfy.utils.convert_old_quants(state, metadata=metadata or {})
    if sizes == XXL:
        return comfy.sd.load_text_encoder_state_dicts([state], embeddings, comfy.sd.CLIPType.WAN)
    quantisation = comfy.utils.detect_layer_quantization(state, "")
    return comfy.sd.CLIP(
        SimpleNamespace(params={}, clip=wan.te(t5_quantization_metadata=quantisation), tokenizer=wan.WanT5Tokenizer),
        embedding_directory=embeddings,
        tokenizer_data={"spiece_model": state.pop("spiece_model")},
        state_dict=[state],
        model_options={"umt5xxl_model_config": sizes},
    )


def load_vae(path: str) -> comfy.sd.VAE:
    """Loads a VAE.

    Raises:
        ValueError: It holds NaN or infinity.
    """
    state, metadata = read_tensors(path)
    finite.check_all(state, Path(path))
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    if hasattr(comfy.sd, "load_vae_patcher"):  # how ComfyUI makes a copy for another device
        vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (path, metadata, None))
    return vae


class Applied(NamedTuple):
    """A LoRA on an expert.

    Args:
        model: The patched clone.
        layers: How many of its layers change.
        keys: How many of the file's keys do that.
        lora: The file's other keys, by why they do not.
        unread: Patterns in PEFT's settings that are not understood, so that the strength of some layers may be wrong.
        assumed: PEFT wrote the file, and its alpha is not known, so that it is taken as the rank.
        in_doubt: Settings that could hold it are in its folder, and may be another file's.
    """

    model: comfy.model_patcher.ModelPatcher
    layers: int
    keys: int
    lora: lora_format.Conformed
    unread: tuple[str, ...]
    assumed: bool
    in_doubt: bool


def apply_lora(
    model: comfy.model_patcher.ModelPatcher, path: str, strength: float, expert: names.Expert = "high"
) -> Applied:
    """Adds a LoRA to a clone of an expert.

    Args:
        model: The expert; left as it is.
        path: The LoRA file.
        strength: Multiplies its effect; may be negative.
        expert: Which one it is, for files that hold both.

    Raises:
        ValueError: The file's numbers are damaged, stored in a way that is not read, or for experts that Wan has not.
    """
    tensors, metadata = read_tensors(path)
    scaling = peft.Scaling.of(metadata or {}, peft.COMPONENTS[expert])
    assumed = False
    if scaling is None and peft.keeps_alpha_beside(tensors):
        ranks = {len(each) for key, each in tensors.items() if lora_keys.split(key).part == "lora_down.weight"}
        scaling = peft.Scaling.beside(path, ranks)
        assumed = scaling is None
    try:
        lora_numbers.check_types(tensors)
        lora = lora_format.conform(comfy.lora_convert.convert_lora(tensors), shapes_of(model), scaling, expert)
        lora.zeros = lora_numbers.check(lora.passes, lora.origin)
    except DamageError as err:
        raise ValueError(f"LoRA '{Path(path).name}' {err}") from err
    key_map = comfy.lora.model_lora_keys_unet(model.model, {})
    patched = model.clone()
    layers: set[str] = set()
    keys = 0
    for named, origin in zip(lora.passes, lora.origin, strict=True):
        patches = comfy.lora.load_lora(named, key_map, log_missing=False)
        changed = add_patches(patched, patches, strength)
        layers |= {parameter.rpartition(".")[0] for parameter in changed}
        applied = {name for name in origin if not changed.isdisjoint(parameters_of(name))}
        keys += len(applied)
        lora.unmatched += [key for name, key in origin.items() if name not in applied]
    in_doubt = assumed and peft.are_in_doubt(path)
    return Applied(patched, len(layers), keys, lora, scaling.unread if scaling else (), assumed, in_doubt)


def add_patches(patched: comfy.model_patcher.ModelPatcher, patches: Any, strength: float) -> set[str]:
    """Adds patches to a clone, and returns the parameters that they will have changed when it is sampled with."""
    changed = {weight_name(name) for name in patched.add_patches(patches, strength)}
    beside = {name for name in changed if passed_over.is_passed_over(patched.model, name)}
    if not passed_over.can_patch(patched):
        for name in beside:
            patched.patches[name] = patched.patches[name][:-1]
        return changed - beside
    loaded = comfy.patcher_extension.CallbacksMP.ON_LOAD
    if beside and not patched.get_callbacks(loaded, passed_over.KEY):
        patched.add_callback_with_key(loaded, passed_over.KEY, passed_over.patch)
    return changed


def shapes_of(model: comfy.model_patcher.ModelPatcher) -> dict[str, tuple[int, ...] | None]:
    """Returns the shapes of an expert's parameters, weights by their name without `.weight`.

    None stands for a packed weight: quantised formats store fewer, wider numbers, and not all tell the shape they mean.
    """
    # The parameters themselves, as state_dict() would unpack them.
    return {
        name.removesuffix(".weight"): tuple(parameter.shape) if tells_its_shape(parameter) else None
        for name, parameter in model.model.diffusion_model.named_parameters()
    }


def tells_its_shape(parameter: torch.Tensor) -> bool:
    """Says whether a parameter's shape is that of the numbers it stands for: GGUF's and ComfyUI's own types say so."""
    return parameter.dtype.is_floating_point or type(parameter) not in (torch.Tensor, torch.nn.Parameter)


def parameters_of(name: str) -> tuple[str, ...]:
    """Returns the parameter that a tensor of ComfyUI's generic form changes, as ComfyUI may name it."""
    layer, part, _ = lora_keys.split(name)
    return (f"{layer}.bias",) if part in lora_format.OF_BIAS else (f"{layer}.weight", layer)


def weight_name(name: Any) -> str:
    """Returns the weight that a patch is for; ComfyUI names a part of a weight by a tuple."""
    return name if isinstance(name, str) else name[0]


def read_tensors(path: str) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Reads a file's tensors and metadata; a PyTorch file without running anything that it may hold.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The system does not let us read it.
        ValueError: It is no whole file of tensors.
    """
    header = checks.read_listing(path)  # ComfyUI's own errors hold the whole path, and not what to do
    if header.spare:
        return model_file.mapped(Path(path), header), header.metadata
    state, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    # A PyTorch file may hold more than tensors, under names that are no text, at which ComfyUI would stumble.
    return {name: value for name, value in cast(dict[str, Any], state).items() if name in header.tensors}, metadata
