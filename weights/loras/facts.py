"""What a LoRA's header says about it: base model, rank, trainer, by its metadata and by the names of its layers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..formats.header import Header, small_json
from ..lora_experts import without_component
from ..lora_keys import split, unwrapped
from ..wan.kinds import Kind, identify
from .triggers import tidy

MAX_RANK = 100_000  # no layer is as wide


@dataclass(frozen=True)
class LoraFacts:
    """What a LoRA's header says about it; None or empty where it says nothing."""

    kind: Kind
    made_for: str  # the model by the names and sizes of its layers
    base: str  # the model as the trainer wrote it down
    title: str
    trainer: str
    rank: int | None  # the largest, where layers differ
    rank_varies: bool
    alpha: float | None  # as the trainer wrote it down; the file's own alpha tensors are not read

    @property
    def model(self) -> str:
        """The model that it was made for, in the trainer's words where there are any."""
        return self.base or self.made_for


_DOWN = (
    "lora_down.weight",
    "hada_w1_b",
    "lokr_w1_b",
    "lokr_w2_b",
)  # the factors that have the rank as their first size
_BLOCKS = r"(?:^|\.|^lora_unet_+|^lycoris_|^lora_(?:transformer_)?)blocks[._]\d+[._]"
_WAN_ATTENTION = re.compile(  # each takes the model's width
    _BLOCKS + r"(?:(?:self|cross)_attn[._][qkvo]|attn[12][._]to_(?:[qkv]|out[._]0))$"
)
WAN_WIDTHS = {5120: "Wan 14B", 3072: "Wan 2.2 TI2V 5B", 1536: "Wan 1.3B"}
WAN = "Wan"  # where no layer tells the width
_FAMILIES = (  # (what the layers' names of this family look like, the family); the first that fits counts
    (_BLOCKS + r"(?:(?:self|cross)_attn[._][qkvo]\.|attn[12][._]to_)", WAN),
    (r"lora_unet_(?:down|up|mid|input|middle|output)_block|unet\.(?:down|up|mid)_block", "Stable Diffusion or SDXL"),
    (r"single_transformer_blocks[._]", "Flux"),
    (r"(?:double|single)_blocks[._]", "Flux or HunyuanVideo"),
    (r"transformer_blocks[._]\d+[._](?:attn[._]add_|img_mod)", "Qwen-Image"),
    (r"transformer_blocks[._]\d+[._]attn[12][._]", "LTX-Video"),
)
_TRAINERS = {"networks.lora_wan": "musubi-tuner", "networks.": "sd-scripts", "lycoris": "LyCORIS"}


def facts(header: Header) -> LoraFacts:
    """Gathers what a LoRA's header says about it."""
    meta = header.metadata
    ranks = [info.shape[0] for name, info in header.tensors.items() if split(name).part in _DOWN and info.shape]
    written = _number(meta.get("ss_network_dim", ""))
    # The tensors come first: a resized or merged file often keeps the metadata of the file it was made from.
    rank = max(ranks, default=int(written) if written and 0 < written <= MAX_RANK else None)
    return LoraFacts(
        kind=identify(header),
        made_for=_made_for(header),
        base=_short(meta.get("ss_base_model_version") or meta.get("modelspec.architecture", "")),
        title=_short(meta.get("modelspec.title", "")),
        trainer=_trainer(meta),
        rank=rank,
        rank_varies=len(set(ranks)) > 1,
        alpha=_number(meta.get("ss_network_alpha", "")),
    )


def _made_for(header: Header) -> str:
    for name in header.tensors:
        layer, part, _ = split(name)
        if part in ("lora_down.weight", "hada_w1_b") and _WAN_ATTENTION.search(without_component(unwrapped(layer))):
            width = header.size(name, 1) or 0
            return WAN_WIDTHS.get(width, f"a Wan model of width {width}")
    names = "\n".join(without_component(unwrapped(name)) for name in header.tensors)
    return next((family for pattern, family in _FAMILIES if re.search(pattern, names, re.MULTILINE)), "")


def _trainer(meta: Mapping[str, str]) -> str:
    software = meta.get("software", "")
    try:  # ai-toolkit writes an object, others a plain name
        parsed = small_json(software)
    except ValueError:
        parsed = software
    name = parsed.get("name") if isinstance(parsed, dict) else software
    module = meta.get("ss_network_module", "")
    known = next((trainer for start, trainer in _TRAINERS.items() if module.startswith(start)), module)
    return _short(name if isinstance(name, str) and name else known)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _short(text: str) -> str:
    return next(iter(tidy([text])), "")[:60]
