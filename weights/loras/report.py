"""What a LoRA file says about itself, and the report of what became of it, which a person reads on the node."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from ...common.text import read_json, tidy
from ..formats.header import SHOWN, Header, ModelFile, listed
from ..lora_keys import CONFIG, FLAT_PREFIX, split, unwrapped, without_component
from ..names import Expert
from ..wan.transformer import Kind, identify

MAX_NAME = 100  # characters of a tensor's name that are shown
MAX_RANK = 100_000  # no layer is as wide

_DOWN = ("lora_down.weight", "hada_w1_b", "lokr_w1_b", "lokr_w2_b")  # the factors whose first size is the rank
_BLOCKS = rf"(?:^|\.|{FLAT_PREFIX})blocks[._]\d+[._]"
# Each takes the model's width.
_WAN_ATTENTION = re.compile(_BLOCKS + r"(?:(?:self|cross)_attn[._][qkvo]|attn[12][._]to_(?:[qkv]|out[._]0))$")
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
_OTHER_BASES = (  # (how a header names it, what it is and what becomes of it here)
    (r"ti2v|(?<![\d.])5b", "Wan 2.2 TI2V 5B: it does not fit a 14B model"),
    (r"1[._]3b", "Wan 1.3B: it does not fit a 14B model"),
    (r"^(?!.*i2v).*t2v", "Wan T2V: with a start image it may do less than it was made for"),
)
_TRAINERS = {"networks.lora_wan": "musubi-tuner", "networks.": "sd-scripts", "lycoris": "LyCORIS"}
_LEFTOVER = re.compile(
    r"(?:^|[._])(?:(?:norm_)?[kv]_img|img_emb|add_[kv]_proj|norm_added_[kq]|image_embedder)(?:[._]|$)"
)


class Source(str, Enum):
    """How the low-noise file was found. The value is how the report says it."""

    CHOSEN = "chosen"
    PAIRED = "auto: paired by name"
    SHARED = "auto: no partner found, the same file serves both experts"


class LoraFacts(NamedTuple):
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


@dataclass
class Match:
    """One LoRA file on one expert. Whoever applies it fills in the fields from `matched` on."""

    file: ModelFile
    expert: Expert
    strength: float = 1.0
    named: Expert | None = None  # the expert that names say it is for, if they do
    source: Source = Source.CHOSEN  # how the low-noise file was found
    alone: bool = False  # it is chosen for this expert only
    matched: int = 0  # layers of the model that it changes
    keys: int = 0  # its tensors that do that
    unmatched: list[str] = field(default_factory=list)  # its tensors whose layers change nothing
    ignored: list[str] = field(default_factory=list)  # those that say nothing to a layer which others change
    other_expert: list[str] = field(default_factory=list)  # those that it gives to the other expert
    zeros: int = 0  # layers that it gives a change of zero
    unread: tuple[str, ...] = ()  # patterns in its settings that are not understood, or whose value is not
    assumed: bool = False  # its alpha is not known, and taken as the rank
    in_doubt: bool = False  # settings in its folder may hold the alpha, or another file's

    @cached_property
    def facts(self) -> LoraFacts:
        """What its header says."""
        return facts(self.file.header)

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


def layers(names: Iterable[str]) -> list[str]:
    """Returns the layers that a LoRA's tensors belong to, each once, in their order."""
    return list(dict.fromkeys(split(name).layer for name in names))


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
        base=_shown(meta.get("ss_base_model_version") or meta.get("modelspec.architecture", "")),
        title=_shown(meta.get("modelspec.title", "")),
        trainer=_trainer(meta),
        rank=rank,
        rank_varies=len(set(ranks)) > 1,
        alpha=_number(meta.get("ss_network_alpha", "")),
    )


def _made_for(header: Header) -> str:
    for name in header.tensors:
        layer, part, _ = split(name)
        if part in ("lora_down.weight", "hada_w1_b") and _WAN_ATTENTION.search(without_component(unwrapped(layer))):
            return WAN_WIDTHS.get(width := header.size(name, 1) or 0, f"a Wan model of width {width}")
    names = "\n".join(without_component(unwrapped(name)) for name in header.tensors)
    return next((family for pattern, family in _FAMILIES if re.search(pattern, names, re.MULTILINE)), "")


def _shown(text: str, most: int = 60) -> str:
    """Makes a text from a file fit for a line of the report."""
    return next(iter(tidy([text])), "")[:most]


def _trainer(meta: Mapping[str, str]) -> str:
    parsed = read_json(software := meta.get("software", ""))  # ai-toolkit writes an object, others a plain name
    name = parsed.get("name") if isinstance(parsed, dict) else software
    module = meta.get("ss_network_module", "")
    known = next((trainer for start, trainer in _TRAINERS.items() if module.startswith(start)), module)
    return _shown(name if isinstance(name, str) and name else known)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def report(matches: Sequence[Match]) -> str:
    """Returns in short lines what became of each LoRA file, high before low."""
    return "\n".join(line for match in matches for line in _lines(match)) or "No LoRA is applied."


def _lines(match: Match) -> list[str]:
    lines = [f"{match.expert}: {match.file.name} at {match.strength:g}{_found(match)}"]
    counts = [f"{match.matched} of {match.total} layers ({match.keys} keys)"] if match.strength else []
    if about := ", ".join(counts + _about(match.facts)):
        lines.append(f"  {about}")
    if match.missed:
        count = sum(not _LEFTOVER.search(name) for name in match.unmatched)
        lines.append(f"  not applied: {_listed(match.missed)} ({count} keys)")
    if match.ignored:
        lines.append(f"  tensors without a use: {_listed(match.ignored)}")
    if match.other_expert:
        lines.append(f"  for the other expert: {len(match.other_expert)} keys, as the file holds both")
    if match.zeros:
        lines.append(f"  layers of zeros, which change nothing: {match.zeros}")
    if match.leftovers:
        lines.append(f"  layers of Wan 2.1's image encoder left out, as Wan 2.2 has none: {len(match.leftovers)}")
    return lines + [f"  Warning: {text}" for text in warnings(match)]


