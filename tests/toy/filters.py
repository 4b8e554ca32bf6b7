"""A question for the operator's filters, and what they say to it."""

import os
import threading

import numpy as np

from ...filters.ask import ask
from ...filters.question import ContentError, Question

PICTURE = np.full((16, 24, 3), (200, 30, 30), np.uint8)
QUESTION = Question(
    "prompt", "Nothing was sampled. Change the prompt or the picture.", "A stone glows.", "blurry", shown=(PICTURE,)
)
NO_ANSWER = (
    "The content filter of this ComfyUI gave no answer, which counts as a no. Nothing was sampled. "
    "Whoever runs this ComfyUI finds the cause in its log."
)


def refusal(question: Question = QUESTION, **variables: str) -> str | None:
    """Returns why the filters refuse a question; None if they let it pass."""
    try:
        ask(question, environment(**variables))
    except ContentError as error:
        return str(error)
    return None


def environment(**variables: str) -> dict[str, str]:
    """Returns the variables that a filter needs, with those of the operator."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, **{f"WAN22_TURBO_FILTER_{name}": value for name, value in variables.items()}}


def wait_for_filters() -> None:
    """Waits until no filter is at work."""
    for thread in threading.enumerate():
        if thread.name == "wan22-turbo content filter":
            thread.join(60)
            assert not thread.is_alive()
