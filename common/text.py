"""What others say, bounded before anything is done with it: numbers finite, texts printable and short, JSON not deep.

Others are the providers, and whoever can write into the ledger's folder.
"""

import json
import re
from typing import Any

MAX_USD = 1000.0  # for a clip; those of today cost less than one
LONGEST_ID = 200
LONGEST_TEXT = 16_384  # letters that are looked through for a reason
DEEPEST = 24  # levels of an answer; those of today have five
_ID = re.compile(r"(?!\.+$)[\x21-\x7e]+")  # dots alone would lead elsewhere in a path


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
