"""The parts of a long clip: what each shows and how long, its noise, and the digest that tells it from all others."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MOST = 24  # parts
# "5 s: the cat looks up". The colon may be that of Chinese and Japanese keyboards.
LENGTH = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*(?:s|sec|secs|seconds?|秒)\s*[:\uff1a]\s*", re.IGNORECASE)
UNSEEN = "\ufeff\u200b\u2060 "  # around a line: a mark of the byte order, spaces of no width
SHOWN = 40  # characters of a line in a message


class Line(NamedTuple):
    """What a part shows, and how many seconds of it are sampled."""

    text: str
    seconds: float


def parse(prompts: str, parts: int, seconds: float, longest: float) -> list[Line]:
    """Reads the prompts of a long clip: a line is a part, and one line alone is all of them.

    Args:
        prompts: A prompt a line. `5 s: ` before it sets its length; empty lines are none.
        parts: How many there are of one line.
        seconds: Of a part whose line sets none.
        longest: Seconds that a part may have.

    Raises:
        ValueError: There is no line, or there are too many, or one sets a length and shows nothing, or no such length.
    """
    written = (line.strip().strip(UNSEEN).strip() for line in prompts.splitlines())
    lines = [_line(line, seconds, longest) for line in written if line]
    if not lines:
        raise ValueError(
            "A long clip needs a prompt for each part, a line each, and prompts holds none. "
            "Say in a sentence or two what should move, and how."
        )
    if len(lines) == 1:
        lines *= parts
    if len(lines) > MOST:
        raise ValueError(
            f"A long clip has at most {MOST} parts, got {len(lines)}. "
            "Give it fewer lines, or make a second clip that starts at the last frame of this one."
        )
    return lines


def _line(line: str, seconds: float, longest: float) -> Line:
    found = LENGTH.match(line)
    text = (line[found.end() :] if found else line).strip()
    if not text:
        raise ValueError(f"A line that sets a length needs a prompt, and '{line.strip()}' ends at the colon. Add one.")
    seconds = float(found[1].replace(",", ".")) if found else seconds
    if not 0 < seconds <= longest:
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        raise ValueError(
            f"A part lasts more than 0 and at most {longest:g} seconds, got {seconds:g} for '{shown}'. "
            "Set a shorter time, and go on in a line of its own."
        )
    return Line(text, seconds)


def check_loop(parts: int) -> None:
    """Refuses a loop of one part, which would begin and end at one picture, with nothing in between to move to."""
    if parts < 2:
        raise ValueError(
            "A loop needs 2 parts at least, one to go away from the start picture and one to come back; got 1. "
            "Write a second line, or set parts to 2."
        )


def part_seed(seed: int, part: int) -> int:
    """Returns the seed of a part, counted from 0; the first has that of the clip, as if it were a clip alone.

    The others are no neighbours of it, or the second part of one clip would have the noise of the first of the next.
    """
    if part == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {part}".encode()).digest()[:8], "big")


def digests(clip: Mapping[str, Any], parts: Iterable[Sequence[Any]]) -> list[str]:
    """Returns the digest of each part: of all that decides it, and so of the parts before it.

    Args:
        clip: What decides every part.
        parts: What decides each.
    """
    found: list[str] = []
    before = ""
    for part in parts:
        text = json.dumps([clip, part, before], sort_keys=True, ensure_ascii=True)
        before = hashlib.sha256(text.encode()).hexdigest()
        found.append(before)
    return found
