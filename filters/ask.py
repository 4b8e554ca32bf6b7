"""Asks the operator's content filters. Whatever is no clear yes is a no: an error, a wrong answer, or none in time."""

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..common.redact import mask
from ..common.text import line
from . import command, images, settings, words
from .python_function import find_function
from .question import HINT, ContentError, NoAnswerError, Question, reason_against
from .settings import Settings

logger = logging.getLogger(__name__)

LOOK = 0.1  # seconds between two looks at ComfyUI's interrupt

Judge = Callable[[Settings, Question], Any]

JUDGES: dict[str, Judge] = {
    settings.WORDS: words.judge,
    settings.FUNCTION: lambda known, question: find_function(known.of(settings.FUNCTION))(question),
    settings.COMMAND: command.judge,
    settings.IMAGES: images.judge,
}


class Turn:
    """Lets one question at a time have a filter, as most classifiers want it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = math.inf  # the time by which whoever has it should have answered


_turns: defaultdict[str, Turn] = defaultdict(Turn)


def ask(question: Question, environ: Mapping[str, str], on_wait: Callable[[], None] = lambda: None) -> None:
    """Asks each filter that is named and sees what is in question.

    Args:
        environ: The variables of the operator.
        on_wait: Is called while an answer is due; what it raises ends the waiting.

    Raises:
        ContentError: One says no, or gives no answer.
    """
    known = Settings(environ)
    if not known:
        return
    variable = settings.PREFIX
    try:
        known.check()
        question = replace(question, frames=known.frames())
        for variable in settings.LOOKING if question.stage == "clip" else settings.FILTERS:
            if known.of(variable):
                reason = reason_against(answer_of(variable, known, question, on_wait))
                if reason is not None:
                    if question.clip:
                        reason = reason.replace(str(question.clip), "the clip")  # its path is nobody else's business
                    raise ContentError(
                        f"The content filter of this ComfyUI refuses: {ended(reason)} {question.outcome}"
                    )
    except NoAnswerError as error:
        logger.error("%s gave no answer: %s.", variable, error)
        outcome = question.outcome.removesuffix(HINT).rstrip()
        raise ContentError(
            f"The content filter of this ComfyUI gave no answer, which counts as a no. {outcome} "
            "Whoever runs this ComfyUI finds the cause in its log."
        ) from None


def answer_of(variable: str, known: Settings, question: Question, on_wait: Callable[[], None]) -> Any:
    """Returns what a filter answers; NoAnswerError if it fails, or takes too long."""
    turn, seconds = _turns[variable], known.seconds()
    while not turn.lock.acquire(timeout=LOOK):
        if time.monotonic() > turn.until:
            raise NoAnswerError("it is still busy with an earlier question that it has not answered in time")
        on_wait()
    answers: list[Any] = []
    done = threading.Event()

    def work() -> None:
        try:
            answers.append(JUDGES[variable](known, question))
        except NoAnswerError as error:
            answers.append(error)
        except BaseException as error:  # noqa: BLE001  # a filter may raise anything, SystemExit too
            answers.append(NoAnswerError(f"it failed with {type(error).__name__}: {mask(line(str(error), 300))}"))
        finally:
            turn.until = math.inf
            turn.lock.release()
            done.set()

    end = turn.until = time.monotonic() + seconds
    _start(work, turn)
    while not done.wait(LOOK):
        on_wait()
        if time.monotonic() > end:
            raise NoAnswerError(f"it took longer than {seconds:g} s ({settings.SECONDS})")
    if isinstance(answers[0], NoAnswerError):
        raise answers[0]
    return answers[0]


def _start(work: Callable[[], None], turn: Turn) -> None:
    try:
        threading.Thread(target=work, name="wan22-turbo content filter", daemon=True).start()
    except RuntimeError as error:  # no thread to be had
        turn.until = math.inf
        turn.lock.release()
        raise NoAnswerError(f"it could not be started ({error})") from None


def ended(sentence: str) -> str:
    """Returns a reason as a sentence."""
    return sentence if sentence[-1] in ".!?\u3002\uff01\uff1f" else f"{sentence}."
