"""The words for high and low noise in file names, in every language that the pack is translated to.

Only together with the word for noise: a tall man is `alto` too, and a camera may look from `高`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    "высокошумный": "high", "высокошум": "high", "низкошумный": "low", "низкошум": "low",
}  # fmt: skip

_KNOWN = {*_LEVEL_OF, *_COMPOUNDS}

# Chinese, Japanese and Korean are written without spaces. Kana and Hangul must begin a word: スローノイズ is slow.
_EAST = r"[\s_-]*(?:噪[声音聲點点訊]?|雜訊|杂讯|雑音|ノイズ|노이즈|잡음)"
_BEGINS = "(?<![ァ-ヶー가-힣])"
_HIGH = re.compile(rf"(?:高|{_BEGINS}(?:ハイ|고|하이|높은)){_EAST}")
_LOW = re.compile(rf"(?:低|{_BEGINS}(?:ロー|저|로우|로|낮은)){_EAST}")


def spaced(text: str) -> str:
    """Puts the English words for those of Chinese, Japanese and Korean, with spaces around them."""
    return _LOW.sub(" low noise ", _HIGH.sub(" high noise ", text))


def in_english(words: Sequence[str]) -> list[str]:
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
