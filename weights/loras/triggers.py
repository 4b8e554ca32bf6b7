"""Trigger words of a LoRA: where they are written down, and how they come into the prompt.

In the header: `modelspec.trigger_phrase` of Stability-AI/ModelSpec, lists under the names that trainers use, and
`ss_tag_frequency` of kohya-ss/sd-scripts, which counts the words of captions and is asked last. Beside the LoRA: the
files of Civitai's helpers, the web UIs, Lora-Manager, rgthree, Stability Matrix, Civicomfy and SwarmUI.

Whoever posts a prompt chooses these texts. What is not linear here would hold up a whole server.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...common.text import folded, read_json, tidy, unspaced
from ..formats.header import read_small

POSITIONS = ("prepend", "append", "off")

MAX_TAGS = 8  # a data set has hundreds; beyond the most frequent few they describe pictures, not the subject
MAX_TAG_LENGTH = 60  # characters; a longer "tag" is a sentence of a caption
MAX_WORDS = 32
MAX_WORD_LENGTH = 500  # characters; a file must not flood the prompt, and a longer "word" is a text
MAX_TYPED = 100_000  # characters, all words together: some ten thousand words

# An explicit list, by the name of its key without prefix, case and punctuation.
_LISTS = {"trainedwords", "triggerwords", "triggerword", "triggerphrase", "triggerphrases", "activationtext"}
_BESIDE = (
    ".json", ".civitai.info", ".metadata.json", ".safetensors.rgthree-info.json", ".cm-info.json", ".cminfo.json",
    ".swarm.json", ".txt",
)  # fmt: skip
_LORA_TAG = re.compile(r"<[a-z_]+:[^<>]*>", re.IGNORECASE)  # loads a LoRA in the web UIs, and is no word
_ADDRESS = re.compile(r"https?://|\bwww\.|\w@\w[\w-]*\.\w|\w\.(?:com|net|org)\b", re.IGNORECASE)
# Headings, bullets, "Strength: 0.8", or one sentence after another: somebody wrote to people, not to a model.
_NOTES = re.compile(
    "^[^\\S\n]*(?:#|[-*\u2022] |\\w[\\w ]{0,30}(?::\\s|:$|\uff1a))|[.!?]\\s+\\S|[\u3002\uff01\uff1f]\\s*\\S",
    re.MULTILINE,
)
# Commas of all our languages, with their half-width and small forms, and line ends.
_SEPARATORS = ",\n\r\uff0c\u3001\uff64\ufe50\ufe51"
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\uff08": "\uff09", "\u3010": "\u3011", r"\(": r"\)"}
_MARKS = re.compile(rf"\\[()]|[{_SEPARATORS}()\[\]{{}}\uff08\uff09\u3010\u3011]")

Units = tuple[str, ...]


def typed_words(widget: str) -> list[str]:
    """Returns the words that the user typed, separated by commas or lines; ValueError if the widget holds more."""
    if len(widget) > MAX_TYPED:
        raise ValueError(
            f"trigger_words takes at most {MAX_TYPED} characters, got {len(widget)}. Put longer text in the prompt."
        )
    words = tidy(split(widget))
    longest = max(map(len, words), default=0)
    if longest > MAX_WORD_LENGTH:
        raise ValueError(
            f"A trigger word has at most {MAX_WORD_LENGTH} characters, got one of {longest}. Separate words by commas, "
            "and put longer text in the prompt."
        )
    return words


def trigger_words(metadata: Mapping[str, str], sidecars: Iterable[str]) -> list[str]:
    """Returns a LoRA's own trigger words, from the first source that has any; tags of captions are the last.

    Args:
        metadata: Of the LoRA's header.
        sidecars: Words from its side-car files.
    """
    named = (_words_in(_parsed(text)) for key, text in metadata.items() if _is_list(key))
    words = _words_only(word for words in named for word in words)
    return words or _words_only(sidecars) or _words_only(_frequent_tags(metadata.get("ss_tag_frequency", "")))


def find_sidecar_words(lora_path: str | Path) -> list[str]:
    """Reads trained words from the files beside a LoRA that bear its name; a damaged one counts as absent."""
    for sidecar in sidecars_of(lora_path):
        parse = _listed_words if sidecar.suffix == ".txt" else _json_words
        words = _words_only(parse(read_small(sidecar)))
        if words:
            return words
    return []


def sidecars_of(lora_path: str | Path) -> list[Path]:
    """Returns the files beside a LoRA that may name its words, those that exist, the most telling first."""
    named = (Path(lora_path).with_suffix(suffix) for suffix in _BESIDE)
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
    phrases = {units(word): word for word in reversed(tidy(words))}  # the first of two that differ in `\(` alone
    finder = Finder(phrases)
    held = finder.find([units(prompt)])
    absent = [phrase for phrase in reversed(phrases) if phrase not in held]
    within = finder.find(absent, proper=True)
    added = ", ".join(phrases[phrase] for phrase in absent if phrase not in within)
    if not added or not prompt.strip():
        return added or prompt
    return f"{added}, {prompt}" if position == "prepend" else f"{prompt}{_separator(prompt)}{added}"


def literal(words: Iterable[str]) -> list[str]:
    """Escapes parentheses, so that a LoRA's own words mean themselves: in a prompt `(word)` is an emphasis."""
    return [re.sub(r"(?<!\\)([()])", r"\\\1", word) for word in words]


