"""Which model a file holds and how it is stored, by names and shapes of its tensors, and whether an expert is whole.

The marks are the tensor names of Wan-Video/Wan2.1 and Wan2.2 (Apache-2.0) and of thu-ml/TurboDiffusion (Apache-2.0).
Why ComfyUI's own detection does not tell it: docs/decisions/0028.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from math import prod

from ..formats.header import Header, ModelFile, TensorInfo, listed
from ..lora_keys import is_lora_key
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
    TINY_VAE = "a tiny autoencoder (taehv, taew, lighttae)"
    LORA = "a LoRA"
    UNKNOWN = "an unknown kind of file"


SAVED_PREFIX = "diffusion_model."  # as ComfyUI names a model's weights inside, and some tools save them
PREFIXES = ("", "model.diffusion_model.", SAVED_PREFIX, "model.", "model.model.", "net.")
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
_TEXT_ENCODER_NAME = re.compile(r"(encoder\.block|text_model\.encoder\.layers|model\.layers|token_embedding)\.")
_DIFFUSERS_NAME = re.compile(r"condition_embedder\.|(.*\.)?blocks\.\d+\.attn1\.to_q\.")
_BLOCK_NAME = re.compile(r"(.*\.)?blocks\.\d+\.(self_attn|cross_attn)\.")
_VAE_NAMES = ("decoder.middle.0.residual.0.gamma", "decoder.conv_in.weight", "decoder.conv_in.conv.weight")
_TINY_VAE_NAMES = ("decoder.1.weight", "decoder.22.bias")
FLOATS = ("F32", "F16", "BF16")  # types that show the shape of what they store; a packed one may not
_LAYERS = 40  # of an A14B expert
_MAX_LAYERS = 100  # Wan has 40; a hostile file could list as many as it has tensors

Axes = tuple[str, ...]  # of a parameter, each by its name or by its number


def identify(header: Header) -> Kind:
    """Returns what a file is by the names and shapes of its tensors, whatever its width."""
    prefix = wan_prefix(header)
    if prefix is not None:
        return _identify_wan(header, prefix)
    if any(map(is_lora_key, header.tensors)):
        return Kind.LORA
    if any(name in header.tensors for name in _VAE_NAMES):
        return Kind.VAE
    if all(name in header.tensors for name in _TINY_VAE_NAMES):
        return Kind.TINY_VAE
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
    variants = tuple(_VARIANTS)
    if any(name.startswith(variants) for name in names):  # one look at each name: most files are of none
        return next(kind for start, kind in _VARIANTS.items() if any(name.startswith(start) for name in names))
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


def described(file: ModelFile) -> str:
    """Returns what a file is as a message says it: the kind, with what tells a Wan model from its lookalikes."""
    header = file.header
    kind, prefix = identify(header), wan_prefix(header)
    if prefix is None or kind is Kind.WAN_PART:
        return kind.value
    name = _t2v_name(header, prefix, file.name) if kind is Kind.WAN_T2V else kind.value
    return f"{name} ({_channels(header, prefix)[0]} input channels)"


def _t2v_name(header: Header, prefix: str, file_name: str) -> str:
    width = header.size(f"{prefix}head.modulation", 2)
    if width == _WIDTH_OF_1_3B:
        return "Wan 2.1 T2V 1.3B"
    if width != _WIDTH_OF_14B:
        return Kind.WAN_T2V.value
    # The tensors of both are alike; only Wan 2.2 has two experts.
    return "Wan 2.2 T2V A14B" if expert_of(file_name) else "Wan 2.1 T2V 14B"


def check(file: ModelFile) -> None:
    """Refuses an expert in ComfyUI's layout that lacks tensors, has too many, or of sizes that do not fit together."""
    prefix = wan_prefix(file.header) or ""
    tensors = {name.removeprefix(prefix): info for name, info in file.header.tensors.items()}
    expected = layers(tensors)
    wanted = shapes(expected)
    check_whole(file, [name for name in wanted if name not in tensors])
    blocks = len(_blocks(tensors))
    if blocks > expected:
        raise ValueError(
            f"'{file.name}' has {blocks} blocks, where a Wan model of its width has {expected}. Choose another version."
        )
    plain = {name: info for name, info in tensors.items() if info.dtype in FLOATS}
    odd = list(misfits(plain, wanted, widths(tensors)))
    if odd:
        raise ValueError(
            f"'{file.name}' has tensors whose sizes do not fit the others: {listed(odd)}. Choose another version."
        )


