"""The words of a file's name, of whatever spelling and language of ours, and what its folders tell besides.

`names.py` compares both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

# The words that tell a pair apart, as its two names spell them.
PARTNERS = {"high": "low", "hn": "ln", "h": "l", "hi": "lo", "hnoise": "lnoise"}
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
# Text, as compiling it takes a millisecond of each start: `re` does that where it is used, and keeps it.
_EAST = r"[\s_-]*(?:噪[声音聲點点訊]?|雜訊|杂讯|雑音|ノイズ|노이즈|잡음)"
_BEGINS = "(?:(?<![ァ-ヶー가-힣])|(?<=ノイズ)|(?<=노이즈)|(?<=잡음))"  # also behind another level
_EASTERN = rf"(?:(高)|低|{_BEGINS}(?:(ハイ|고|하이|높은)|ロー|저|로우|로|낮은)){_EAST}"
# One word for noise behind both levels, 高低噪. Behind another letter the first is the subject's: 跳高 is a high jump.
_EASTERN += rf"|(?<![一-鿿])(?:(高)(?=低{_EAST})|低(?=高{_EAST}))"


def words(text: str) -> list[str]:
    """Splits a name into lower-case words and numbers: "HighNoise-v2" gives high, noise, v, 2.

    The words for high and low noise are given in English, whatever language of ours they are in.
    """
    if not text.isascii():
        text = _spaced(unicodedata.normalize("NFC", text))  # a Mac may list an accent as a letter of its own
    text = split_capitals(text).casefold()
    return _in_english(_WORD.findall(_JOINED.sub(r"\1 ", text)))


def split_capitals(text: str) -> str:
    """Puts a space before the capitals that begin a word within a name."""
    return _CAMEL.sub(" ", text)


_CAMEL = re.compile("(?<=[a-z])(?=[A-Z][a-z]|HIGH|LOW)")
_JOINED = re.compile(r"(high|low)(?=noise|v\d)")
_WORD = re.compile(r"[^\W\d_]+|\d+")


def _spaced(text: str) -> str:
    """Puts the English words for those of Chinese, Japanese and Korean, with spaces around them."""
    return re.sub(_EASTERN, lambda found: " high noise " if any(found.groups()) else " low noise ", text)


def _in_english(named: Sequence[str]) -> list[str]:
    """Puts the English words for those of the other languages; a word that means something else stays."""
    if _KNOWN.isdisjoint(named):
        return list(named)
    english: list[str] = []
    place = 0
    while place < len(named):
        whole, pair = _COMPOUNDS.get(named[place]), _level(named[place : place + 2])
        english += [whole or pair or named[place], *(["noise"] if whole or pair else [])]
        place += 2 if pair and not whole else 1
    return english


def _level(pair: Sequence[str]) -> str | None:
    if len(pair) < 2 or not _NOISE.intersection(pair):
        return None
    return _LEVEL_OF.get(pair[0]) or _LEVEL_OF.get(pair[1])


# Tools give such names to every file, so that only its folder tells what it is: `cat/high_noise_model`.
_OF_TOOLS = {
    "adapter", "diffusion", "expert", "lora", "loras", "model", "models", "noise", "pytorch", "v", "weights",
    *PARTNERS, *PARTNERS.values(),
}  # fmt: skip
# And such ones to folders: `cat/epoch40/adapter_model`, `cat/transformer/diffusion_pytorch_model`.
_OF_PARTS = {
    "bf", "checkpoint", "checkpoints", "e", "encoder", "epoch", "epochs", "fp", "r", "rank", "step", "steps", "text",
    "transformer", "unet", "vae",
}  # fmt: skip
# Where another machine keeps its models, which says nothing of what they are.
_ROOT = r"(?i)^(?:[a-z]:)?/(?:.*?/)?(?:models/(?:diffusion_models|unet|vae|text_encoders|clip)|loras)/"


def words_and_signs(text: str) -> list[str]:
    """Returns the words of a name, and behind them as one its signs, which are no letters but may tell files apart."""
    return [*words(text), *filter(None, [signs(text)])]


def signs(text: str) -> str:
    """Returns what a name holds beside words and what stands between them, such as emoji."""
    if text.isascii():
        return ""
    composed = unicodedata.normalize("NFC", text)  # a Mac may list an accent as a letter of its own
    return "".join(sign for sign in composed if not sign.isascii() and unicodedata.category(sign)[0] in "MS")


def tell(stem: Sequence[str]) -> bool:
    """Returns whether the words of a file's name say more than tools do; a short number does if it comes first."""
    return any(
        word not in _OF_TOOLS and not (place and word.isdecimal() and len(word) < 3) for place, word in enumerate(stem)
    )


def tell_as_folder(folder: Sequence[str]) -> bool:
    """Returns whether the words of a folder's name say more than tools do; a number never does."""
    return any(not word.isdecimal() and word not in _OF_PARTS for word in without_tools(folder))


def without_tools(folder: Sequence[str]) -> list[str]:
    """Returns the words of a folder's name but for the expert's and others that say no more beside them."""
    return [word for word in folder if word not in _OF_TOOLS]


class Place(NamedTuple):
    """What the folders of a file tell."""

    folders: list[list[str]]  # the words of those that say more than tools do, the nearest first
    within: set[str]  # words of tools' folders below those: which epoch, which part of a model

    def may_be(self, other: Place) -> bool:
        """Returns whether files of one name in two places may be one: each folder of the one is of the other, too."""
        held = all(folder in other.folders for folder in self.folders)
        return self._fits(other) and (held or all(folder in self.folders for folder in other.folders))

    def is_of(self, other: Place) -> bool:
        """Returns whether the files of two places are of one subject."""
        return self.folders == other.folders and self._fits(other)

    def _fits(self, other: Place) -> bool:
        return self.within <= other.within or self.within >= other.within


def place_of(path: PurePosixPath) -> Place:
    """Returns what the folders of a file tell."""
    place = Place([], set())
    for part in reversed(PurePosixPath(re.sub(_ROOT, "", str(path), count=1)).parts[:-1]):
        named = words_and_signs(part)
        if tell_as_folder(named):
            place.folders.append(without_tools(named))
        elif not place.folders:
            place.within.update(without_tools(named))
    return place


def subject_of(path: PurePosixPath) -> Place:
    """Returns of whom or what a file is whose name has no word for it: by a sign in its name, else by its folders."""
    own = signs(path.stem)
    return Place([[own]], set()) if own else place_of(path)
