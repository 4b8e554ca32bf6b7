"""Whether a model file can do the work of the input it was chosen for, told before any of its tensors is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from .formats.header import Header, ModelFile
from .names import Expert, experts_of
from .wan import training, transformer, turbodiffusion
from .wan.quantised import SCALE
from .wan.transformer import Kind, described, identify
from .words import words

EXAMPLES: dict[Expert, str] = {
    "high": "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors",
    "low": "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors",
}
_CHOOSE_TEXT_ENCODER = "Choose umT5-XXL as ComfyUI packs it, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors."
_CHOOSE_VAE = "Choose wan_2.1_vae.safetensors: Wan 2.2 A14B uses the VAE of Wan 2.1."

_WHY_NOT_AN_EXPERT = {
    Kind.WAN_T2V: "it takes no start image",
    Kind.WAN22_TI2V_5B: "it is one small model instead of two experts, with a VAE of its own",
    Kind.WAN21_I2V: "it is one model instead of two experts",
    Kind.WAN_VACE: "it follows control videos instead of a start image",
    Kind.WAN_ANIMATE: "it follows the video of a performer",
    Kind.WAN_FUN_CONTROL: "it follows control videos beside the start image",
    Kind.WAN_FUN_CAMERA: "it follows a camera path beside the start image",
    Kind.WAN_S2V: "it follows a voice recording",
    Kind.WAN_OTHER: "it wants inputs that an image-to-video expert does not have",
    Kind.WAN_PART: "ComfyUI reads a model from one file, not from several",
    Kind.WAN_DIFFUSERS: "ComfyUI does not read those",
    Kind.TEXT_ENCODER: "it belongs in the input text_encoder",
    Kind.VAE: "it belongs in the input vae",
    Kind.TINY_VAE: "it decodes drafts, with ComfyUI's own Load VAE",
    Kind.LORA: "it changes a model and is none itself, so it belongs in the node Load LoRA with Trigger Words",
    Kind.UNKNOWN: "it has no tensors of a Wan model",
}


def check_files(high: ModelFile, low: ModelFile, text_encoder: ModelFile, vae: ModelFile) -> list[str]:
    """Checks the loader's four files before any is loaded.

    Returns:
        What a person should know about files that work, and may be the wrong ones.

    Raises:
        ValueError: A file cannot do the work of its input.
    """
    named = experts_of(*("/".join(file.path.parts[-2:]) for file in (high, low)))  # the folder may tell it alone
    notes = check_expert(high, "high", named[0])
    notes += [_same(high.name)] if high.path == low.path else check_expert(low, "low", named[1])
    check_text_encoder(text_encoder)
    return notes + check_vae(vae)


def check_expert(file: ModelFile, slot: Expert, named: Expert | None = None) -> list[str]:
    """Refuses a file that cannot work as an expert.

    Args:
        file: The file.
        slot: The loader's input that the file was chosen in.
        named: The expert that names say it is, if they do.

    Returns:
        What a person should know about a file that works, and may be the wrong one.

    Raises:
        ValueError: The file is no Wan 2.2 I2V A14B expert, or not a whole one.
    """
    kind = identify(file.header)
    if kind is Kind.WAN22_I2V and _PART.search(file.name):
        kind = Kind.WAN_PART
    if kind is not Kind.WAN22_I2V:
        described_as = kind.value if kind is Kind.WAN_PART else described(file)
        raise ValueError(
            f"'{file.name}' is {described_as}: {_WHY_NOT_AN_EXPERT[kind]}. "
            f"Choose a Wan 2.2 I2V A14B {slot}-noise file, for example {EXAMPLES[slot]}."
        )
    notes = []
    if turbodiffusion.is_turbodiffusion(file.header):
        notes = turbodiffusion.check(file)
    else:
        transformer.check(file)
        if turbodiffusion.has_projections(file.header):
            turbodiffusion.check_projections(file)
    trained = training.training_of(file)
    notes += [training.note(file, trained)] if trained else []
    if not trained and turbodiffusion.is_marked(file.header):
        notes.append(
            f"'{file.name}' was trained for sparse attention (SLA), and stores what belongs to it as numbers with "
            "scales, which are not read. It cannot run as it was trained: choose TurboDiffusion's own files for that."
        )
    if named in (None, slot):
        return notes
    return [
        *notes,
        f"'{file.name}' is in the input {slot}_noise, but its name says that it is the {named}-noise expert. "
        "Check that the two experts are not swapped.",
    ]


def _same(file_name: str) -> str:
    return (
        f"Both experts are the same file, '{file_name}'. Wan 2.2 was made to change from a high-noise to a low-noise "
        "expert during a run: unless this is deliberate, choose the other expert's file in one of the inputs."
    )


_PART = re.compile(r"-\d{5}-of-\d{5}\b")  # how the parts of a model that is saved in several files are named
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


def check_text_encoder(file: ModelFile) -> None:
    """Refuses a file that is not umT5-XXL in ComfyUI's layout, tokenizer included."""
    _refuse(file, _text_encoder_problem(file), _CHOOSE_TEXT_ENCODER)
    transformer.check_whole(file, _missing_of_xxl(file.header))


def _refuse(file: ModelFile, problem: str | None, remedy: str) -> None:
    if problem:
        raise ValueError(f"'{file.name}' {problem}. {remedy}")


