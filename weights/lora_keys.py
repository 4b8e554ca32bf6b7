"""Names inside LoRA files: which layer of Wan a tensor is for, and which part of the LoRA it is, however it is spelled.

Trainers write the same layer as `diffusion_model.blocks.0.self_attn.q` (musubi-tuner's ComfyUI form, lightx2v, AI
Toolkit), `lora_unet_blocks_0_self_attn_q` (kohya), `blocks.0.self_attn.q` (DiffSynth), `lycoris_blocks_0_attn1_to_q`
(SimpleTuner) or `transformer.blocks.0.attn1.to_q` (diffusers, whose names for Wan are its own). The names here follow
ComfyUI's `comfy/ldm/wan/model.py` and diffusers' conversion of the original checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .lora_experts import without_component


class Key(NamedTuple):
    """A tensor's place: `layer` as the model names it, `part` as ComfyUI's adapters do, `adapter` as PEFT named it."""

    layer: str
    part: str
    adapter: str = ""


_PART = re.compile(
    r"""^(?P<layer>.+?)[._](?:
        (?P<factor> lora_(?:up|down|mid|A|B) | lora\.(?:up|down) | lora_linear_layer\.(?:up|down)
            | lora_magnitude_vector )
            (?: \.(?!weight$|bias$)(?P<adapter>[^.]+) )?  # PEFT's name of the adapter, such as `default`
            (?P<end> \.weight | \.bias )?
      | (?P<plain> alpha | dora_scale | diff | diff_b | diff_m | w_norm | b_norm
            | hada_(?:w[12]_[ab]|t[12]) | lokr_(?:w[12](?:_[ab])?|t2) )
    )$""",
    re.VERBOSE,
)
UP_BIAS = "lora_up.bias"  # PEFT's `lora_bias`
_FACTORS = {  # what the factor's name ends in, and ComfyUI's name of it; `down` is LoRA's A, `up` its B
    "down": "lora_down.weight",
    "A": "lora_down.weight",
    "up": "lora_up.weight",
    "B": "lora_up.weight",
    "mid": "lora_mid.weight",
    "vector": "dora_scale",  # PEFT's DoRA
}
_FLAT_PREFIX = re.compile(r"^(?:lora_unet_+|lycoris_|lora_transformer_|lora_)")
_WRAPPERS = re.compile(  # what torch.compile, DDP, FSDP, checkpointing and PEFT put into a name, wherever they stand
    r"(?:^|(?<=[._]))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_layer"
    r"|base_model[._]model|module)(?:[._]|$)"
)
_DIFFUSERS = (  # (ComfyUI's name, diffusers' name), for whole components of a dotted name
    ("self_attn.o", "attn1.to_out.0"),
    ("cross_attn.o", "attn2.to_out.0"),
    ("self_attn.norm_", "attn1.norm_"),
    ("cross_attn.norm_", "attn2.norm_"),
    ("self_attn.", "attn1.to_"),
    ("cross_attn.k_img", "attn2.add_k_proj"),
    ("cross_attn.v_img", "attn2.add_v_proj"),
    ("cross_attn.", "attn2.to_"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("norm3", "norm2"),
    ("head.head", "proj_out"),
    ("head.modulation", "scale_shift_table"),
    ("modulation", "scale_shift_table"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
)


def split(key: str) -> Key:
    """Splits a tensor's name into its layer, as the file spells it, and its part; the part is empty where unknown."""
    found = _PART.match(key)
    if not found:
        return Key(key, "")
    factor = found["factor"]
    part = _FACTORS[re.split(r"[._]", factor)[-1]] if factor else found["plain"]
    if found["end"] == ".bias":
        if part != "lora_up.weight":
            return Key(key, "")
        part = UP_BIAS
    return Key(found["layer"], part, found["adapter"] or "")


def unwrapped(name: str) -> str:
    """Returns a layer's name without the names of what a trainer had wrapped it or its parents in."""
    return _WRAPPERS.sub("", name).rstrip("._")


class Layers:
    """The layers of one model under all their names.

    Args:
        names: Of the model's weights, such as `blocks.0.self_attn.q`, without `.weight`.
    """

    def __init__(self, names: Iterable[str]):
        names = list(names)
        self._dotted = {diffusers_name(name): name for name in names} | {name: name for name in names}
        self._flat = {dotted.replace(".", "_"): name for dotted, name in self._dotted.items()}

    def find(self, key: str) -> Key | None:
        """Returns the place of a LoRA's tensor in this model, or None where it has none."""
        written, part, _ = split(key)
        if not part:
            return None
        written = without_component(unwrapped(written))
        if part == "diff_m":  # lightx2v's name for the change of a block's modulation, which ComfyUI does not read
            written, part = f"{written}.modulation", "diff"
        layer = self._dotted_layer(written) or self._flat.get(_FLAT_PREFIX.sub("", written, count=1).replace(".", "_"))
        return Key(layer, part) if layer else None

    def wrappers(self, written: str) -> list[str]:
        """Returns the components that a file's dotted name of a layer has before the layer's own."""
        parts = unwrapped(written).split(".")
        count = next((n for n in range(len(parts)) if ".".join(parts[n:]) in self._dotted), 0)
        return parts[:count]

    def _dotted_layer(self, written: str) -> str | None:
        # Whatever wraps the transformer puts a prefix of its own before the name: transformer., base_model.model., dit.
        while written not in self._dotted:
            _, dot, written = written.partition(".")
            if not dot:
                return None
        return self._dotted[written]


def diffusers_name(name: str) -> str:
    """Returns what diffusers calls a layer of Wan."""
    for ours, theirs in _DIFFUSERS:
        start, found, end = name.rpartition(ours)
        if found and (not start or start.endswith(".")) and (ours[-1] in "._" or not end):
            return f"{start}{theirs}{end}"
    return name