def _words_only(words: Iterable[str]) -> list[str]:
    """Returns what of a file's words may go into a prompt."""
    meant = tidy(word for word in words if not _ADDRESS.search(word))
    return [word for word in meant if len(word) <= MAX_WORD_LENGTH][:MAX_WORDS]


def _is_list(key: str) -> bool:
    name = key.lower().removeprefix("modelspec.").removeprefix("ss_")
    return re.sub("[^a-z]", "", name) in _LISTS


def _words_in(value: Any) -> list[str]:
    """Returns the words of a list as people's programs write it: a text, or a list of texts or of rgthree's entries."""
    if isinstance(value, str):
        return split(_LORA_TAG.sub("", value))
    if isinstance(value, dict):  # rgthree's; those of captions are marked, and are no explicit list
        of_captions = value.get("metadata") and not (value.get("civitai") or value.get("user"))
        return [] if of_captions or not isinstance(value.get("word"), str) else _words_in(value["word"])
    return [word for entry in value for word in _words_in(entry)] if isinstance(value, list) else []


def _parsed(text: str) -> Any:
    """Returns what a header's text stands for: all its values are texts, also where they hold a list."""
    parsed = read_json(text) if text.lstrip().startswith("[") else text
    return parsed if isinstance(parsed, list) else text


def _listed_words(text: str) -> list[str]:
    """Returns the words of a text file, none where it is notes for people."""
    return [] if _ADDRESS.search(text) or _NOTES.search(text) else _words_in(text)


def _json_words(text: str) -> list[str]:
    parsed = read_json(text)
    if not isinstance(parsed, dict):
        return []
    places = [place for place in (parsed, parsed.get("civitai")) if isinstance(place, dict)]
    return [word for place in places for key, value in place.items() if _is_list(key) for word in _words_in(value)]


def _frequent_tags(text: str) -> list[str]:
    counts: Counter[str] = Counter()
    spelling: dict[str, str] = {}
    data_sets = read_json(text)
    for data_set in data_sets.values() if isinstance(data_sets, dict) else ():
        for tag, count in data_set.items() if isinstance(data_set, dict) else ():
            if type(count) is int and len(tag) <= MAX_TAG_LENGTH:
                counts[folded(tag)] += count
                spelling.setdefault(folded(tag), tag)
    return tidy(spelling[tag] for tag, _ in counts.most_common())[:MAX_TAGS]


_CLOSING = ".,;:!?\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"  # with their Chinese and Japanese forms


