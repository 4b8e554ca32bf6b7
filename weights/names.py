"""What file names say: which file a shared graph means, which expert a file is for, and which file is its partner."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache
from heapq import nlargest
from pathlib import PurePosixPath
from typing import Literal

from .words import (
    PARTNERS,
    Place,
    place_of,
    signs,
    split_capitals,
    subject_of,
    tell,
    words,
    words_and_signs,
)

Expert = Literal["high", "low"]

MAX_NAME = 400  # characters of a file's name with its folders, as a stranger's graph spells it
_LISTED = 20  # names in a sentence
_COMPARED = 20  # names that are compared with a missing one letter by letter, which is slow

_EXPERT_WORDS: dict[str, Expert] = {"high": "high", "hn": "high", "low": "low", "ln": "low"}
# A bare "high" or "low" means the expert at the end of a name, before a number and before these words; before others it
# may belong to the subject, as in high_quality, high_kick or low_light.
_AFTER_EXPERT = {
    "and", "bf", "e", "ep", "epoch", "expert", "fp", "high", "i", "int", "lightning", "lightx", "lora", "loras", "low",
    "model", "models", "q", "r", "rank", "rcm", "scaled", "step", "steps", "v", "ver", "wan",
}  # fmt: skip
_OF_SUBJECTS = (
    "angle|contrast|cut|detail|fashion|heels|key|kick|light|lighting|motion|poly|quality|res|resolution|speed|vram"
)
_SIDE_BY_SIDE = (
    "high low|low high|High Low|Low High|HIGH LOW|LOW HIGH|hn ln|ln hn|HN LN|LN HN|(?i:high and low|low and high)"
)
# A file for both experts names them side by side: `dance_high_low`. Words of two spellings are no such pair, as in
# `HIGH_low_poly`, nor are those of which the second belongs to the subject.
_BOTH = (
    r"(?<![^\W\d_])(?:" + _SIDE_BY_SIDE.replace(" ", r"[\W_]+") + r")(?:[\W_]*(?i:noise))?(?![^\W\d_])"
    rf"(?![\W_]+(?i:{_OF_SUBJECTS})(?![^\W\d_]))"
)


def expert_of(name: str) -> Expert | None:
    """Returns which expert a file is for by its name, else by its folders; None where none says it or one says both."""
    path = _path(name)
    for part in (path.stem, *reversed(path.parts[:-1])):
        told = _expert_in(part)
        if told:
            return None if told == "both" else told
    return None


def _expert_in(part: str) -> Expert | Literal["both"] | None:
    """Returns what the name of a file or of one folder says by itself."""
    name, pairs = words(part), 0
    if len(_EXPERT_WORDS.keys() & name) > 1:
        rest, pairs = re.subn(_BOTH, " both ", split_capitals(part))
        name = words(rest)
    followed = list(zip(name, [*name, ""][1:], strict=True))
    sure = {word for word, after in followed if word in ("high", "low") and after == "noise"}
    likely = {word for word, after in followed if word in _EXPERT_WORDS and _ends_a_word(word, after)}
    found: set[Expert] = {_EXPERT_WORDS[word] for word in sure or likely}
    if len(found) == 1:
        return found.pop()
    return "both" if pairs or sure else None


def _ends_a_word(word: str, after: str) -> bool:
    return word in ("hn", "ln") or not after or after.isdigit() or after in _AFTER_EXPERT


def experts_of(high: str | None, low: str | None) -> tuple[Expert | None, Expert | None]:
    """Returns which expert each of two chosen files is for by its name, or by the one thing that tells the two apart.

    So `a_L` beside `a_H` is the low-noise one, although an L alone may mean anything.

    Args:
        high: The file chosen for the high-noise expert, if any.
        low: The other one.
    """
    if high and low and partner(high, [low]):
        return "high", "low"
    if high and low and partner(low, [high]):
        return "low", "high"
    return expert_of(high or ""), expert_of(low or "")


def resolve_name(wanted: str, available: Sequence[str], folder: str = "models", expert: Expert | None = None) -> str:
    """Finds the file that a graph names among those on this machine.

    The name as it stands comes first. Else a file fits that differs only in slashes, letter case or sub-folder,
    if it is the only one. A file of the other expert never fits. A name that tools give to every file means none in a
    folder of another subject.

    Args:
        wanted: Name in the graph, perhaps with another machine's folders.
        available: Names relative to ComfyUI's model folder, as ComfyUI lists them.
        folder: Name of that model folder, for the message, for example "loras".
        expert: The expert that the file is for, unless its name says another.

    Raises:
        FileNotFoundError: No file fits.
        ValueError: Several fit.
    """
    if wanted in available:
        return wanted
    if len(wanted) > MAX_NAME:
        raise ValueError(
            f"The name of a file has at most {MAX_NAME} characters, got {len(wanted)}. Choose a file of '{folder}'."
        )
    expert = expert_of(wanted) or expert
    listing = _listing(tuple(available))
    named: list[str] = []
    for form, table in zip(_forms(wanted), listing.forms, strict=True):
        named = [name for name in table.get(form, ()) if expert is None or expert_of(name) in (expert, None)]
        fitting = _in_fitting_folders(wanted, named)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ValueError(
                f"'{_path(wanted).name}' is in '{folder}' {len(fitting)} times: {_listed(sorted(fitting))}. "
                "Choose one of them in the list."
            )
    if named:
        raise FileNotFoundError(
            f"'{_path(wanted).name}' is a name that many files have, and in '{folder}' it is only in other folders "
            f"than in the graph: {_listed(sorted(named))}. Choose one of them in the list, or download "
            "the graph's own into a folder of the graph's name, then refresh the page."
        )
    raise FileNotFoundError(_not_found(_path(wanted).name, listing.nearest(wanted, expert), folder))


def _in_fitting_folders(wanted: str, named: list[str]) -> list[str]:
    """Returns which files of a name may be the wanted one: where it says nothing, their folders decide."""
    if not named or tell(words_and_signs(_path(wanted).stem)):
        return named
    place = place_of(_path(wanted))
    fitting = [name for name in named if place.may_be(place_of(_path(name)))]
    return [name for name in fitting if place_of(_path(name)).folders[:1] == place.folders[:1]] or fitting


def base_name(name: str) -> str:
    """Returns a name without its folders, whichever way its slashes lean."""
    return _path(name).name


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())  # a Mac may list an accent as a letter of its own


def _forms(name: str) -> tuple[str, ...]:
    """Returns what two names must share one of to mean one file, strictest first."""
    path = _path(name)
    return str(path), _folded(str(path)), path.name, _folded(path.name)


class _Parts:
    """The words of a name that tell a pair apart.

    Args:
        name: With its folders.
    """

    __slots__ = ("_subject", "folder", "name", "plain", "stem", "suffix")

    def __init__(self, name: str):
        self.name = name
        self._subject: Place | None = None
        path = _path(name)
        self.stem = words(path.stem)
        plain = _RCM.sub(r"\1", path.stem)
        self.plain = self.stem if plain == path.stem else words(plain)
        self.folder = words(str(path.parent))
        self.suffix = path.suffix.casefold()

    @property
    def subject(self) -> Place:
        """Of whom or what a file is whose name has no word for it."""
        self._subject = self._subject or subject_of(_path(self.name))
        return self._subject


_RCM = re.compile(r"(rcm)\d+(?:[._]\d+)?", re.IGNORECASE)


class _Listing:
    """The files of a folder, prepared once for all the names that are looked for in it."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    @cached_property
    def forms(self) -> list[dict[str, list[str]]]:
        """The names by each of their forms."""
        tables: list[dict[str, list[str]]] = [{}, {}, {}, {}]
        for name in self.names:
            for table, form in zip(tables, _forms(name), strict=True):
                table.setdefault(form, []).append(name)
        return tables

    @cached_property
    def parts(self) -> dict[str, _Parts]:
        """The words of each name."""
        return {name: _Parts(name) for name in self.names}

    @cached_property
    def stems(self) -> dict[str, list[str]]:
        """The words of each name without its folders."""
        return {name: words(_path(name).stem) for name in self.names}

    def nearest(self, wanted: str, expert: Expert | None) -> list[str]:
        """Returns the few names that share the most words with one that is none of them."""
        asked = set(words(_path(wanted).stem))
        shared = {name: len(asked.intersection(stem)) for name, stem in self.stems.items()}
        close = nlargest(2 * _COMPARED, self.names, key=shared.__getitem__)
        return [name for name in close if expert is None or expert_of(name) in (expert, None)][:_COMPARED]


