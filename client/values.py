"""What an input takes: text or JSON from a person, read as the value to post, or answered with what would fit."""

import math
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from .errors import UsageError
from .printable import short
from .settings import Setting, close_to, json_type

TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read(setting: Setting, value: Any) -> Any:
    """Turns what a person gave, text or JSON, into the value to post.

    Raises:
        UsageError: The value does not fit. The text says what would.
    """
    check_text(setting.name, value)
    given = convert(setting.kind, value) if setting.options is None else chosen(setting.options, value)
    if given is None or not in_range(setting, given):
        close = close_to(str(value), map(str, setting.options or ()), 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"{setting.name} must be {expected(setting)}, got '{value}'.{hint}")
    if setting.files == "server" and is_absolute(given):
        raise UsageError(f"{setting.name} must be the name of a file in the server's own folders, got a path.")
    return given


def check_text(name: str, value: Any) -> None:
    """Refuses letters that neither the table nor a server takes, and a number that cannot be written.

    Raises:
        UsageError: It has some, or is one.
    """
    try:
        text = str(value)
    except ValueError as error:
        raise UsageError(f"{name} must be a number of fewer digits, got one of thousands.") from error
    if text.encode(errors="ignore").decode() != text:
        raise UsageError(
            f"The {name} '{short(text[-100:])}' has letters that are no text. Rename the file, or write it "
            "anew in UTF-8."
        )


def convert(kind: str, value: Any) -> Any:
    """Returns a value of a JSON type, or None where it is none."""
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else TRUTHS.get(str(value).lower())
    if isinstance(value, bool):
        return None
    try:
        if kind == "integer":
            return value if isinstance(value, int) else int(str(value))
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a whole number may have hundreds of digits
        return None
    return number if math.isfinite(number) else None


def chosen(options: tuple[Any, ...], value: Any) -> Any:
    """Returns the choice that a value is, else the one that it spells, else None."""
    same = [option for option in options if type(option) is type(value) and option == value]
    spelled = [option for option in options if convert(json_type(option), value) == option]
    return next(iter(same + spelled), None)


def in_range(setting: Setting, value: Any) -> bool:
    """Returns whether a value of the right type is in the range; a choice always is."""
    if setting.options is not None:
        return True
    low = setting.minimum is None or value >= setting.minimum
    return low and (setting.maximum is None or value <= setting.maximum)


def expected(setting: Setting) -> str:
    """Returns in words what a setting takes."""
    if setting.options is not None:
        return "one of " + ", ".join(map(str, setting.options))
    if setting.files:
        return "a picture or other file of yours" if setting.files == "upload" else "a file in the server's folders"
    what = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(setting.kind, "text")
    bounds = (("from", setting.minimum), ("to", setting.maximum))
    return " ".join([what, *(f"{word} {plain(bound)}" for word, bound in bounds if bound is not None)])


def plain(number: float) -> str:
    """Writes a bound without a needless fraction."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def is_absolute(name: str) -> bool:
    """Returns whether a name is a whole path on any system."""
    return PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive != "" or name.startswith(("\\", "~"))
