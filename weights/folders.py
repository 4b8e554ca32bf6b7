"""What the folders of a file tell where its own name says nothing, as `high_noise_model`; `names.py` compares them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from .words import PARTNERS, words

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
_ROOT = re.compile(
    r"^(?:[a-z]:)?/(?:.*?/)?(?:models/(?:diffusion_models|unet|vae|text_encoders|clip)|loras)/", re.IGNORECASE
)


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
    for part in reversed(PurePosixPath(_ROOT.sub("", str(path), count=1)).parts[:-1]):
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
