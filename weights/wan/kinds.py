"""What a model file is, and how its weights are stored, told from the names, types and shapes of its tensors.

The marks are the tensor names of Wan-Video/Wan2.1 and Wan2.2 (Apache-2.0) and of thu-ml/TurboDiffusion (Apache-2.0).
"""

from __future__ import annotations

import re
from collections import Counter
from enum import Enum
from math import prod

from ..formats.header import Header
from ..lora_keys import split
from ..names import expert_of


class Kind(str, Enum):
    """What a file is. The value is how a message names it."""

    WAN22_I2V = "Wan 2.2 I2V A14B"
    WAN_T2V = "Wan T2V"
    WAN22_TI2V_5B = "Wan 2.2 TI2V 5B"
    WAN21_I2V = "Wan 2.1 I2V"
    WAN_VACE = "Wan VACE"
    WAN_ANIMATE = "Wan Animate"
    WAN_FUN_CONTROL = "Wan Fun Control"
    WAN_FUN_CAMERA = "Wan Fun Camera"
    WAN_S2V = "Wan S2V"
    WAN_OTHER = "another Wan variant"
    WAN_PART = "one part of a Wan model"
    WAN_DIFFUSERS = "a Wan model with the tensor names of diffusers"
    TEXT_ENCODER = "a text encoder"
    VAE = "a VAE"
    LORA = "a LoRA"
    UNKNOWN = "an unknown kind of file"


class Storage(str, Enum):
    """How a file stores its weights. The value is how a message names it."""

    F32 = "fp32"
    F16 = "fp16"
    BF16 = "bf16"
    F8_E4M3 = "fp8 e4m3fn"
    F8_E5M2 = "fp8 e5m2"
    F8_SCALED = "fp8 scaled"
    MXFP8 = "mxfp8"
    NVFP4 = "nvfp4"
    INT8_TENSORWISE = "int8_tensorwise"
    TURBODIFFUSION_INT8 = "int8 in TurboDiffusion's 128x128 blocks"
    OTHER = "another type"


SAVED_PREFIX = "diffusion_model."  # as ComfyUI names a model's weights inside, and some tools save them
PREFIXES = ("", "model.diffusion_model.", SAVED_PREFIX, "model.", "model.model.", "net.")
SCALES = ("weight_scale", "scale_weight")  # how the scale of a layer's weight is named, today and formerly
_VARIANTS = {  # how the names begin that only this variant has
    "vace_": Kind.WAN_VACE,
    "face_adapter.": Kind.WAN_ANIMATE,
    "control_adapter.": Kind.WAN_FUN_CAMERA,
    "ref_conv.": Kind.WAN_FUN_CONTROL,
    "casual_audio_encoder.": Kind.WAN_S2V,  # spelt so in the files
    "audio_proj.": Kind.WAN_OTHER,  # HuMo
    "patch_embedding_": Kind.WAN_OTHER,  # SCAIL, WanDancer
}
_CHANNELS = {  # (input channels, output channels, has an image encoder)
    (36, 16, False): Kind.WAN22_I2V,  # also Fun InP, which is used the same way
    (36, 16, True): Kind.WAN21_I2V,
    (16, 16, False): Kind.WAN_T2V,
    (48, 16, True): Kind.WAN_FUN_CONTROL,
    (52, 16, False): Kind.WAN_FUN_CONTROL,
    (48, 48, False): Kind.WAN22_TI2V_5B,
}
_WIDTH_OF_14B, _WIDTH_OF_1_3B = 5120, 1536
_SHARED_PARTS = ("", "alpha", "dora_scale")  # which tell no LoRA alone
_OTHER_ADAPTER = re.compile(r"[._](?:b?oft_\w+(?:\.\w+)*|set_weight|[ab][12]\.weight)$")  # OFT, GLoRA, ComfyUI's own
_TEXT_ENCODER_NAME = re.compile(r"(encoder\.block|text_model\.encoder\.layers|model\.layers|token_embedding)\.")
_DIFFUSERS_NAME = re.compile(r"condition_embedder\.|(.*\.)?blocks\.\d+\.attn1\.to_q\.")
_BLOCK_NAME = re.compile(r"(.*\.)?blocks\.\d+\.(self_attn|cross_attn)\.")
_VAE_NAMES = ("decoder.middle.0.residual.0.gamma", "decoder.conv_in.weight", "decoder.conv_in.conv.weight")