def _separator(prompt: str) -> str:
    if prompt.rstrip()[-1] not in _CLOSING:
        return ", "
    return "" if prompt[-1].isspace() else " "


def split(text: str) -> list[str]:
    """Splits a list at the commas of any language and at line ends.

    What stands in a pair of brackets is one phrase, as in `(red dress, blue hat:1.2)`. A bracket without a partner is a
    letter like any other.
    """
    marks = list(_MARKS.finditer(text))
    groups = _groups(marks)
    phrases, start, group_end = [], 0, 0
    for mark in marks:
        if mark.start() < group_end:
            continue
        if mark.start() in groups:
            group_end = groups[mark.start()]
        elif mark[0] in _SEPARATORS:
            phrases.append(text[start : mark.start()])
            start = mark.end()
    return [*phrases, text[start:]]


def _groups(marks: Iterable[re.Match[str]]) -> dict[int, int]:
    """Returns where each bracket that has a partner stands, and where the partner ends."""
    groups, opened = {}, []
    for mark in marks:
        if mark[0] in _BRACKETS:
            opened.append(mark)
        elif opened and mark[0] == _BRACKETS[opened[-1][0]]:
            groups[opened.pop().start()] = mark.end()
    return groups


def units(text: str) -> Units:
    """Cuts a text, folded, into its words and the characters between them; a phrase is a row of such units."""
    plain = re.sub(r"\\([()])", r"\1", folded(text))
    inner = (place for place in range(1, len(plain)) if not _joined(plain[place - 1], plain[place]))
    return tuple(plain[start:end] for start, end in pairwise((0, *inner, len(plain))) if end > start)


class Finder:
    """Finds many phrases in a text at once, in steps of the length of both (Aho and Corasick, 1975).

    Args:
        phrases: What is looked for, as `units` cuts it.
    """

    def __init__(self, phrases: Iterable[Units]):
        self._next: list[dict[str, int]] = [{}]  # a state is the beginning of a phrase: each unit leads to a longer one
        self._whole: dict[int, Units] = {}
        for phrase in phrases:
            self._whole[self._state_of(phrase)] = phrase
        self._shorter = [0] * len(self._next)  # the state of the longest end of a state that begins a phrase, too
        self._link()

    def _state_of(self, phrase: Units) -> int:
        state = 0
        for unit in phrase:
            if unit not in self._next[state]:
                self._next[state][unit] = len(self._next)
                self._next.append({})
            state = self._next[state][unit]
        return state

    def _link(self) -> None:
        states = deque(self._next[0].values())
        while states:
            state = states.popleft()
            for unit, longer in self._next[state].items():
                self._shorter[longer] = self._after(self._shorter[state], unit)
                states.append(longer)

    def _after(self, state: int, unit: str) -> int:
        while state and unit not in self._next[state]:
            state = self._shorter[state]
        return self._next[state].get(unit, 0)

    def find(self, texts: Iterable[Units], proper: bool = False) -> set[Units]:
        """Returns the phrases that stand in one of some texts.

        Args:
            texts: As `units` cuts them.
            proper: The texts are phrases themselves, and what counts is only what is shorter.
        """
        found: set[Units] = set()
        seen = {0}
        for text in texts:
            state = 0
            for place, unit in enumerate(text, 1):
                state = self._after(state, unit)
                end = self._shorter[state] if proper and place == len(text) else state
                while end not in seen:
                    seen.add(end)
                    if end in self._whole:
                        found.add(self._whole[end])
                    end = self._shorter[end]
        return found


def _joined(left: str, right: str) -> bool:
    """Returns whether two neighbours are inside one word."""
    if unicodedata.category(right).startswith("M"):  # an accent belongs to what stands before it
        return not left.isspace()
    return _in_word(left) and _in_word(right)


def _in_word(char: str) -> bool:
    is_part = char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")
    return is_part and (char.isdecimal() or not unspaced(char))
