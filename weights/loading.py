"""Loads experts, text encoder, VAE and LoRAs through ComfyUI's own loaders and patcher."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

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

from . import checks, lora_keys
from .formats import model_file
from .formats.header import DamageError, ModelFile, explained, is_safetensors
from .loras import format as lora_format
from .loras.report import Match
from .wan import quantised, turbodiffusion
from .wan.training import training_of
from .wan.transformer import SAVED_PREFIX, wan_prefix

# As in ComfyUI's own Load Diffusion Model.
WEIGHT_DTYPES: dict[str, dict[str, Any]] = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
SLA = "wan22_turbo.sla"  # the attachment that holds a model's `turbodiffusion.SlaProjections`
TRAINING = "wan22_turbo.training"  # the attachment that holds its `training.Training`
XXL = {"d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24, "vocab_size": 256384}
PASSED_OVER = "wan22_turbo.passed_over"  # of a callback, so that a model has it once


def load_expert(file: ModelFile, weight_dtype: str, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Loads one expert.

    Args:
        file: A file that `checks.check_expert` has passed.
        weight_dtype: A key of `WEIGHT_DTYPES`.
        disable_dynamic: Turns ComfyUI's dynamic loading off; ComfyUI asks for it when it needs a second copy.

    Raises:
        ValueError: This ComfyUI does not compute with the way that the file stores its weights.
    """
    check_numbers(file)
    model = _load_any(file, weight_dtype, disable_dynamic)
    training = training_of(file)
    if training:
        model.set_attachments(TRAINING, training)
        if turbodiffusion.has_projections(file.header):
            model.set_attachments(SLA, turbodiffusion.projections(file))
    return model


def _load_any(file: ModelFile, weight_dtype: str, disable_dynamic: bool) -> comfy.model_patcher.ModelPatcher:
    header = file.header
    if turbodiffusion.is_turbodiffusion(header):
        return _load_turbodiffusion(file, weight_dtype, disable_dynamic)
    prefix = wan_prefix(header) or ""
    # The one prefix that ComfyUI does not read; older versions read no metadata that names layers with any.
    renamed = prefix and (prefix == SAVED_PREFIX or quantised.METADATA in header.metadata)
    misread = quantised.is_misread(header)
    if renamed or misread or header.spare or not is_safetensors(file.path):
        state, metadata = read_tensors(file)
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if misread:
            state, metadata = quantised.in_new_names(state, metadata, header)
        return _load_state(state, quantised.without_prefix(metadata, prefix), file, weight_dtype, disable_dynamic)
    options = dict(WEIGHT_DTYPES[weight_dtype])
    return comfy.sd.load_diffusion_model(str(file.path), model_options=options, disable_dynamic=disable_dynamic)


def check_numbers(file: ModelFile) -> None:
    """Refuses an expert or a text encoder that is damaged, or stored as this ComfyUI does not compute with it."""
    if not turbodiffusion.is_turbodiffusion(file.header):
        layers = quantised.check_storage(file, set(comfy.quant_ops.QUANT_ALGOS))
        with explained(file.path, "safetensors"), model_file.tensors_of(file.path) as read:
            quantised.check_scales(layers, file.name, read)
    model_file.check_small(file)


def _load_turbodiffusion(file: ModelFile, weight_dtype: str, disable_dynamic: bool) -> comfy.model_patcher.ModelPatcher:
    with turbodiffusion.converted(file) as state:
        if comfy.memory_management.aimdo_enabled:  # ComfyUI takes these very tensors for the model, and copies none
            state = {name: tensor.make() for name, tensor in state.items()}
        return _load_state(state, None, file, weight_dtype, disable_dynamic)


def _load_state(
    state: dict[str, Any], metadata: dict[str, str] | None, file: ModelFile, weight_dtype: str, disable_dynamic: bool
) -> comfy.model_patcher.ModelPatcher:
    options = dict(WEIGHT_DTYPES[weight_dtype])
    loaded = comfy.sd.load_diffusion_model_state_dict(state, options, metadata, disable_dynamic)
    model = cast(comfy.model_patcher.ModelPatcher, loaded)  # None is for files that no check has passed
    model.cached_patcher_init = (_load_again, (str(file.path), weight_dtype))
    return model