def identify(header: Header) -> Kind:
    """Tells what a file is from the names and shapes of its tensors, whatever its width."""
    prefix = wan_prefix(header)
    if prefix is not None:
        return _identify_wan(header, prefix)
    if any(split(name).part not in _SHARED_PARTS or _OTHER_ADAPTER.search(name) for name in header.tensors):
        return Kind.LORA
    if any(name in header.tensors for name in _VAE_NAMES):
        return Kind.VAE
    if any(_TEXT_ENCODER_NAME.match(name) for name in header.tensors):
        return Kind.TEXT_ENCODER
    if any(_DIFFUSERS_NAME.match(name) for name in header.tensors):
        return Kind.WAN_DIFFUSERS
    if any(_BLOCK_NAME.match(name) for name in header.tensors):
        return Kind.WAN_PART
    return Kind.UNKNOWN


def wan_prefix(header: Header) -> str | None:
    """Returns what stands before the names of a Wan transformer; None where the file holds none."""
    return next((prefix for prefix in PREFIXES if f"{prefix}head.modulation" in header.tensors), None)


def _identify_wan(header: Header, prefix: str) -> Kind:
    names = [name[len(prefix) :] for name in header.tensors if name.startswith(prefix)]
    for beginning, kind in _VARIANTS.items():
        if any(name.startswith(beginning) for name in names):
            return kind
    if f"{prefix}patch_embedding.weight" not in header.tensors or f"{prefix}head.head.weight" not in header.tensors:
        return Kind.WAN_PART
    has_image_encoder = any(name.startswith("img_emb.") for name in names)
    return _CHANNELS.get((*_channels(header, prefix), has_image_encoder), Kind.WAN_OTHER)


def _channels(header: Header, prefix: str) -> tuple[int, int]:
    patch = header.tensors.get(f"{prefix}patch_embedding.weight")
    inputs = patch.shape[1] if patch and len(patch.shape) > 1 else 0
    if patch and len(patch.shape) == 2:  # TurboDiffusion flattens the patch convolution to a linear layer
        inputs //= 4  # a patch is 1 x 2 x 2
    return inputs, (header.size(f"{prefix}head.head.weight", 0) or 0) // 4


def described(header: Header, file_name: str) -> str:
    """Says what a file is as a message does: the kind, with what tells a Wan model from its lookalikes."""
    kind, prefix = identify(header), wan_prefix(header)
    if prefix is None or kind is Kind.WAN_PART:
        return kind.value
    name = _t2v_name(header, prefix, file_name) if kind is Kind.WAN_T2V else kind.value
    return f"{name} ({_channels(header, prefix)[0]} input channels)"


def _t2v_name(header: Header, prefix: str, file_name: str) -> str:
    width = header.size(f"{prefix}head.modulation", 2)
    if width == _WIDTH_OF_1_3B:
        return "Wan 2.1 T2V 1.3B"
    if width != _WIDTH_OF_14B:
        return Kind.WAN_T2V.value
    # The tensors of both are alike; only Wan 2.2 has two experts.
    return "Wan 2.2 T2V A14B" if expert_of(file_name) else "Wan 2.1 T2V 14B"


def storage_of(header: Header) -> Storage:
    """Tells how a file stores its weights: by the marks of a quantised file, else by the type of most of them."""
    ends = {name.rpartition(".")[2] for name in header.tensors}
    if "int8_weight" in ends:
        return Storage.TURBODIFFUSION_INT8
    if "weight_scale_2" in ends:
        return Storage.NVFP4
    common = _common_type(header)
    scale = next((info.dtype for name, info in header.tensors.items() if name.endswith(".weight_scale")), None)
    if common.startswith("F8") and scale in ("U8", "F8_E8M0"):
        return Storage.MXFP8
    if common.startswith("F8") and (scale or ends & {"scale_weight", "scaled_fp8"}):
        return Storage.F8_SCALED
    if common == "I8" and scale:
        return Storage.INT8_TENSORWISE
    return Storage[common] if common in _PLAIN else Storage.OTHER


_PLAIN = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


def _common_type(header: Header) -> str:
    """Returns the type of most weights; biases, norms and scales are often stored finer."""
    counts: Counter[str] = Counter()
    for info in header.tensors.values():
        counts[info.dtype] += prod(info.shape)
    return max(counts, key=lambda dtype: counts[dtype], default="")
