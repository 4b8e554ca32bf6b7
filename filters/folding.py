"""Brings a text into the one form that its spellings share, so that a word is found however it is written.

In that form a text is a row of parts of letters and digits. Between two of them is a space if there was one, and else
JOIN: punctuation, symbols and emoji, which part a word for the eye alone.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

from ..common.text import folded, with_few_marks
from .lookalikes import READINGS

JOIN = "\u00b7"
SPLIT = f" {JOIN}"  # what ends a part

_WEIGHT = re.compile(r":([^:()]*)(?=\))")  # in (word:1.2), an emphasis
_BROKEN = re.compile(r"(?<=\w)[-\u00ad\u2010\u2011][ \t]*\r?\n\s*(?=\w)")  # a word that goes on in the next line
# Invisible, and of no use within a word: fillers of Hangul and Khmer, choices of a form, the empty pattern of Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic. In other scripts, marks are vowels.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_LONE = re.compile(rf"(?<![^{SPLIT}])[^{SPLIT}](?:[{SPLIT}][^{SPLIT}](?![^{SPLIT}])){{2,}}")  # f o r, letter by letter
_SIGNS = re.compile(r"(?<=[^\W\d_])[@$!|](?=[^\W_])|(?<![^\W_])[@$](?=[^\W\d_])")
_PARTS = re.compile(rf"[^{SPLIT}]+")
_NUMBER = re.compile(r"\d+")
_EDGE = re.compile(r"^\d+(?=\D)|(?<=\D)\d+$")
_LETTERS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i", "|": "l"}
ONES = ("i", "l")  # what the digit 1 may stand for


def forms(text: str, own: str = "") -> tuple[str, ...]:
    """Returns the folded forms of a text: digits and signs part words, or are letters, as in f0rb!dden.

    Args:
        text: Anything that somebody wrote.
        own: Letters with accents that are other letters in a language, such as the Spanish n with a tilde: they stay.
    """
    plain = _plain(text)
    readings = dict.fromkeys(_letters(plain, own, table) for table in READINGS)
    return tuple(dict.fromkeys(form for reading in readings for form in _forms(reading)))


def _forms(text: str) -> Iterator[str]:
    yield _tidy(_NUMBER.sub(_apart, _marked(text)))
    spelled = _marked(_SIGNS.sub(lambda sign: _LETTERS[sign[0]], text))
    for one in ONES:
        yield _tidy(_PARTS.sub(lambda part, one=one: _spelled(part[0], one), spelled))
        yield _tidy(_PARTS.sub(lambda part, one=one: _spelled(_EDGE.sub(_apart, part[0]), one), spelled))


def _plain(text: str) -> str:
    """Removes case, width and what is invisible."""
    text = _WEIGHT.sub(_without_weight, _BROKEN.sub("-", text))
    text = unicodedata.normalize("NFKC", folded(text)).casefold()
    kept = "".join(char for char in _INVISIBLE.sub("", text) if unicodedata.category(char) not in ("Cf", "Cc", "Cn"))
    return _composed(kept)


def _without_weight(found: re.Match[str]) -> str:
    try:
        float(found[1])  # as ComfyUI reads it: 1e0 is a weight, too
    except ValueError:
        return found[0]
    return ""


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", with_few_marks(text))  # what was removed may have parted rows of marks


def _letters(text: str, own: str, table: Mapping[int, str]) -> str:
    """Removes accents, and writes what looks like a Latin letter as that letter."""
    if text.isascii():
        return text
    found: list[str] = []
    for char in text:
        plain = char if char in own else unicodedata.normalize("NFD", char).translate(table)
        for each in plain:
            on_latin = unicodedata.category(each)[0] == "M" and found and found[-1].isascii()
            if not (on_latin or _ACCENTS.match(each)):
                found.append(each)
    return _composed("".join(found))  # Hangul, and vowels of other scripts


def _marked(text: str) -> str:
    """Writes what is no letter or digit as a space or JOIN."""
    return "".join(char if _in_part(char) else " " if char.isspace() else JOIN for char in text)


def _tidy(text: str) -> str:
    """Leaves one mark between two parts, and brings single letters in a row together."""
    text = re.sub(rf"[{SPLIT}]+", lambda gap: " " if " " in gap[0] else JOIN, text)
    return _LONE.sub(lambda row: row[0].replace(" ", JOIN), text)


def _in_part(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char)[0] == "M"


def _apart(digits: re.Match[str]) -> str:
    return f"{JOIN}{digits[0]}{JOIN}"


def _spelled(part: str, one: str) -> str:
    """Writes digits as the letters that they stand for, in a part that is rather a word than a number."""
    digits = sum(char.isdigit() for char in part)
    if not digits or len(part) - digits < max(2, digits):
        return part
    return "".join(one if char == "1" else _LETTERS.get(char, char) for char in part)
