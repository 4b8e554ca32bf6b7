"""What a model file is, and whether it can do the work of the input it was chosen for.

Told from the safetensors header alone. The marks are the tensor names of Wan-Video/Wan2.1 and Wan2.2 (Apache-2.0)
and of thu-ml/TurboDiffusion (Apache-2.0).
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import count
from pathlib import Path

from .header import Header, TensorInfo, has_header, read_header
from .pairing import Expert, expert_of

__all__ = [
    "EXAMPLES", "Expert", "Header", "Kind", "TensorInfo", "check_expert", "check_files", "check_pair",
    "check_text_encoder", "check_vae", "expert_of", "has_header", "identify", "read_header", "text_encoder_sizes",
]  # fmt: skip

EXAMPLES: dict[Expert, str] = {
    "high": "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    "low": "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
}
_CHOOSE_TEXT_ENCODER = "Choose umT5-XXL as ComfyUI packs it, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors."
_CHOOSE_VAE = "Choose wan_2.1_vae.safetensors: Wan 2.2 A14B uses the VAE of Wan 2.1."


class Kind(str, Enum):
    """What a file is. The value is how a message names it."""

    WAN22_I2V = "Wan 2.2 I2V A14B"
    WAN_T2V = "Wan T2V"
    WAN22_TI2V_5B = "Wan 2.2 TI2V 5B"
    WAN21_I2V = "Wan 2.1 I2V"
    WAN_VACE = "Wan VACE"
    WAN_ANIMATE = "Wan Animate"
    WAN_OTHER = "another Wan variant"
    TURBODIFFUSION = "a TurboDiffusion checkpoint"
    TEXT_ENCODER = "a text encoder"
    VAE = "a VAE"
    LORA = "a LoRA"
    UNKNOWN = "an unknown kind of file"


_PREFIXES = ("", "model.diffusion_model.", "diffusion_model.")
_VARIANTS = {  # how the names begin that only this variant has
    "vace_": Kind.WAN_VACE,
    "face_adapter.": Kind.WAN_ANIMATE,
    "control_adapter.": Kind.WAN_OTHER,  # Fun camera
    "ref_conv.": Kind.WAN_OTHER,  # Fun control
    "casual_audio_encoder.": Kind.WAN_OTHER,  # S2V; spelt so in the files
    "audio_proj.": Kind.WAN_OTHER,  # HuMo
    "patch_embedding_": Kind.WAN_OTHER,  # SCAIL, WanDancer
}
_CHANNELS = {  # (input channels, output channels, has an image encoder)
    (36, 16, False): Kind.WAN22_I2V,  # also Fun InP, which is used the same way
    (36, 16, True): Kind.WAN21_I2V,
    (16, 16, False): Kind.WAN_T2V,
    (48, 48, False): Kind.WAN22_TI2V_5B,
}
_LORA_NAME = re.compile(r"[._](lora_(up|down|[AB])|lora\.(up|down)|hada_w[12]_[ab]|lokr_w[12](_[ab])?|diff(_b)?)\b")
_TEXT_ENCODER_NAME = re.compile(r"(encoder\.block|text_model\.encoder\.layers|model\.layers|token_embedding)\.")
_VAE_NAMES = ("decoder.middle.0.residual.0.gamma", "decoder.conv_in.weight", "decoder.conv_in.conv.weight")

_WHY_NOT_AN_EXPERT = {
    Kind.WAN_T2V: "it takes no start image",
    Kind.WAN22_TI2V_5B: "it is one small model instead of two experts, with a VAE of its own",
    Kind.WAN21_I2V: "it is one model instead of two experts",
    Kind.WAN_VACE: "it follows control videos instead of a start image",
    Kind.WAN_ANIMATE: "it follows the video of a performer",
    Kind.WAN_OTHER: "it wants inputs that an image-to-video expert does not have",
    Kind.TURBODIFFUSION: "its layers are stored in a way that ComfyUI does not read",
    Kind.TEXT_ENCODER: "it belongs in the input text_encoder",
    Kind.VAE: "it belongs in the input vae",
    Kind.LORA: "it changes a model and is none itself, so it belongs in the node Load LoRA with Trigger Words",
    Kind.UNKNOWN: "it has no tensors of a Wan model",
}


def identify(header: Header) -> Kind:
    """Tells what a file is from the names and shapes of its tensors, whatever its width."""
    prefix = _wan_prefix(header)
    if prefix is not None:
        return _identify_wan(header, prefix)
    if any(_LORA_NAME.search(name) for name in header.tensors):
        return Kind.LORA
    if any(name in header.tensors for name in _VAE_NAMES):
        return Kind.VAE
    if any(_TEXT_ENCODER_NAME.match(name) for name in header.tensors):
        return Kind.TEXT_ENCODER
    return Kind.UNKNOWN


def _wan_prefix(header: Header) -> str | None:
    return next((prefix for prefix in _PREFIXES if f"{prefix}head.modulation" in header.tensors), None)


def _identify_wan(header: Header, prefix: str) -> Kind:
    names = [name[len(prefix) :] for name in header.tensors if name.startswith(prefix)]
    patch = header.tensors.get(f"{prefix}patch_embedding.weight")
    # TurboDiffusion flattens the patch convolution to a linear layer, and keeps int8 blocks beside their scales.
    if (patch and len(patch.shape) == 2) or any(name.endswith(".int8_weight") for name in names):
        return Kind.TURBODIFFUSION
    for beginning, kind in _VARIANTS.items():
        if any(name.startswith(beginning) for name in names):
            return kind
    has_image_encoder = any(name.startswith("img_emb.") for name in names)
    return _CHANNELS.get((*_channels(header, prefix), has_image_encoder), Kind.WAN_OTHER)


def _channels(header: Header, prefix: str) -> tuple[int, int]:
    patch_outputs = header.size(f"{prefix}head.head.weight", 0) or 0
    return header.size(f"{prefix}patch_embedding.weight", 1) or 0, patch_outputs // 4  # a patch is 1 x 2 x 2


def check_files(high: str, low: str, text_encoder: str, vae: str) -> list[str]:
    """Checks the loader's four files before any is loaded; PyTorch files are left for ComfyUI to judge.

    Returns:
        Warnings about files that work, but may be the wrong ones.

    Raises:
        ValueError: A file cannot do the work of its input.
    """
    name = {path: Path(path).name for path in (high, low, text_encoder, vae)}
    header = {path: read_header(path) for path in name if has_header(path)}
    warnings = check_expert(header[high], name[high], "high") if high in header else []
    if high == low:
        warnings += check_pair(name[high], name[low])
    elif low in header:
        warnings += check_expert(header[low], name[low], "low")
    if text_encoder in header:
        check_text_encoder(header[text_encoder], name[text_encoder])
    if vae in header:
        check_vae(header[vae], name[vae])
    return warnings


def check_expert(header: Header, file_name: str, slot: Expert) -> list[str]:
    """Refuses a file that cannot work as an expert.

    Args:
        header: The file's header.
        file_name: For the messages.
        slot: The loader's input that the file was chosen in.

    Returns:
        Warnings about a file that works, but may be the wrong one.

    Raises:
        ValueError: The file is no Wan 2.2 I2V A14B expert.
    """
    kind = identify(header)
    if kind is not Kind.WAN22_I2V:
        raise ValueError(
            f"'{file_name}' is {_described(header, kind)}: {_WHY_NOT_AN_EXPERT[kind]}. "
            f"Choose a Wan 2.2 I2V A14B {slot}-noise file, for example {EXAMPLES[slot]}."
        )
    named = expert_of(file_name)
    if named in (None, slot):
        return []
    return [
        f"'{file_name}' is in the input {slot}_noise, but its name says that it is the {named}-noise expert. "
        "Check that the two experts are not swapped."
    ]


def _described(header: Header, kind: Kind) -> str:
    prefix = _wan_prefix(header)
    if prefix is None or kind is Kind.TURBODIFFUSION:
        return kind.value
    return f"{kind.value} ({_channels(header, prefix)[0]} input channels)"


def check_pair(high_name: str, low_name: str) -> list[str]:
    """Warns when both experts are the same file."""
    if high_name != low_name:
        return []
    return [
        f"Both experts are the same file, '{high_name}'. Wan 2.2 was made to change from a high-noise to a low-noise "
        "expert during a run: unless this is deliberate, choose the other expert's file in one of the inputs."
    ]


_ATTENTION = "encoder.block.{}.layer.0.SelfAttention.{}.weight"


def text_encoder_sizes(header: Header) -> dict[str, int]:
    """Reads the sizes of a umT5 encoder that may differ from XXL.

    Returns:
        d_ff, d_kv, num_heads, num_layers and vocab_size, the names of umT5's configuration.

    Raises:
        ValueError: The file is no T5 encoder.
    """
    heads = header.size(_ATTENTION.format(0, "relative_attention_bias"), 1)
    width = header.size(_ATTENTION.format(0, "q"), 0)
    d_ff = header.size("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 0)
    vocabulary = header.size("shared.weight", 0)
    if not (heads and width and d_ff and vocabulary) or width % heads:
        raise ValueError(f"The text encoder has no complete first block of umT5. {_CHOOSE_TEXT_ENCODER}")
    layers = next(layer for layer in count() if _ATTENTION.format(layer, "q") not in header.tensors)
    return {"d_ff": d_ff, "d_kv": width // heads, "num_heads": heads, "num_layers": layers, "vocab_size": vocabulary}


def check_text_encoder(header: Header, file_name: str) -> None:
    """Refuses a file that is not umT5-XXL in ComfyUI's layout, tokenizer included.

    Raises:
        ValueError: It is something else.
    """
    problem = _text_encoder_problem(header)
    if problem:
        raise ValueError(f"'{file_name}' {problem}. {_CHOOSE_TEXT_ENCODER}")


def _text_encoder_problem(header: Header) -> str | None:
    kind = identify(header)
    if kind is not Kind.TEXT_ENCODER:
        return f"is {_described(header, kind)}, not a text encoder"
    if "token_embedding.weight" in header.tensors:
        return "is umT5 with the tensor names of the original Wan release, which ComfyUI does not read"
    if header.size("shared.weight", 1) != 4096 or _ATTENTION.format(0, "q") not in header.tensors:
        return "is a text encoder, but not umT5-XXL, which Wan was trained with"
    if _ATTENTION.format(1, "relative_attention_bias") not in header.tensors:  # T5 shares the one of block 0
        return "is T5-XXL, the text encoder of Flux and SD3; Wan was trained with umT5-XXL"
    if "spiece_model" not in header.tensors:
        return "is umT5 without the tokenizer that ComfyUI expects inside the file"
    return None


def check_vae(header: Header, file_name: str) -> None:
    """Refuses a file that is not the VAE of Wan 2.1, which Wan 2.2 A14B uses too.

    Raises:
        ValueError: It is something else.
    """
    problem = _vae_problem(header)
    if problem:
        raise ValueError(f"'{file_name}' {problem}. {_CHOOSE_VAE}")


def _vae_problem(header: Header) -> str | None:
    kind = identify(header)
    if kind is not Kind.VAE:
        return f"is {_described(header, kind)}, not a VAE"
    if "decoder.upsamples.0.upsamples.0.residual.2.weight" in header.tensors:
        return "is the VAE of Wan 2.2 TI2V 5B, with 48 latent channels where A14B has 16"
    if "decoder.middle.0.residual.0.gamma" not in header.tensors or header.size("decoder.conv1.weight", 1) != 16:
        return "is the VAE of another model"
    return None