def _text_encoder_problem(file: ModelFile) -> str | None:
    header = file.header
    if identify(header) is not Kind.TEXT_ENCODER:
        return f"is {described(file)}, not a text encoder"
    if "token_embedding.weight" in header.tensors:
        return "is umT5 with the tensor names of the original Wan release, which ComfyUI does not read"
    if header.size("shared.weight", 1) != 4096 or _ATTENTION.format(0, "q") not in header.tensors:
        return "is a text encoder, but not umT5-XXL, which Wan was trained with"
    if _ATTENTION.format(1, "relative_attention_bias") not in header.tensors:  # T5 shares the one of block 0
        return "is T5-XXL, the text encoder of Flux and SD3; Wan was trained with umT5-XXL"
    if "spiece_model" not in header.tensors:
        return "is umT5 without the tokenizer that ComfyUI expects inside the file"
    return None


_XXL = (256_384, 64)  # words and attention heads
_XXL_LAYERS = 24
_PARTS_OF_A_LAYER = (
    *(f"layer.0.SelfAttention.{part}.weight" for part in ("q", "k", "v", "o", "relative_attention_bias")),
    *(f"layer.1.DenseReluDense.{part}.weight" for part in ("wi_0", "wi_1", "wo")),
    "layer.0.layer_norm.weight",
    "layer.1.layer_norm.weight",
)


def _missing_of_xxl(header: Header) -> list[str]:
    """Returns the tensors that an umT5 of the full sizes lacks; a smaller one is made to be so."""
    if (header.size("shared.weight", 0), header.size(_ATTENTION.format(0, "relative_attention_bias"), 1)) != _XXL:
        return []
    layers = [f"encoder.block.{layer}.{part}" for layer in range(_XXL_LAYERS) for part in _PARTS_OF_A_LAYER]
    return [name for name in (*layers, "encoder.final_layer_norm.weight") if name not in header.tensors]


def check_vae(file: ModelFile) -> list[str]:
    """Refuses a file that is not the VAE of Wan 2.1, which Wan 2.2 A14B uses too.

    Returns:
        A warning about a file that has the tensors of that VAE, and is named for another model.
    """
    _refuse(file, _vae_problem(file), _CHOOSE_VAE)
    transformer.check_whole(file, [name for name in vae_tensors() if name not in file.header.tensors])
    if "qwen" not in words(file.name):
        return []
    return [
        f"'{file.name}' is named for Qwen-Image, whose VAE has the tensors of Wan's, but was trained for single "
        f"pictures. {_CHOOSE_VAE}"
    ]


def _vae_problem(file: ModelFile) -> str | None:
    header = file.header
    if identify(header) is Kind.TINY_VAE:
        return (
            f"is {Kind.TINY_VAE.value}, whose picture is that of a draft. For one, connect ComfyUI's own Load VAE to "
            "VAE Decode, and leave the start picture to Wan's own VAE"
        )
    if identify(header) is not Kind.VAE:
        return f"is {described(file)}, not a VAE"
    if "decoder.upsamples.0.upsamples.0.residual.2.weight" in header.tensors:
        return "is the VAE of Wan 2.2 TI2V 5B, with 48 latent channels where A14B has 16"
    if "decoder.middle.0.residual.0.gamma" not in header.tensors or header.size("decoder.conv1.weight", 1) != 16:
        return "is the VAE of another model"
    if header.size("decoder.head.2.weight", 0) == 12:  # four pixels of three colours
        return (
            "is a VAE of Wan whose decoder gives pictures of twice the size, as Wan2.1-VAE-upscale2x does. It was "
            "trained on single pictures, and ComfyUI does not put its pixels together"
        )
    if header.size("decoder.head.2.weight", 0) not in (None, 3):
        return "is a VAE of Wan whose decoder does not give the three colours of a picture"
    if any(SCALE.search(name) for name in header.tensors) or any(
        info.dtype == "I8" for info in header.tensors.values()
    ):
        return "is a VAE whose weights are numbers with scales, which ComfyUI does not apply"
    return None


# From `comfy/ldm/wan/vae.py`, which follows Wan-Video/Wan2.1 (Apache-2.0).
_RESIDUAL = tuple(f"residual.{part}" for part in ("0.gamma", "2.weight", "2.bias", "3.gamma", "6.weight", "6.bias"))
_RESAMPLE = ("resample.1.weight", "resample.1.bias")
_LAYERS = {
    "r": _RESIDUAL,
    "w": (*_RESIDUAL, "shortcut.weight", "shortcut.bias"),  # to another width
    "a": ("norm.gamma", "to_qkv.weight", "to_qkv.bias", "proj.weight", "proj.bias"),
    "s": _RESAMPLE,  # in space
    "t": (*_RESAMPLE, "time_conv.weight", "time_conv.bias"),  # in time too
}
_HALVES = {
    "encoder": {"downsamples": "rrswrtwrtrr", "middle": "rar"},
    "decoder": {"middle": "rar", "upsamples": "rrrtwrrtrrrsrrr"},
}


def vae_tensors() -> Iterator[str]:
    """Yields the names of the tensors of Wan 2.1's VAE, by which a file that lacks some is known."""
    for half, stages in _HALVES.items():
        yield from (f"{half}.{name}" for name in ("conv1.weight", "conv1.bias"))
        for stage, layers in stages.items():
            yield from (f"{half}.{stage}.{n}.{part}" for n, layer in enumerate(layers) for part in _LAYERS[layer])
        yield from (f"{half}.head.{name}" for name in ("0.gamma", "2.weight", "2.bias"))
    yield from (f"{conv}.{part}" for conv in ("conv1", "conv2") for part in ("weight", "bias"))
