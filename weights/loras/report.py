"""The report of what became of a LoRA file: the text that a person reads on the node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ..formats.header import SHOWN, listed
from ..lora_keys import split
from ..names import Expert
from ..peft import CONFIG
from ..wan.kinds import Kind
from .facts import WAN, WAN_WIDTHS, LoraFacts
from .triggers import tidy

MAX_NAME = 100  # characters of a tensor's name that are shown


class Source(str, Enum):
    """How the low-noise file was found. The value is how the report says it."""

    CHOSEN = "chosen"
    PAIRED = "auto: paired by name"
    SHARED = "auto: no partner found, the same file serves both experts"


@dataclass(frozen=True)
class Match:
    """What became of one LoRA file on one expert.

    Args:
        expert: The expert that it was applied to.
        file_name: For the messages.
        matched: How many layers of the model it changes.
        keys: How many of its tensors do that.
        unmatched: Its tensors whose layers change nothing.
        strength: As the user set it.
        ignored: Its tensors that say nothing to a layer which others change.
        other_expert: Its tensors that it gives to the other expert.
        unread: Patterns in its settings that are not understood.
        named: The expert that names say it is for, if they do.
        shared: It serves both experts, because no partner was found.
        assumed: Its alpha is not known, and taken as the rank.
        in_doubt: Settings in its folder may hold it, or another file's.
        zeros: How many layers it gives a change of zero.
        alone: It is chosen for this expert only.
    """

    expert: Expert
    file_name: str
    matched: int
    keys: int
    unmatched: tuple[str, ...]
    strength: float
    ignored: tuple[str, ...] = ()
    other_expert: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    named: Expert | None = None
    shared: bool = False
    assumed: bool = False
    in_doubt: bool = False
    zeros: int = 0
    alone: bool = False

    @property
    def missed(self) -> list[str]:
        """Layers that the model does not have and that nobody expects it not to have."""
        return layers(name for name in self.unmatched if not _LEFTOVER.search(name))

    @property
    def leftovers(self) -> list[str]:
        """Layers of Wan 2.1's image encoder, which Wan 2.2 gave up: a Wan 2.1 LoRA works without them."""
        return layers(name for name in self.unmatched if _LEFTOVER.search(name))

    @property
    def missed_keys(self) -> int:
        """How many tensors those layers have."""
        return sum(not _LEFTOVER.search(name) for name in self.unmatched)

    @property
    def total(self) -> int:
        """Layers that could have matched."""
        return self.matched + len(self.missed)


_LEFTOVER = re.compile(
    r"(?:^|[._])(?:(?:norm_)?[kv]_img|img_emb|add_[kv]_proj|norm_added_[kq]|image_embedder)(?:[._]|$)"
)
_OTHER_BASES = (  # (how a header names it, what it is, what becomes of it here)
    (r"ti2v|(?<![\d.])5b", "Wan 2.2 TI2V 5B", "it does not fit a 14B model"),
    (r"1[._]3b", "Wan 1.3B", "it does not fit a 14B model"),
    (r"^(?!.*i2v).*t2v", "Wan T2V", "with a start image it may do less than it was made for"),
)


def layers(names: Iterable[str]) -> list[str]:
    """Returns the layers that a LoRA's tensors belong to, each once, in their order."""
    return list(dict.fromkeys(split(name).layer for name in names))


def warnings(match: Match, facts: LoraFacts) -> list[str]:
    """Returns what may be wrong with a LoRA that does apply, in full sentences."""
    both = bool(match.other_expert and match.matched)
    found = [] if both else _about_name(match.expert, match.file_name, match.named, match.shared)
    if match.strength == 0:
        found.append(f"The strength of '{match.file_name}' is 0, so it does nothing.")
    if match.unread:
        found.append(
            f"'{match.file_name}' sets the strength of some layers by patterns that are not understood here "
            f"({_listed(match.unread)}). Those layers may act too much or too little."
        )
    if match.assumed:
        found.append(f"The alpha of '{match.file_name}' is not given, and taken as the rank. {_where_alpha_is(match)}")
    if match.matched and match.zeros == match.matched:
        found.append(
            f"All layers of '{match.file_name}' hold zeros, so it does nothing, as a LoRA before its training. "
            "Choose another version of it."
        )
    if match.other_expert and match.matched and match.alone:
        other = "low" if match.expert == "high" else "high"
        found.append(
            f"'{match.file_name}' holds a half for the {other}-noise expert, too, which is not applied. Choose it in "
            f"lora_{other} as well."
        )
    return found + _about_base(match.file_name, facts)


def _where_alpha_is(match: Match) -> str:
    if match.in_doubt:
        return (
            "The adapter_config.json in its folder may be that of another file there: put the two that belong together "
            "into a folder of their own."
        )
    return f"PEFT writes it into {CONFIG}: put that file beside it."


def _about_name(expert: Expert, file_name: str, named: Expert | None, shared: bool) -> list[str]:
    if named in (None, expert):
        return []
    if shared:
        return [
            f"'{file_name}' is named for the {named}-noise expert, but serves both, as its partner is not in the "
            "folder 'loras'. Download the partner, or choose it in lora_low."
        ]
    return [
        f"'{file_name}' is named for the {named}-noise expert, but it is applied to the {expert}-noise expert. "
        "Check that the two files are not swapped."
    ]


