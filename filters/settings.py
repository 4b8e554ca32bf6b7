"""What the operator of a ComfyUI decides about content, in environment variables.

    WAN22_TURBO_FILTER_WORDS        a file with words and patterns, which is asked about texts
    WAN22_TURBO_FILTER_FUNCTION     module:function, which is asked about texts, pictures and clips
    WAN22_TURBO_FILTER_COMMAND      a program and its arguments, which is asked the same on its standard input
    WAN22_TURBO_FILTER_IMAGES       module:function, which gives a picture a score from 0 to 1
    WAN22_TURBO_FILTER_LIMIT        the score from which a picture is refused, or label=score, label=score
    WAN22_TURBO_FILTER_FRAMES       how many frames of a clip are looked at
    WAN22_TURBO_FILTER_SECONDS      how long an answer may take
    WAN22_TURBO_FILTER_ENVIRONMENT  names of further variables that the command gets

Each filter that is named is asked; the first no counts. They are read at every run and cannot be set from a graph.
"""

import difflib
import math
from collections.abc import Mapping

from ..common.text import line
from .question import FRAMES as DEFAULT_FRAMES
from .question import NoAnswerError

PREFIX = "WAN22_TURBO_FILTER"
WORDS, FUNCTION, COMMAND, IMAGES = (f"{PREFIX}_{name}" for name in ("WORDS", "FUNCTION", "COMMAND", "IMAGES"))
LIMIT, FRAMES, SECONDS, ENVIRONMENT = (f"{PREFIX}_{name}" for name in ("LIMIT", "FRAMES", "SECONDS", "ENVIRONMENT"))
FILTERS = (WORDS, FUNCTION, COMMAND, IMAGES)
LOOKING = (FUNCTION, COMMAND, IMAGES)  # those that see pictures and clips
READING = (WORDS, FUNCTION, COMMAND)  # those that see texts
KNOWN = (*FILTERS, LIMIT, FRAMES, SECONDS, ENVIRONMENT)

DEFAULT_SECONDS, MOST_SECONDS = 30.0, 3600.0
DEFAULT_LIMIT = "0.5"
MOST_FRAMES = 200


class Settings:
    """The operator's decisions.

    Args:
        environ: The variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.named = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX)}
        self.environ = environ

    def __bool__(self) -> bool:
        """Whether anything is set. A misspelled name counts: it is refused, for the operator meant a filter."""
        return any(self.named.values())

    def check(self) -> None:
        """Raises NoAnswerError for a variable that nobody reads."""
        for name in filter(self.named.get, self.named):
            if name not in KNOWN:
                nearest = difflib.get_close_matches(name, KNOWN, 1) or [FUNCTION]
                raise NoAnswerError(f"there is no variable {line(name, 80)}; {nearest[0]} is the nearest that there is")

    def of(self, variable: str) -> str:
        """Returns the value of a variable, or ""."""
        return self.named.get(variable, "")

    def any_of(self, variables: tuple[str, ...]) -> bool:
        """Returns whether one of some filters is named; a misspelled name may be any of them."""
        unknown = any(value for name, value in self.named.items() if name not in KNOWN)
        return unknown or any(self.of(variable) for variable in variables)

    def seconds(self) -> float:
        """Returns how long an answer may take."""
        return self._number(SECONDS, DEFAULT_SECONDS, MOST_SECONDS)

    def frames(self) -> int:
        """Returns how many frames of a clip are looked at."""
        return round(self._number(FRAMES, DEFAULT_FRAMES, MOST_FRAMES))

    def limits(self) -> dict[str, float]:
        """Returns the score from which each label is refused; under "" that of a classifier without labels."""
        limits: dict[str, float] = {}
        for part in (self.of(LIMIT) or DEFAULT_LIMIT).split(","):
            label, _, text = part.rpartition("=")
            limits[label.strip()] = number = _as_number(text)
            if not 0 < number <= 1:
                raise NoAnswerError(f"{LIMIT} must hold scores above 0 and up to 1, got '{line(part, 60)}'")
        return limits

    def _number(self, variable: str, default: float, most: float) -> float:
        number = _as_number(self.of(variable)) if self.of(variable) else default
        if not 0 < number <= most or (variable == FRAMES and number != int(number)):
            kind = "whole number" if variable == FRAMES else "number above 0"
            raise NoAnswerError(f"{variable} must be a {kind} of at most {most:g}, got '{line(self.of(variable), 60)}'")
        return number


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
