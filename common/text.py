"""What others say, bounded before anything is done with it: numbers finite, texts printable and short, JSON not deep.

Others are the providers, whoever can write into the ledger's folder, the makers of model files, and who posts a prompt.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

MAX_USD = 1000.0  # for a clip; those of today cost less than one
LONGEST_ID = 200
LONGEST_TEXT = 16_384  # letters that are looked through for a reason
DEEPEST = 24  # levels of an answer; those of today have five
MAX_MARKS = 30  # accents in a row, as in Unicode's stream-safe texts (UAX 15): to sort n of them takes n x n steps
_JOINERS = "\u200c\u200d"  # invisible, but part of the spelling in Persian, Hindi and emoji
_HIDDEN = ("Cc", "Cf", "Cs")  # control, format (byte order mark, text direction), half characters
_ID = re.compile(r"(?!\.+$)[\x21-\x7e]+")  # dots alone would lead elsewhere in a path

# Thai to Tibetan, Burmese, Khmer, Chinese and Japanese.
_UNSPACED = (
    ("\u0e00", "\u0fff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u3005", "\u3007"),
    ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)


def unspaced(letter: str) -> bool:
    """Returns whether a letter belongs to a script that knows no spaces, where any place may be the edge of a word."""
    return letter >= _UNSPACED[0][0] and any(first <= letter <= last for first, last in _UNSPACED)


def amount(value: Any) -> float | None:
    """Returns an amount of US dollars; None for what can be none."""
    return number(value, MAX_USD)


def number(value: Any, most: float) -> float | None:
    """Returns a number from 0 to `most`; None for anything else. `true` is none, and neither is "1"."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    return float(value) if fits else None  # NaN does not fit; a whole number of 400 digits is not made a float


def job_id(value: Any) -> str | None:
    """Returns a job's id, of plain letters, digits and signs; None for what cannot be one.

    It is never trimmed or mended: a changed id would be that of another job, or of none.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) > 1e15):
        return None
    text = str(value)
    return text if len(text) <= LONGEST_ID and _ID.fullmatch(text) else None


def line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Returns a text as one printable line, cut at a space if it is too long.

    A word is never cut: a part of a secret would not be known as one.
    """
    cut = text[: longest + 1]
    kept = " ".join("".join(letter if letter.isprintable() else " " for letter in cut).split())
    return kept if len(text) <= longest else kept.rpartition(" ")[0]


def quoted(value: Any, longest: int = 60) -> str:
    """Returns a value as an error may repeat it: short, on one line; of what is no text or number, the kind."""
    try:
        text = str(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
    except ValueError:  # a whole number of thousands of digits
        text = "a longer number"
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def printable(text: str, most: int = 40) -> str:
    """Makes a text from a file fit for a message, of at most so many characters."""
    return "".join(letter for letter in text if letter.isprintable())[:most]


def tidy(words: Iterable[str]) -> list[str]:
    """Makes words printable and drops empty ones and repetitions in another letter case."""
    unique: dict[str, str] = {}
    for word in map(_printable, words):
        unique.setdefault(folded(word), word)
    unique.pop("", None)
    return list(unique.values())


def _printable(word: str) -> str:
    kept = (char for char in word if char.isspace() or char in _JOINERS or unicodedata.category(char) not in _HIDDEN)
    return unicodedata.normalize("NFC", with_few_marks(" ".join("".join(kept).split()).strip(_JOINERS)))


def with_few_marks(text: str) -> str:
    """Returns a text without what comes after the first marks of a letter, which would take long to sort."""
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
    decomposed = unicodedata.normalize("NFD", with_few_marks(" ".join(text.split())))
    return unicodedata.normalize("NFC", decomposed.casefold())


def is_address(value: Any, longest: int = 8192) -> bool:
    """Returns whether something looks like an address on the web, and not too long a one."""
    return (
        isinstance(value, str)
        and len(value) <= longest
        and value.isprintable()
        and value[:8].lower().startswith(("https://", "http://"))
    )


def read_json(content: bytes | str) -> Any:
    """Returns what a text of JSON holds; None if it is none, or deeper than anything that is meant to be read.

    Of two parts of one name, the last counts, as in every reader of JSON.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return None
    level = [data]
    for _ in range(DEEPEST):
        level = [part for each in level for part in _parts(each) if isinstance(part, dict | list)]
        if not level:
            return data
    return None


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