def check_whole(file: ModelFile, missing: list[str]) -> None:
    """Refuses a file of any kind that lacks tensors."""
    if missing:
        raise ValueError(f"'{file.name}' is not whole: it lacks {listed(missing)}. Download it again.")


def layers(tensors: Mapping[str, TensorInfo]) -> int:
    """Returns how many blocks there should be: of a small model as many as there are; a gap shows as missing."""
    head = tensors.get("head.modulation")
    if head is not None and head.shape[-1:] == (_WIDTH_OF_14B,):
        return _LAYERS
    return min(max(len(_blocks(tensors)), 1), _MAX_LAYERS)


def _blocks(tensors: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in tensors if name.startswith("blocks.")}


def linear(name: str, outputs: str, inputs: str) -> dict[str, Axes]:
    """Returns the parameters of a linear layer with their axes."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def shapes(count: int) -> dict[str, Axes]:
    """Returns all parameters of a Wan I2V transformer of so many blocks with their axes."""
    found: dict[str, Axes] = {
        "patch_embedding.weight": ("dim", "in", "1", "2", "2"),
        "patch_embedding.bias": ("dim",),
        **linear("text_embedding.0", "dim", "text"),
        **linear("text_embedding.2", "dim", "dim"),
        **linear("time_embedding.0", "dim", "freq"),
        **linear("time_embedding.2", "dim", "dim"),
        **linear("time_projection.1", "6 dim", "dim"),
        "head.modulation": ("1", "2", "dim"),
        **linear("head.head", "head", "dim"),
    }
    for block in (f"blocks.{layer}" for layer in range(count)):
        found |= {f"{block}.modulation": ("1", "6", "dim"), f"{block}.norm3.weight": ("dim",)}
        found |= {f"{block}.norm3.bias": ("dim",)}
        found |= linear(f"{block}.ffn.0", "ffn", "dim") | linear(f"{block}.ffn.2", "dim", "ffn")
        for attention in (f"{block}.self_attn", f"{block}.cross_attn"):
            found |= {f"{attention}.norm_{of}.weight": ("dim",) for of in "qk"}
            for projection in "qkvo":
                found |= linear(f"{attention}.{projection}", "dim", "dim")
    return found


def widths(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Reads the sizes that a Wan transformer may choose from one tensor each; no tensor of `shapes` may be missing."""

    def size(name: str, axis: int) -> int:
        shape = tensors[name].shape
        return shape[axis] if axis < len(shape) else 0

    dim, patch = size("head.modulation", 2), tensors["patch_embedding.weight"].shape
    return {
        "dim": dim,
        "6 dim": 6 * dim,
        "in": size("patch_embedding.weight", 1) // (4 if len(patch) == 2 else 1),
        "text": size("text_embedding.0.weight", 1),
        "freq": size("time_embedding.0.weight", 1),
        "ffn": size("blocks.0.ffn.0.weight", 0),
        "head": size("head.head.weight", 0),
    }


def misfits(tensors: Mapping[str, TensorInfo], wanted: Mapping[str, Axes], sizes: Mapping[str, int]) -> Iterator[str]:
    """Yields the tensors that do not have the sizes of their axes; those without axes may have any."""
    for name, info in tensors.items():
        shape = tuple(sizes[axis] if axis in sizes else int(axis) for axis in wanted.get(name, ()))
        flattened = (*shape[:1], 4 * shape[1]) if name == "patch_embedding.weight" else ()  # a patch is 1 x 2 x 2
        if name in wanted and info.shape not in (shape, flattened):
            yield name


def layout_of(header: Header) -> str:
    """Returns the format of ComfyUI's that types and names of tensors show where no text names one; else nothing."""
    scale = next((info.dtype for name, info in header.tensors.items() if name.endswith(".weight_scale")), None)
    if any(name.endswith(".weight_scale_2") for name in header.tensors):
        return "nvfp4"
    counts: Counter[str] = Counter()  # biases, norms and scales are often stored finer than most weights
    for info in header.tensors.values():
        counts[info.dtype] += prod(info.shape)
    common = max(counts, key=counts.__getitem__, default="")
    if common.startswith("F8") and scale in ("U8", "F8_E8M0"):
        return "mxfp8"
    return "int8_tensorwise" if common == "I8" and scale else ""