def _about_base(file_name: str, facts: LoraFacts) -> list[str]:
    written = f"{file_name} {facts.base} {facts.title} {facts.made_for}".casefold()
    for pattern, model, consequence in _OTHER_BASES:
        if re.search(pattern, written):
            return [f"'{file_name}' was made for {model}: {consequence}. Choose a Wan 2.2 I2V 14B LoRA."]
    return []


def preview(
    expert: Expert,
    file_name: str,
    facts: LoraFacts,
    named: Expert | None = None,
    source: Source = Source.CHOSEN,
) -> list[str]:
    """Tells in short lines what a LoRA file is, before it is applied to an expert.

    Args:
        expert: The one that it is chosen for.
        file_name: For the messages.
        facts: What its header says.
        named: The expert that names say it is for, if they do.
        source: How the low-noise file was found.
    """
    says = [*_rank(facts), *([f"made for {facts.model}"] if facts.model else [])]
    says += [f"named for the {named}-noise expert"] if named else []
    lines = [f"{expert}: {file_name}{_found(expert, source)}", f"  {', '.join(says) or facts.kind.value}"]
    notes = _about_name(expert, file_name, named, source is Source.SHARED) + _about_base(file_name, facts)
    return lines + [f"  Warning: {text}" for text in notes]


def no_match_message(match: Match, facts: LoraFacts) -> str:
    """Says why a LoRA changes nothing, as the text of an error."""
    if facts.kind not in (Kind.LORA, Kind.UNKNOWN):
        return f"'{match.file_name}' is {facts.kind.value}, not a LoRA. Choose a Wan 2.2 14B LoRA."
    count = f"LoRA '{match.file_name}' matched 0 of {match.total} layers of this model."
    if match.other_expert and not match.missed:
        return f"{count} All of it is for the other expert. Choose none for the {match.expert}-noise expert."
    if not match.missed:
        return f"{count} It has no layers that an image-to-video model has; choose a Wan 2.2 14B LoRA."
    example = f"such as '{_name(match.missed[0])}'"
    if facts.made_for in (WAN_WIDTHS[5120], WAN):
        return (
            f"{count} It was made for Wan, but its tensors are incomplete, of another size, or of no known form, "
            f"{example}. Download it again, or look for its version for Wan 2.2 14B and ComfyUI."
        )
    model = facts.made_for or facts.base
    cause = f"It was made for {model}" if model else f"It was probably made for another model, with layers {example}"
    return f"{count} {cause}; choose a Wan 2.2 14B LoRA."


def report(entries: Sequence[tuple[Match, LoraFacts]], source: Source = Source.CHOSEN) -> str:
    """Tells in short lines what became of each LoRA file.

    Args:
        entries: One per expert that has a LoRA, high before low.
        source: How the low-noise file was found.
    """
    lines = [line for match, facts in entries for line in _lines(match, facts, source)]
    return "\n".join(lines or ["No LoRA is applied."])


def _lines(match: Match, facts: LoraFacts, source: Source) -> list[str]:
    lines = [f"{match.expert}: {match.file_name} at {match.strength:g}{_found(match.expert, source)}"]
    counts = [f"{match.matched} of {match.total} layers ({match.keys} keys)"] if match.strength else []
    about = ", ".join(counts + _about(facts))
    if about:
        lines.append(f"  {about}")
    if match.missed:
        lines.append(f"  not applied: {_listed(match.missed)} ({match.missed_keys} keys)")
    if match.ignored:
        lines.append(f"  tensors without a use: {_listed(match.ignored)}")
    if match.other_expert:
        lines.append(f"  for the other expert: {len(match.other_expert)} keys, as the file holds both")
    if match.zeros:
        lines.append(f"  layers of zeros, which change nothing: {match.zeros}")
    if match.leftovers:
        lines.append(f"  layers of Wan 2.1's image encoder left out, as Wan 2.2 has none: {len(match.leftovers)}")
    lines += [f"  Warning: {text}" for text in warnings(match, facts)]
    return lines


def _found(expert: Expert, source: Source) -> str:
    return f" ({source.value})" if expert == "low" and source is not Source.CHOSEN else ""


def _rank(facts: LoraFacts) -> list[str]:
    return [] if facts.rank is None else [f"rank {'up to ' if facts.rank_varies else ''}{facts.rank}"]


def _about(facts: LoraFacts) -> list[str]:
    about = _rank(facts)
    if facts.alpha is not None:
        about.append(f"alpha {facts.alpha:g}")
    if facts.model:
        about.append(f"made for {facts.model}")
    if facts.trainer:
        about.append(f"with {facts.trainer}")
    return about


def _listed(names: Sequence[str]) -> str:
    return listed([*map(_name, names[:SHOWN]), *names[SHOWN:]])


def _name(name: str) -> str:
    """Makes a name from a file fit for a line of the report."""
    return next(iter(tidy([name])), "''")[:MAX_NAME]
