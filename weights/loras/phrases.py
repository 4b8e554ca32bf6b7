"""Phrases of a prompt: how a list of them is split, made printable, and found in a text, in linear time.

Whoever posts a prompt chooses these texts. What is not linear here would hold up a whole server.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from itertools import pairwise

MAX_MARKS = 30  # accents in a row, as in Unicode's stream-safe texts (UAX 15): to sort n of them takes n x n steps

_JOINERS = "\u200c\u200d"  # invisible, but part of the spelling in Persian, Hindi and emoji
_HIDDEN = ("Cc", "Cf", "Cs")  # control, format (byte order mark, text direction), half characters
# Commas of all our languages, with their half-width and small forms, and line ends.
_SEPARATORS = ",\n\r\uff0c\u3001\uff64\ufe50\ufe51"
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\uff08": "\uff09", "\u3010": "\u3011", r"\(": r"\)"}
_MARKS = re.compile(rf"\\[()]|[{_SEPARATORS}()\[\]{{}}\uff08\uff09\u3010\u3011]")

Units = tuple[str, ...]


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


def tidy(words: Iterable[str]) -> list[str]:
    """Makes words printable and drops empty ones and repetitions in another letter case."""
    unique: dict[str, str] = {}
    for word in map(_printable, words):
        unique.setdefault(folded(word), word)
    unique.pop("", None)
    return list(unique.values())


def _printable(word: str) -> str:
    kept = (char for char in word if char.isspace() or char in _JOINERS or unicodedata.category(char) not in _HIDDEN)
    return unicodedata.normalize("NFC", _with_few_marks(" ".join("".join(kept).split()).strip(_JOINERS)))


def _with_few_marks(text: str) -> str:
    if text.isascii():
        return text
    kept, row = [], 0
    for char in text:
        row = row + 1 if unicodedata.combining(char) else 0
        if row <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def folded(text: str) -> str:
    """Returns a text in the one form that all spellings of it share: letter case, white space, accents."""
    # Unicode's canonical caseless match (D145), composed at the end, so that an accent is no character of its own.
    decomposed = unicodedata.normalize("NFD", _with_few_marks(" ".join(text.split())))
    return unicodedata.normalize("NFC", decomposed.casefold())


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
    # Chinese and Japanese are written without spaces: there, any place may be the edge of a word.
    is_part = char == "_" or char.isalnum() or unicodedata.category(char).startswith("M")
    return is_part and not _UNSPACED.match(char)


_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