# What is kept comes from ComfyUI's own lists of files, never from a name that somebody asks for.
@lru_cache(maxsize=8)
def _listing(names: tuple[str, ...]) -> _Listing:
    return _Listing(names)


def _not_found(name: str, available: Sequence[str], folder: str) -> str:
    by_stem: dict[str, list[str]] = {}  # the common suffix would make all alike
    for other in available:
        by_stem.setdefault(_path(other).stem.casefold(), []).append(other)
    alike = get_close_matches(_path(name).stem.casefold(), by_stem, n=3)
    close = [other for stem in alike for other in by_stem[stem]]
    hint = f"The closest names there are {_listed(close)}: choose one" if close else "Download it into that folder"
    return f"'{name}' is not in ComfyUI's folder '{folder}'. {hint}, then refresh the page."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(f"'{name}'" for name in names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def partner(name: str, available: Iterable[str]) -> str | None:
    """Finds the low-noise partner of a high-noise LoRA by file name; None where no one file is it.

    The names are equal but for the expert's word, in any spelling of case and separators. Where there is no such file,
    the strengths after "rCM" may differ too, because the two experts were merged with different ones. The same or the
    mirrored folder comes before any other. For a name that says nothing but the expert, another folder must be of the
    same subject.
    """
    high, others = _Parts(name), _listing(tuple(available)).parts
    for without_strength in (False, True):
        for base_only in (False, True):
            fitting = [
                other
                for other, low in others.items()
                if other != name and _is_pair(high, low, base_only, without_strength)
            ]
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
    return None


def _is_pair(high: _Parts, low: _Parts, base_only: bool, without_strength: bool) -> bool:
    swaps = _swaps(high.plain, low.plain) if without_strength else _swaps(high.stem, low.stem)
    if swaps is None or high.suffix != low.suffix:
        return False
    if base_only:  # a bare name without the expert's word would fit in any folder
        return swaps > 0 and (tell(high.stem) or high.subject.is_of(low.subject))
    above = _swaps(high.folder, low.folder)
    return above is not None and swaps + above > 0 and (tell(high.stem) or signs(high.name) == signs(low.name))


def _swaps(high: Sequence[str], low: Sequence[str]) -> int | None:
    """Counts the places where one name has the high word and the other the low one; None if they differ elsewhere."""
    if len(high) != len(low):
        return None
    differing = [(a, b) for a, b in zip(high, low, strict=True) if a != b]
    return len(differing) if all(PARTNERS.get(a) == b for a, b in differing) else None
