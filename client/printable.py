"""Texts of others, as a terminal may show them."""

import re

LONG = 20_000  # characters of an error or a report
WORDS = 120  # characters of a title or a name
ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b.?")


def printable(text: object, most: int = LONG) -> str:
    """Returns a text without what steers a terminal: escape sequences, control and bidi characters. Lines stay.

    Args:
        text: Anything; what is no text is written as Python would.
        most: The characters to keep; what is cut off is marked.
    """
    whole = text if isinstance(text, str) else repr(text)
    kept = ESCAPES.sub("", whole[: most + 1000])
    kept = "".join(letter if letter.isprintable() or letter == "\n" else " " * letter.isspace() for letter in kept)
    return kept if len(kept) <= most and len(whole) <= most + 1000 else f"{kept[:most]}..."


def short(text: object) -> str:
    """Returns a title or a name as one short line."""
    return " ".join(printable(text, WORDS).split())