def preview(match: Match) -> list[str]:
    """Returns in short lines what a LoRA file is, before it is applied to an expert."""
    facts, named = match.facts, [f"named for the {match.named}-noise expert"] if match.named else []
    says = [*_rank(facts), *([f"made for {facts.model}"] if facts.model else []), *named]
    lines = [f"{match.expert}: {match.file.name}{_found(match)}", f"  {', '.join(says) or facts.kind.value}"]
    return lines + [f"  Warning: {text}" for text in _about_name(match) + _about_file(match)]


def _found(match: Match) -> str:
    return f" ({match.source.value})" if match.expert == "low" and match.source is not Source.CHOSEN else ""


def _rank(facts: LoraFacts) -> list[str]:
    return [] if facts.rank is None else [f"rank {'up to ' if facts.rank_varies else ''}{facts.rank}"]


def _about(facts: LoraFacts) -> list[str]:
    alpha = [] if facts.alpha is None else [f"alpha {facts.alpha:g}"]
    model = [f"made for {facts.model}"] if facts.model else []
    return _rank(facts) + alpha + model + ([f"with {facts.trainer}"] if facts.trainer else [])


def _listed(names: Sequence[str]) -> str:
    return listed([*(_shown(name, MAX_NAME) or "''" for name in names[:SHOWN]), *names[SHOWN:]])


def warnings(match: Match) -> list[str]:
    """Returns what may be wrong with a LoRA that does apply, in full sentences."""
    name, both = match.file.name, bool(match.other_expert and match.matched)
    found = [] if both else _about_name(match)
    if match.strength == 0:
        found.append(f"The strength of '{name}' is 0, so it does nothing.")
    if match.unread:
        found.append(
            f"'{name}' sets the strength of some layers in a way that is not understood here "
            f"({_listed(match.unread)}). Those layers may act too much or too little."
        )
    if match.assumed:
        where = f"PEFT writes it into {CONFIG}: put that file beside it."
        if not any(split(key).part == "lora_down.weight" for key in match.file.header.tensors):
            # PEFT's settings of LoHa and LoKr are not read.
            where = "If its effect is too strong or too weak, change the strength."
        elif match.in_doubt:
            where = (
                "The adapter_config.json in its folder may be that of another file there: put the two that belong "
                "together into a folder of their own."
            )
        found.append(f"The alpha of '{name}' is not given, and taken as the rank. {where}")
    if match.matched and match.zeros == match.matched:
        found.append(
            f"All layers of '{name}' hold zeros, so it does nothing, as a LoRA before its training. "
            "Choose another version of it."
        )
    if both and match.alone:
        other = "low" if match.expert == "high" else "high"
        found.append(
            f"'{name}' holds a half for the {other}-noise expert, too, which is not applied. Choose it in "
            f"lora_{other} as well."
        )
    return found + _about_file(match)


def _about_name(match: Match) -> list[str]:
    if match.named in (None, match.expert):
        return []
    name, named = match.file.name, match.named
    if match.source is Source.SHARED:
        return [
            f"'{name}' is named for the {named}-noise expert, but serves both, as its partner is not in the folder "
            "'loras'. Download the partner, or choose it in lora_low."
        ]
    return [
        f"'{name}' is named for the {named}-noise expert, but it is applied to the {match.expert}-noise expert. "
        "Check that the two files are not swapped."
    ]


def _about_file(match: Match) -> list[str]:
    facts, name = match.facts, match.file.name
    written = f"{name} {facts.base} {facts.title} {facts.made_for}".casefold()
    other = next((said for pattern, said in _OTHER_BASES if re.search(pattern, written)), None)
    said = [f"'{name}' was made for {other}. Choose a Wan 2.2 I2V 14B LoRA."] if other else []
    if match.file.header.unread:
        said.append(
            f"The header of '{name}' holds notes that are too long to be read ({_listed(match.file.header.unread)}). "
            "If the LoRA needs trigger words from there, type them in trigger_words."
        )
    return said


def no_match_message(match: Match) -> str:
    """Returns why a LoRA changes nothing, as the text of an error."""
    facts, name = match.facts, match.file.name
    if facts.kind not in (Kind.LORA, Kind.UNKNOWN):
        return f"'{name}' is {facts.kind.value}, not a LoRA. Choose a Wan 2.2 14B LoRA."
    count = f"LoRA '{name}' matched 0 of {match.total} layers of this model."
    if match.other_expert and not match.missed:
        return f"{count} All of it is for the other expert. Choose none for the {match.expert}-noise expert."
    if not match.missed:
        return f"{count} It has no layers that an image-to-video model has; choose a Wan 2.2 14B LoRA."
    example = f"such as '{_listed(match.missed[:1])}'"
    if facts.made_for in (WAN_WIDTHS[5120], WAN):
        return (
            f"{count} It was made for Wan, but its tensors are incomplete, of another size, or of no known form, "
            f"{example}. Download it again, or look for its version for Wan 2.2 14B and ComfyUI."
        )
    model = facts.made_for or facts.base
    cause = f"It was made for {model}" if model else f"It was probably made for another model, with layers {example}"
    return f"{count} {cause}; choose a Wan 2.2 14B LoRA."
