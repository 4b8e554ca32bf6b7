"""What a LoRA file is, and the report of what became of it: the text that a person reads on the node."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .header import Header
from .pairing import Expert, expert_of
from .triggers import tidy

SHOWN = 3  # unmatched layers named in a message; the others are counted


class Source(str, Enum):
    """How the low-noise file was found. The value is how the report says it."""

    CHOSEN = "chosen"
    PAIRED = "auto: paired by name"
    SHARED = "auto: no partner found, the same file serves both experts"


@dataclass(frozen=True)
class LoraFacts:
    """What a LoRA's header says about it; None or empty where it says nothing."""

    made_for: str  # the model by the names and sizes of its layers
    base: str  # the model as the trainer wrote it down
    title: str
    trainer: str
    rank: int | None  # the largest, where layers differ
    rank_varies: bool
    alpha: float | None  # as the trainer wrote it down; the file's own alpha tensors are not read
    example: str  # a layer's name, to show what the file's names look like


@dataclass(frozen=True)
class Match:
    """What became of one LoRA file on one expert.

    Args:
        expert: The expert that it was applied to.
        file_name: For the messages.
        matched: How many layers of the model it changes.
        unmatched: Its tensors that belong to no layer of the model.
        strength: As the user set it.
    """

    expert: Expert
    file_name: str
    matched: int
    unmatched: tuple[str, ...]
    strength: float

    @property
    def missed(self) -> list[str]:
        """Layers that the model does not have and that nobody expects it not to have."""
        return layers(name for name in self.unmatched if not _LEFTOVER.search(name))

    @property
    def leftovers(self) -> list[str]:
        """Layers of Wan 2.1's image encoder, which Wan 2.2 gave up: a Wan 2.1 LoRA works without them."""
        return layers(name for name in self.unmatched if _LEFTOVER.search(name))

    @property
    def total(self) -> int:
        """Layers that could have matched."""
        return self.matched + len(self.missed)


_LEFTOVER = re.compile(r"(?:^|[._])(?:norm_k_img|k_img|v_img|img_emb)(?:[._]|$)")
_TENSOR_END = re.compile(
    r"[._](?:lora_(?:up|down|mid)|lora_[AB]|lora\.(?:up|down)|lora_linear_layer\.(?:up|down))(?:\.\w+)?(?:\.weight)?$"
    r"|\.(?:alpha|dora_scale|diff|diff_b|set_weight|reshape_weight|w_norm|b_norm|hada_\w+|lokr_\w+|oft_blocks|rescale)$"
)
_DOWN = re.compile(r"(?:lora_down|lora_A|lora\.down|lora_linear_layer\.down|hada_w1_b|lokr_w[12]_b)(?:\.\w+)?(?:\.weight)?$")
_WAN_SELF_ATTENTION = re.compile(r"blocks[._]\d+[._](?:self_attn[._][qkv]|attn1[._]to_[qkv])[._]")
_WAN_WIDTHS = {5120: "Wan 14B", 3072: "Wan 2.2 TI2V 5B", 1536: "Wan 1.3B"}
_WAN_IN_DIFFUSERS = "Wan with the layer names of diffusers"
_FAMILIES = (  # (names that only this family's LoRAs have, the family)
    (r"lora_unet_(?:down|up|mid|input|middle|output)_blocks?_|unet\.(?:down|up|mid)_block", "Stable Diffusion or SDXL"),
    (r"single_transformer_blocks[._]", "Flux"),
    (r"double_blocks[._]|single_blocks[._]", "Flux or HunyuanVideo"),
    (r"transformer_blocks[._]\d+[._](?:attn[._]add_|img_mod)", "Qwen-Image"),
    (r"transformer_blocks[._]\d+[._]attn[12][._]", "LTX-Video"),
    (r"joint_blocks[._]|transformer_blocks[._]\d+[._]attn[._]", "Stable Diffusion 3 or CogVideoX"),
    (r"blocks[._]\d+[._]attn[12][._]to_", _WAN_IN_DIFFUSERS),
)
_TRAINERS = {"networks.lora_wan": "musubi-tuner", "networks.lora": "sd-scripts", "lycoris": "LyCORIS"}


def layers(names: Iterable[str]) -> list[str]:
    """Returns the layers that a LoRA's tensors belong to, each once, in their order."""
    return list(dict.fromkeys(_TENSOR_END.sub("", name) for name in names))


def facts(header: Header) -> LoraFacts:
    """Gathers what a LoRA's header says about it."""
    meta = header.metadata
    ranks = [info.shape[0] for name, info in header.tensors.items() if _DOWN.search(name) and info.shape]
    written = _number(meta.get("ss_network_dim", ""))
    # The tensors come first: a resized or merged file often keeps the metadata of the file it was made from.
    rank = max(ranks, default=None if written is None else int(written))
    return LoraFacts(
        made_for=_made_for(header),
        base=_text(meta.get("ss_base_model_version") or meta.get("modelspec.architecture", "")),
        title=_text(meta.get("modelspec.title", "")),
        trainer=_trainer(meta),
        rank=rank,
        rank_varies=len(set(ranks)) > 1,
        alpha=_number(meta.get("ss_network_alpha", "")),
        example=next(iter(layers(header.tensors)), ""),
    )


def _made_for(header: Header) -> str:
    for name in header.tensors:
        if _WAN_SELF_ATTENTION.search(name) and _DOWN.search(name) and "attn1" not in name:
            width = header.size(name, 1)
            return _WAN_WIDTHS.get(width or 0, f"a Wan model of width {width}")
    names = "\n".join(header.tensors)
    return next((family for pattern, family in _FAMILIES if re.search(pattern, names)), "")
