"""What file names say: which file a shared graph means, which expert a file is for, and which file is its partner."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal

Expert = Literal["high", "low"]

_PARTNERS = {"high": "low", "hn": "ln", "h": "l"}  # the words that tell a pair apart, as its two names spell them
_EXPERT_WORDS: dict[str, Expert] = {"high": "high", "hn": "high", "low": "low", "ln": "low"}
# A bare "high" or "low" means the expert at the end of a name, before a number and before these words; before others it
# may belong to the subject, as in high_quality, high_kick or low_light.
_AFTER_EXPERT = {
    "and", "bf", "e", "ep", "epoch", "expert", "fp", "high", "i", "int", "lightning", "lightx", "lora", "loras", "low",
    "model", "models", "q", "r", "rank", "rcm", "scaled", "step", "steps", "v", "ver", "wan",
}  # fmt: skip


def words(text: str) -> list[str]:
    """Splits a name into lower-case words and numbers: "HighNoise-v2" gives high, noise, v, 2."""
    return list(_words(text))


@lru_cache(maxsize=50_000)  # whoever looks for a partner asks again and again for the names of a whole folder
def _words(text: str) -> tuple[str, ...]:
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z]|HIGH|LOW)", " ", text).casefold()
    text = re.sub(r"(high|low)(?=noise|v\d)", r"\1 ", text)
    return tuple(re.findall(r"[^\W\d_]+|\d+", text))


def expert_of(name: str) -> Expert | None:
    """Tells which expert a file is for by its name, else by its folders; None where neither says it clearly."""
    path = _path(name)
    for part in (path.stem, *(folder.name for folder in path.parents)):
        expert = _expert_in(words(part))
        if expert:
            return expert
    return None


def _expert_in(name: list[str]) -> Expert | None:
    followed = list(zip(name, [*name, ""][1:], strict=True))
    sure = {word for word, after in followed if word in ("high", "low") and after == "noise"}
    likely = {word for word, after in followed if word in _EXPERT_WORDS and _ends_a_word(word, after)}
    found: set[Expert] = {_EXPERT_WORDS[word] for word in sure or likely}
    return found.pop() if len(found) == 1 else None


def _ends_a_word(word: str, after: str) -> bool:
    return word in ("hn", "ln") or not after or after.isdigit() or after in _AFTER_EXPERT


def experts_of(high: str | None, low: str | None) -> tuple[Expert | None, Expert | None]:
    """Tells which expert each of two chosen files is for by its name, or by the one thing that tells the two apart.

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
    if it is the only one. A file of the other expert never fits.

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
    expert = expert_of(wanted) or expert
    allowed = [name for name in available if expert is None or expert_of(name) in (expert, None)]
    for form in _FORMS:
        fitting = [name for name in allowed if form(name) == form(wanted)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ValueError(
                f"'{_path(wanted).name}' is in '{folder}' {len(fitting)} times: {_listed(sorted(fitting))}. "
                "Choose one of them in the list."
            )
    raise FileNotFoundError(_not_found(_path(wanted).name, allowed, folder))


def base_name(name: str) -> str:
    """Returns a name without its folders, whichever way its slashes lean."""
    return _path(name).name


@lru_cache(maxsize=50_000)
def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())  # a Mac may list an accent as a letter of its own


_FORMS: tuple[Callable[[str], str], ...] = (  # what two names must share to mean one file, strictest first
    lambda name: str(_path(name)),
    lambda name: _folded(str(_path(name))),
    lambda name: _path(name).name,
    lambda name: _folded(_path(name).name),
)


def _not_found(name: str, available: Sequence[str], folder: str) -> str:
    by_stem = {_path(other).stem.casefold(): other for other in available}  # the common suffix would make all alike
    close = [by_stem[stem] for stem in get_close_matches(_path(name).stem.casefold(), by_stem, n=3)]
    hint = f"The closest names there are {_listed(close)}: choose one" if close else "Download it into that folder"
    return f"'{name}' is not in ComfyUI's folder '{folder}'. {hint}, then refresh the page."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def partner(name: str, available: Iterable[str]) -> str | None:
    """Finds the low-noise partner of a high-noise LoRA by file name; None where no one file is it.

    The names are equal but for the expert's word, in any spelling of case and separators. Where there is no such file,
    the strengths after "rCM" may differ too, because the two experts were merged with different ones. The same or the
    mirrored folder comes before any other.
    """
    others = [other for other in available if other != name]
    for simplify in (words, _without_rcm_strength):
        for base_only in (False, True):
            fitting = [other for other in others if _is_pair(name, other, base_only, simplify)]
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
    return None


def _is_pair(high: str, low: str, base_only: bool, simplify: Callable[[str], list[str]]) -> bool:
    high_path, low_path = _path(high), _path(low)
    swaps = _swaps(simplify(high_path.stem), simplify(low_path.stem))
    if swaps is None or high_path.suffix.casefold() != low_path.suffix.casefold():
        return False
    if base_only:  # a bare name without the expert's word would fit in any folder
        return swaps > 0
    above = _swaps(words(str(high_path.parent)), words(str(low_path.parent)))
    return above is not None and swaps + above > 0


def _swaps(high: list[str], low: list[str]) -> int | None:
    """Counts the places where one name has the high word and the other the low one; None if they differ elsewhere."""
    if len(high) != len(low):
        return None
    differing = [(a, b) for a, b in zip(high, low, strict=True) if a != b]
    return len(differing) if all(_PARTNERS.get(a) == b for a, b in differing) else None


def _without_rcm_strength(name: str) -> list[str]:
    return words(re.sub(r"(rcm)\d+(?:[._]\d+)?", r"\1", name, flags=re.IGNORECASE))
