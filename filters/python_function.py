"""A Python function that the operator names."""

import importlib
from collections.abc import Callable
from typing import Any

from ..common.text import line
from .question import NoAnswerError


def find_function(name: str) -> Callable[..., Any]:
    """Imports what `module:function` names, from Python's path; NoAnswerError where there is no such function."""
    module, _, function = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise NoAnswerError(f"'{line(name, 120)}' is no module:function that can be imported ({error})") from None
    if not callable(found):
        raise NoAnswerError(f"'{line(name, 120)}' is no function")
    return found