def _load_again(path: str, weight_dtype: str, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    """Makes a copy of an expert for another device or for hooks, when ComfyUI asks for it."""
    return load_expert(model_file.open_model(path), weight_dtype, disable_dynamic)


def load_text_encoder(file: ModelFile) -> comfy.sd.CLIP:
    """Loads umT5.

    ComfyUI knows the encoder by the sizes of XXL; one of other sizes is built here, with those that the file has.

    Raises:
        ValueError: This ComfyUI does not compute with the way that the file stores its weights.
    """
    embeddings = folder_paths.get_folder_paths("embeddings")
    sizes = checks.text_encoder_sizes(file.header)
    check_numbers(file)
    misread = quantised.is_misread(file.header)
    if sizes == XXL and not misread and not file.header.spare:
        return comfy.sd.load_clip([str(file.path)], embeddings, comfy.sd.CLIPType.WAN)
    state, metadata = read_tensors(file)
    if misread:
        state, metadata = quantised.in_new_names(state, metadata, file.header)
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


def load_vae(file: ModelFile) -> comfy.sd.VAE:
    """Loads a VAE, or raises ValueError where it holds NaN or infinity."""
    state, metadata = read_tensors(file)
    model_file.check_all(file, state)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    patcher = getattr(comfy.sd, "load_vae_patcher", None)  # how newer ComfyUIs make a copy for another device
    if patcher:
        vae.patcher.cached_patcher_init = (patcher, (str(file.path), metadata, None))
    return vae


def apply_lora(model: comfy.model_patcher.ModelPatcher, match: Match) -> comfy.model_patcher.ModelPatcher:
    """Adds a LoRA to a clone of an expert, and notes in `match` what became of it.

    Args:
        model: The expert; left as it is.
        match: The file, the expert that it is, and the strength, which multiplies the effect and may be negative.

    Raises:
        ValueError: The file's numbers are damaged, stored in a way that is not read, or for experts that Wan has not.
    """
    tensors, metadata = read_tensors(match.file)
    scaling = find_scaling(match, tensors, metadata or {})
    try:
        lora_format.check_types(tensors)
        passes = lora_format.conform(comfy.lora_convert.convert_lora(tensors), shapes_of(model), match, scaling)
        match.zeros = len(lora_format.idle_layers(passes))
    except DamageError as err:
        raise ValueError(f"LoRA '{match.file.name}' {err}") from err
    key_map = comfy.lora.model_lora_keys_unet(model.model, {})
    patched = model.clone()
    layers: set[str] = set()
    for parts in passes:
        named = {name: value for name, (_, value) in parts.items()}
        changed = add_patches(patched, comfy.lora.load_lora(named, key_map, log_missing=False), match.strength)
        layers |= {parameter.rpartition(".")[0] for parameter in changed}
        for name, (key, _) in parts.items():
            if key is None:
                continue
            if changed.isdisjoint(parameters_of(name)):
                match.unmatched.append(key)
            else:
                match.keys += 1
    match.matched = len(layers)
    return patched


def find_scaling(match: Match, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> lora_keys.Scaling | None:
    """Returns PEFT's settings of a LoRA, and notes in `match` where they leave its strength uncertain."""
    scaling = lora_keys.Scaling.of(metadata, lora_keys.COMPONENTS[match.expert])
    if scaling is None and lora_keys.keeps_alpha_beside(tensors, metadata):
        ranks = {len(each) for key, each in tensors.items() if lora_keys.split(key).part == "lora_down.weight"}
        scaling = lora_keys.Scaling.beside(match.file.path, ranks)
        match.assumed = scaling is None
        match.in_doubt = match.assumed and lora_keys.are_in_doubt(match.file.path)
    match.unread = scaling.unread if scaling else ()
    return scaling


def add_patches(patched: comfy.model_patcher.ModelPatcher, patches: Any, strength: float) -> set[str]:
    """Adds patches to a clone, and returns the parameters that they will have changed when it is sampled with."""
    # ComfyUI names a part of a weight by a tuple.
    changed = {name if isinstance(name, str) else name[0] for name in patched.add_patches(patches, strength)}
    beside = {name for name in changed if is_passed_over(patched.model, name)}
    # The dynamic patcher of older ComfyUI leaves such parameters as the last clone had them.
    if patched.is_dynamic() and not hasattr(patched, "restore_loaded_backups"):
        for name in beside:
            patched.patches[name] = patched.patches[name][:-1]
        return changed - beside
    loaded = comfy.patcher_extension.CallbacksMP.ON_LOAD
    if beside and not patched.get_callbacks(loaded, PASSED_OVER):
        patched.add_callback_with_key(loaded, PASSED_OVER, patch_passed_over)
    return changed


def is_passed_over(model: torch.nn.Module, parameter: str) -> bool:
    """Returns whether ComfyUI's patcher passes over a parameter when it loads a model.

    `ModelPatcher` and its dynamic twin patch the modules that hold all of their parameters themselves. A parameter
    beside other modules, as the modulation of Wan's blocks and head is, keeps the value of the file.
    """
    module = model.get_submodule(parameter.rpartition(".")[0])
    return any(True for child in module.children() for _ in child.parameters())


def patch_passed_over(patcher: Any, device_to: Any, *_: Any) -> None:
    """Patches what a patcher that has just loaded its model has passed over; its callback for that moment.

    The patcher's own method keeps the original in its backup, from which every way of unpatching or changing to another
    clone restores it: docs/decisions/0020.

    Args:
        patcher: A `ModelPatcher` of any kind.
        device_to: The device that it has loaded the model to.
    """
    for name in patcher.patches:
        if name not in patcher.backup and is_passed_over(patcher.model, name):
            patcher.patch_weight_to_device(name, device_to)


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
    """Returns whether a parameter's shape is that of the numbers it stands for: GGUF's and ComfyUI's types say so."""
    return parameter.dtype.is_floating_point or type(parameter) not in (torch.Tensor, torch.nn.Parameter)


def parameters_of(name: str) -> tuple[str, ...]:
    """Returns the parameter that a tensor of ComfyUI's generic form changes, as ComfyUI may name it."""
    layer, part, _ = lora_keys.split(name)
    return (f"{layer}.bias",) if part in lora_format.OF_BIAS else (f"{layer}.weight", layer)


def read_tensors(file: ModelFile) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Reads a file's tensors and metadata; a PyTorch file without running anything that it may hold."""
    if file.header.spare:
        return model_file.mapped(file), file.header.metadata
    state, metadata = comfy.utils.load_torch_file(str(file.path), safe_load=True, return_metadata=True)
    # A PyTorch file may hold more than tensors, under names that are no text, at which ComfyUI would stumble.
    return {name: value for name, value in cast(dict[str, Any], state).items() if name in file.header.tensors}, metadata
