"""A list of words and patterns, as a filter of texts.

    # Each note has a line of its own. This is a word, in whatever language the text is:
    forbiddenite
    # Words in a row:
    forbidden ore
    # Every word that begins so; *ite every word that ends so:
    forbiddenit*
    # A pattern of Python's re, held against the folded text:
    /forbid[a-z]+ite/
    # From here on words of Spanish, in which n with a tilde is a letter of its own:
    [es]

A word is found where nothing joins on to it: an entry never lies within a longer word, unless a star says so.
Chinese, Japanese, Thai and other scripts know no spaces, so there it is found anywhere.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..common.text import line, unspaced
from .folding import JOIN, SPLIT, forms
from .question import NoAnswerError, Question
from .settings import WORDS, Settings

EVERY = "*"  # the section of what stands before the first heading
MOST_ENTRY = 200  # characters
MOST_BYTES = 4_000_000  # of the file
_NOTE = re.compile(r"\s#(?!\w)")  # as it may stand behind words, unlike that in: we are #1
_NOTE_OF_PATTERN = re.compile(r".+/\s*#")  # in /ore/ # see https://example.com/, which ends as a pattern does
# Of a pattern, flags of one as in /ore/i, or a note behind it, in what ends otherwise; unlike those in: /r/ores
_SIGNS = re.compile(r"[\[\](){}|\\^+#]|./(\s|(?i:[dgimsuvxy]{1,3})$)")
_HEADING = re.compile(r"\[\s*(\*|[A-Za-z]{2,3}(?:-\w+)*)\s*\]")
# Letters with accents that make other words, by language. In all others an accent changes nothing.
OWN_LETTERS = {
    "cs": "\u00e1\u010d\u010f\u00e9\u011b\u00ed\u0148\u00f3\u0159\u0161\u0165\u00fa\u016f\u00fd\u017e",
    "da": "\u00e5\u00e6\u00f8",
    "de": "\u00e4\u00f6\u00fc",
    "es": "\u00f1",
    "fi": "\u00e4\u00e5\u00f6",
    "fr": "\u00e0\u00e2\u00e6\u00e7\u00e8\u00e9\u00ea\u00eb\u00ee\u00ef\u00f4\u00f9\u00fb\u00fc\u0153",
    "it": "\u00e0\u00e8\u00e9\u00ec\u00f2\u00f9",
    "no": "\u00e5\u00e6\u00f8",
    "pl": "\u0105\u0107\u0119\u0142\u0144\u00f3\u015b\u017a\u017c",
    "pt": "\u00e1\u00e2\u00e3\u00e0\u00e7\u00e9\u00ea\u00ed\u00f3\u00f4\u00f5\u00fa",
    "ru": "\u0439\u0451",
    "sv": "\u00e4\u00e5\u00f6",
    "tr": "\u00e7\u011f\u0131\u00f6\u015f\u00fc",
    "uk": "\u0439\u0457\u0491",
}
_RUN = re.compile(rf"([^{SPLIT}])(?:{JOIN}?\1){{3,}}")  # which counts as three
BORDER = rf"(?![^{SPLIT}])"
_BEGIN = rf"(?<![^{SPLIT}])"

Tree = dict[str, "Tree"]


class Section(NamedTuple):
    """The entries of a language."""

    language: str
    own: str  # letters that are not folded
    words: tuple[re.Pattern[str], ...]
    patterns: tuple[re.Pattern[str], ...]


def judge(known: Settings, question: Question) -> bool | str:
    """Returns True if no text holds an entry of the list, else which."""
    try:
        stat = Path(known.of(WORDS)).stat()
        sections = read(known.of(WORDS), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise NoAnswerError(f"the file of {WORDS} cannot be read ({error.strerror})") from None
    for text in filter(None, question.texts):
        found = find(text, sections)
        if found:
            return found
    return True


@lru_cache(maxsize=4)
def read(path: str, changed: int, size: int) -> tuple[Section, ...]:
    """Reads a list, anew when its file has changed.

    Raises:
        NoAnswerError: A line cannot be understood, or there is no entry: then nobody knows what the list should hold.
        OSError: The file cannot be read.
    """
    if size > MOST_BYTES:
        raise NoAnswerError(f"the file of {WORDS} has more than {MOST_BYTES} bytes")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise NoAnswerError(f"the file of {WORDS} is not in UTF-8") from None
    return parse(text)


def parse(text: str) -> tuple[Section, ...]:
    """Returns the sections of a list; NoAnswerError where a line cannot be understood, or there is no entry."""
    entries: dict[str, list[tuple[int, str]]] = {}
    language = EVERY
    for number, raw in enumerate(text.splitlines(), 1):
        entry = raw.strip()
        if not entry or entry.startswith("#"):
            continue
        if _unclear(entry):
            raise NoAnswerError(
                f"line {number} of the list holds what may be a note or half a pattern: write a note in a line of its "
                "own, end a pattern with a slash, and leave out a # that belongs to an entry"
            )
        heading = _HEADING.fullmatch(entry)
        if heading:
            language = heading[1].lower()
        elif entry.startswith("[") or len(entry) > MOST_ENTRY:
            raise NoAnswerError(f"line {number} of the list is neither a language in brackets nor a short entry")
        else:
            entries.setdefault(language, []).append((number, entry))
    if not entries:
        raise NoAnswerError("the list holds no entry")
    return tuple(_section(language, lines) for language, lines in entries.items())


def _unclear(entry: str) -> bool:
    """Returns whether nobody can tell what is meant: taken as words, it might find nothing, and nobody would know."""
    if not entry.startswith("/"):
        return bool(_NOTE.search(entry))
    return bool(_NOTE_OF_PATTERN.match(entry) if _is_pattern(entry) else _SIGNS.search(entry))


def _is_pattern(entry: str) -> bool:
    return len(entry) > 2 and entry[0] == entry[-1] == "/"


def find(text: str, sections: Iterable[Section]) -> str | None:
    """Returns what of a text is on the list, in words; None where nothing is."""
    for section in sections:
        for form in forms(text, section.own):
            for match in _matches(form, section):
                shown = line(" ".join(match.replace(JOIN, "").split()), 60)
                where = "" if section.language == EVERY else f" [{section.language}]"
                return f"the text holds '{shown}', which is on the list of words{where}"
    return None


def _matches(form: str, section: Section) -> Iterator[str]:
    shorter = _RUN.sub(_few, form)  # else a row of n equal letters, each of which may begin a word, takes n x n steps
    for pattern in section.words:
        yield from (found[0] for found in pattern.finditer(shorter))
    for view in (form.replace(JOIN, " "), form.replace(JOIN, "")):
        for pattern in section.patterns:
            yield from (found[0] for found in pattern.finditer(view))


def _few(run: re.Match[str]) -> str:
    return (JOIN if JOIN in run[0] else "").join(run[1] * 3)


def _section(language: str, lines: list[tuple[int, str]]) -> Section:
    own = OWN_LETTERS.get(language.split("-")[0], "")
    bordered: Tree = {}
    open_at_front: Tree = {}
    patterns: list[re.Pattern[str]] = []
    for number, entry in lines:
        try:
            if _is_pattern(entry):
                patterns.append(re.compile(entry[1:-1], re.IGNORECASE))
                continue
        except re.error as error:
            raise NoAnswerError(f"line {number} of the list is no pattern of Python's re ({error})") from None
        for form in forms(entry.strip("*"), own):
            if not form.strip(SPLIT):
                raise NoAnswerError(f"line {number} of the list holds no letter or digit")
            anywhere = entry.startswith("*") or unspaced(form[0])
            _add(open_at_front if anywhere else bordered, form.strip(SPLIT), entry.endswith("*"))
    words = [f"{_BEGIN}{_pattern(bordered)}"] if bordered else []
    words += [_pattern(open_at_front)] if open_at_front else []
    return Section(language, own, tuple(map(re.compile, words)), tuple(patterns))


def _add(tree: Tree, form: str, open_at_end: bool) -> None:
    """Adds an entry to a tree of pieces of a pattern, in which entries share their beginnings."""
    gap = ""
    for run in re.finditer(rf"([{SPLIT}])|(.)\2*", form):
        if run[1]:
            gap = f"[{SPLIT}]*"
            continue
        tree = tree.setdefault(gap + _run(run[2], len(run[0])), {})
        gap = f"[{SPLIT}]*" if unspaced(run[2]) else f"{JOIN}?"
    tree["" if open_at_end or unspaced(form[-1]) else BORDER] = {}


def _run(letter: str, times: int) -> str:
    """Returns the pattern of a letter: often repeated it counts as once or twice, but two are not one."""
    piece = re.escape(letter)
    if times > 1:
        return f"{piece}(?:{JOIN}?{piece})+"
    return f"{piece}(?:(?:{JOIN}?{piece}){{2,}})?"


def _pattern(tree: Tree) -> str:
    branches = [piece + (_pattern(below) if below else "") for piece, below in tree.items()]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
