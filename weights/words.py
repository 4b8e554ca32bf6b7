"""The words of a file's name, of whatever spelling and language of ours, as `names.py` compares them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# The words for high and low noise in every language that the pack is translated to. They count only together with the
# word for noise: a tall man is `alto` too, and a camera may look from `高`.
_NOISE = {"noise", "ruido", "ruído", "bruit", "шум", "шума", "шумом"}
_LEVELS = {
    "high": ["alto", "elevado", "haut", "élevé", "eleve", "fort", "высокий", "высокого", "высоким"],
    "low": ["bajo", "baixo", "bas", "faible", "низкий", "низкого", "низким"],
}
_LEVEL_OF = {word: level for level, spellings in _LEVELS.items() for word in spellings}
# Written in one word, in either order, and the Russian adjectives.
_COMPOUNDS = {
    **{word + noise: level for word, level in _LEVEL_OF.items() for noise in _NOISE},
    **{noise + word: level for word, level in _LEVEL_OF.items() for noise in _NOISE},
    **{f"высокошум{end}": "high" for end in ("", "ный", "ная", "ное")},
    **{f"низкошум{end}": "low" for end in ("", "ный", "ная", "ное")},
}  # fmt: skip

_KNOWN = {*_LEVEL_OF, *_COMPOUNDS}

# Chinese, Japanese and Korean are written without spaces. Kana and Hangul must begin a word: スローノイズ is slow.
_EAST = r"[\s_-]*(?:噪[声音聲點点訊]?|雜訊|杂讯|雑音|ノイズ|노이즈|잡음)"
_BEGINS = "(?:(?<![ァ-ヶー가-힣])|(?<=ノイズ)|(?<=노이즈)|(?<=잡음))"  # also behind another level
_EASTERN = re.compile(rf"(?:(高)|低|{_BEGINS}(?:(ハイ|고|하이|높은)|ロー|저|로우|로|낮은)){_EAST}")


def words(text: str) -> list[str]:
    """Splits a name into lower-case words and numbers: "HighNoise-v2" gives high, noise, v, 2.

    The words for high and low noise are given in English, whatever language of ours they are in.
    """
    if not text.isascii():
        text = _spaced(unicodedata.normalize("NFC", text))  # a Mac may list an accent as a letter of its own
    text = _CAMEL.sub(" ", text).casefold()
    return _in_english(_WORD.findall(_JOINED.sub(r"\1 ", text)))


_CAMEL = re.compile("(?<=[a-z])(?=[A-Z][a-z]|HIGH|LOW)")
_JOINED = re.compile(r"(high|low)(?=noise|v\d)")
_WORD = re.compile(r"[^\W\d_]+|\d+")


def _spaced(text: str) -> str:
    """Puts the English words for those of Chinese, Japanese and Korean, with spaces around them."""
    return _EASTERN.sub(lambda found: " high noise " if found[1] or found[2] else " low noise ", text)


def _in_english(words: Sequence[str]) -> list[str]:
    """Puts the English words for those of the other languages; a word that means something else stays."""
    if _KNOWN.isdisjoint(words):
        return list(words)
    english: list[str] = []
    place = 0
    while place < len(words):
        whole, pair = _COMPOUNDS.get(words[place]), _level(words[place : place + 2])
        english += [whole or pair or words[place], *(["noise"] if whole or pair else [])]
        place += 2 if pair and not whole else 1
    return english


def _level(pair: Sequence[str]) -> str | None:
    if len(pair) < 2 or not _NOISE.intersection(pair):
        return None
    return _LEVEL_OF.get(pair[0]) or _LEVEL_OF.get(pair[1])
