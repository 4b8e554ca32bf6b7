"""Trigger words of a LoRA: where they are written down, and how they come into the prompt.

Keys: `modelspec.trigger_phrase` of Stability-AI/ModelSpec, `ss_tag_frequency` of kohya-ss/sd-scripts, side-car files as
Civitai's helpers and the web UIs write them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from .files import read_small, small_json

Position = Literal["prepend", "append", "off"]
POSITIONS: tuple[Position, ...] = ("prepend", "append", "off")

MAX_TAGS = 8  # a data set has hundreds; beyond the most frequent few they describe pictures, not the subject
MAX_TAG_LENGTH = 60  # characters; a longer "tag" is a sentence of a caption
MAX_WORDS = 32
MAX_WORD_LENGTH = 500  # characters; a file must not flood the prompt
_JOINERS = "\u200c\u200d"  # invisible, but part of the spelling in Persian, Hindi and emoji


def choose(widget: str, metadata: Mapping[str, str], path: str | Path | None) -> list[str]:
    """Returns the trigger words to use: those in the widget, else the file's own.

    Args:
        widget: What the user typed, separated by commas or lines; blank for the file's own.
        metadata: Of the LoRA's header.
        path: The LoRA file, for its side-car files.
    """
    typed = tidy(_split(widget))
    return typed or trigger_words(metadata, find_sidecar_words(path) if path else [])


def trigger_words(metadata: Mapping[str, str], sidecars: Iterable[str]) -> list[str]:
    """Returns a LoRA's own trigger words, from the first source that has any.

    Args:
        metadata: Of the LoRA's header.
        sidecars: Words from its side-car files.
    """
    phrases = tidy(_split(metadata.get("modelspec.trigger_phrase", "")))
    tags = _frequent_tags(metadata.get("ss_tag_frequency", ""))
    words = phrases or tags or tidy(sidecars)
    return [word for word in words if len(word) <= MAX_WORD_LENGTH][:MAX_WORDS]


def find_sidecar_words(lora_path: str | Path) -> list[str]:
    """Reads trained words from the files beside a LoRA that bear its name; a damaged one counts as absent."""
    for sidecar in sidecars_of(lora_path):
        parse = _split if sidecar.suffix == ".txt" else _json_words
        words = tidy(parse(read_small(sidecar)))
        if words:
            return words
    return []


def sidecars_of(lora_path: str | Path) -> list[Path]:
    """Returns the files beside a LoRA that may name its words, those that exist, the most telling first."""
    named = (Path(lora_path).with_suffix(suffix) for suffix in (".json", ".civitai.info", ".txt"))
    return [path for path in named if path.is_file()]


def merge(prompt: str, words: Iterable[str], position: str) -> str:
    """Adds those words to a prompt that it does not hold yet, and leaves the user's text as it is.

    A word is held if it stands in the prompt as a whole, in any letter case, or within another word to be added.

    Args:
        prompt: The user's text.
        words: Words or phrases.
        position: One of `POSITIONS`.

    Raises:
        ValueError: `position` is none of them.
    """
    if position not in POSITIONS:
        raise ValueError(f"Trigger words go to one of {', '.join(POSITIONS)}, got '{position}'.")
    if position == "off":
        return prompt
    absent = [word for word in tidy(words) if not _holds(prompt, word)]
    added = ", ".join(word for word in absent if not any(word != other and _holds(other, word) for other in absent))
    if not added:
        return prompt
    if not prompt.strip():
        return added
    return f"{added}, {prompt}" if position == "prepend" else f"{prompt}{_separator(prompt)}{added}"


def literal(words: Iterable[str]) -> list[str]:
    """Escapes parentheses, so that a LoRA's own words mean themselves: in a prompt `(word)` is an emphasis."""
    return [re.sub(r"(?<!\\)([()])", r"\\\1", word) for word in words]


def tidy(words: Iterable[str]) -> list[str]:
    """Makes words printable and drops empty ones and repetitions in another letter case."""
    unique: dict[str, str] = {}
    for word in map(_printable, words):
        unique.setdefault(_folded(word), word)
    unique.pop("", None)
    return list(unique.values())


def _printable(word: str) -> str:
    kept = (char for char in word if char.isspace() or char in _JOINERS or unicodedata.category(char) not in _HIDDEN)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()).strip(_JOINERS))


_HIDDEN = ("Cc", "Cf", "Cs")  # control, format (byte order mark, text direction), half characters


def _split(text: str) -> list[str]:
    return re.split(r"[,\n\r]", text)


def _frequent_tags(text: str) -> list[str]:
    counts: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    for data_set in _values(_json(text)):
        for tag, count in data_set.items() if isinstance(data_set, dict) else ():
            if type(count) is int and len(tag) <= MAX_TAG_LENGTH:
                counts[_folded(tag)] += count
                spelling.setdefault(_folded(tag), tag)
    return tidy(spelling[folded] for folded, _ in counts.most_common())[:MAX_TAGS]


def _values(parsed: Any) -> list[Any]:
    return list(parsed.values()) if isinstance(parsed, dict) else []


def _json(text: str) -> Any:
    try:
        return small_json(text)
    except ValueError:
        return None


def _json_words(text: str) -> list[str]:
    parsed = _json(text)
    if not isinstance(parsed, dict):
        return []
    trained = parsed.get("trainedWords")
    phrases = [*(trained if isinstance(trained, list) else []), parsed.get("activation text")]
    return [word for phrase in phrases if isinstance(phrase, str) for word in _split(phrase)]


def _folded(text: str) -> str:
    # Unicode's canonical caseless match (D145), composed at the end, so that an accent is no character of its own.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", " ".join(text.split())).casefold())


def _holds(text: str, phrase: str) -> bool:
    text, phrase = (re.sub(r"\\([()])", r"\1", _folded(each)) for each in (text, phrase))
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        if not _joined(text[:start][-1:], phrase[0]) and not _joined(phrase[-1], text[end : end + 1]):
            return True
        start = text.find(phrase, start + 1)
    return False


def _joined(left: str, right: str) -> bool:
    """Says whether two neighbours are inside one word."""
    if not (left and right):
        return False
    if unicodedata.category(right).startswith("M"):  # an accent belongs to what stands before it
        return not left.isspace()
    return _in_word(left) and _in_word(right)


def _in_word(char: str) -> bool:
    # Chinese and Japanese are written without spaces: there, any place may be the edge of a word.
    is_part = char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")
    return is_part and not _UNSPACED.match(char)


_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


_CLOSING = ".,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"  # with their Chinese and Japanese forms


def _separator(prompt: str) -> str:
    if prompt.rstrip()[-1] not in _CLOSING:
        return ", "
    return "" if prompt[-1].isspace() else " "
