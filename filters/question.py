"""What a content filter is asked, and what counts as its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from ..common.redact import mask
from ..common.text import line

Stage = Literal["prompt", "clip"]

FRAMES = 8  # of a clip, if the operator names no other number
LONGEST_REASON = 300  # characters
NO_REASON = "it gives no reason"
HINT = "Change the prompt or the picture."


class ContentError(RuntimeError):
    """The operator's content filter says no, or gives no answer, which counts as a no."""


class NoAnswerError(Exception):
    """A filter did not answer, or not in a way that can be understood."""


@dataclass(frozen=True)
class Question:
    """What a filter sees: before anything is sampled or paid a prompt with its pictures, later the finished clip."""

    stage: Stage
    outcome: str  # a sentence for whoever is refused: what has not happened, and what can be done
    prompt: str = field(default="", repr=False)  # with the trigger words that were merged into it
    negative_prompt: str = field(default="", repr=False)
    trigger_words: tuple[str, ...] = field(default=(), repr=False)
    loras: tuple[str, ...] = field(default=(), repr=False)  # addresses, without tokens
    shown: tuple[np.ndarray, ...] = field(default=(), repr=False)  # uint8[H, W, 3] each: start picture, end picture
    clip: Path | None = None  # the finished MP4, under a temporary name
    frames: int = FRAMES  # of the clip, that `pictures` holds

    @cached_property
    def pictures(self) -> tuple[np.ndarray, ...]:
        """The pictures to look at, uint8[H, W, 3] each: those of the prompt, or frames of the clip."""
        return self.shown if self.clip is None else frames_of(self.clip, self.frames)

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that is written in it."""
        return (self.prompt, self.negative_prompt, *self.trigger_words, *self.loras)


def frames_of(clip: Path, count: int) -> tuple[np.ndarray, ...]:
    """Returns frames of a clip, first and last among them and the others evenly between, each uint8[H, W, 3].

    Raises:
        NoAnswerError: There is none.
    """
    with av.open(str(clip)) as file:
        stream = file.streams.video[0]
        if not stream.frames:
            raise NoAnswerError("the clip does not say how many frames it has")
        wanted = {round(place) for place in np.linspace(0, stream.frames - 1, count)}
        found = [
            frame.to_ndarray(format="rgb24") for number, frame in enumerate(file.decode(stream)) if number in wanted
        ]
    if not found:
        raise NoAnswerError("no frame of the clip can be decoded")
    return tuple(found)


def reason_against(answer: Any) -> str | None:
    """Returns why a filter says no; None if it says yes.

    Args:
        answer: True is a yes. False, a text that is the reason, and {"allow": false, "reason": TEXT} are a no.

    Raises:
        NoAnswerError: It is anything else: nothing, 1, or an object with another kind of "allow".
    """
    if isinstance(answer, Mapping):
        allowed = answer.get("allow")
        if allowed is False and isinstance(answer.get("reason"), str):
            return reason_against(answer["reason"] or False)
        answer = allowed if isinstance(allowed, bool) else None
    if answer is True:
        return None
    if answer is False:
        return NO_REASON
    if isinstance(answer, str) and answer.strip():
        return mask(line(answer, LONGEST_REASON)) or NO_REASON
    raise NoAnswerError(f"its answer, a {type(answer).__name__}, is neither a yes nor a no")
