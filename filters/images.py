"""A classifier of pictures that the operator names: a function from a picture to a score, or to scores by label."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from ..common.text import line
from .python_function import find_function
from .question import NoAnswerError, Question
from .settings import IMAGES, LIMIT, Settings


def judge(known: Settings, question: Question) -> bool | str:
    """Returns True if every picture stays below the limits, else which limit one of them reaches."""
    classify, limits = find_function(known.of(IMAGES)), known.limits()
    if not question.pictures:
        raise NoAnswerError("there is no picture to look at")
    for pixels in question.pictures:
        scores = scores_of(classify(Image.fromarray(pixels)), limits)
        for label, limit in limits.items():
            if scores[label] >= limit:
                named = f" for '{label}'" if label else ""
                what = "a frame of the clip" if question.stage == "clip" else "the picture"
                return f"{what} scores {scores[label]:.2f}{named}, and the limit is {limit:g}"
    return True


def scores_of(answer: Any, limits: Mapping[str, float]) -> dict[str, float]:
    """Returns the score of each label that has a limit; NoAnswerError where one has none from 0 to 1."""
    given = answer if isinstance(answer, Mapping) else {"": answer}
    scores: dict[str, float] = {}
    for label in limits:
        try:
            scores[label] = float(given[label])
        except (KeyError, TypeError, ValueError):
            raise NoAnswerError(f"the classifier gives no score for '{label}', which {LIMIT} names") from None
        if not 0 <= scores[label] <= 1:
            raise NoAnswerError(f"the classifier gives a score that is not in 0 to 1: {line(str(scores[label]), 40)}")
    return scores
