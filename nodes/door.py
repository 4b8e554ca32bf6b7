"""The door that every value of a prompt comes through, before code of a node sees it.

Anybody who reaches the server may post a prompt, and ComfyUI looks at little of it: not at a value in place of a
socket's link, not at NaN, at nothing that `validate_inputs` names, and at nothing that comes from another node. What is
of the wrong kind or out of bounds is a sentence here. A node inherits from `Node`, and need not think of it.
"""

import functools
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from comfy_api.latest import io
from typing_extensions import override

CATEGORY = "wan 2.2 turbo"  # where people find the nodes
MAX_TEXT = 100_000  # characters of a prompt; the model reads some hundred words of it
MAX_CHOICE = 4_000  # characters of an option; weights/names.py takes fewer where it must look for a file
_TENSORS = {"LATENT": "samples", "AUDIO": "waveform"}  # types that are a dict -> what it must hold
SHOWN = 60  # characters of a wrong value in a message


NODES: dict[str, type["Node"]] = {}  # of this pack, by their ids


class Node(io.ComfyNode):
    """What all nodes of the pack have in common."""

    # Inputs whose bounds the node checks itself: in the words of its subject, or once the latent is kept.
    OWN_BOUNDS: ClassVar[frozenset[str]] = frozenset()

    @override
    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        NODES.setdefault(f"Wan22Turbo_{cls.__name__}", cls)
        for name, guard in _GUARDS.items():
            method = cls.__dict__.get(name)
            # ComfyUI clones a class for each call, with methods that are guarded already.
            if isinstance(method, classmethod) and not hasattr(method.__func__, "__wrapped__"):
                setattr(cls, name, classmethod(guard(method.__func__)))

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a recipe tells beside a node's inputs, or in their place: the sigmas of a schedule, for example.

        Args:
            inputs: As they stand in an API prompt. Where one that it needs is a link, any error may be raised.
        """
        return {}

    @classmethod
    def decided_by(cls, name: str, value: str) -> list[str]:
        """Returns the paths of the files that an input stands for: its model file first, then settings beside it.

        Args:
            name: Of the input.
            value: Of the input, as `spelled_out` tells it.

        Raises:
            OSError: There is no such file, or it cannot be read.
            ValueError: Several files fit, or the value is none of a file.
        """
        return []


class Least(float):
    """The least value of an input. ComfyUI asks whether a value is below it, which NaN is not of a common number."""

    @override
    def __gt__(self, value: float) -> bool:
        return not value >= float(self)


def complaint(each: io.Input, value: Any, bounded: bool = True) -> str | None:
    """Returns what is wrong with a value; None where nothing is, or where a link has brought none yet.

    Args:
        each: The input.
        value: What a prompt or a link gives it.
        bounded: Whether a number may be out of its bounds here.
    """
    kind = each.get_io_type()
    if value is None:
        return None
    if kind in ("INT", "FLOAT"):
        return _of_a_number(each, value, bounded)
    if kind in ("STRING", "COMBO"):
        return _of_a_text(each.id, value, MAX_TEXT if kind == "STRING" else MAX_CHOICE)
    if kind == "BOOLEAN" or _comes_from_a_node(kind, value):
        return None
    return f"{each.id} must come from another node, got {shown(value)}. Connect it to the output of a node."


def shown(value: Any) -> str:
    """Returns a wrong value as a message may hold it: printable and short, whatever it is."""
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "a number of very many digits"  # which Python may refuse to write down
    if not isinstance(value, (str, int, float)):
        return f"a {type(value).__name__}"
    text = repr(value) if isinstance(value, (str, bool)) else f"{value:g}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _of_a_number(each: io.Input, value: Any, bounded: bool) -> str | None:
    try:
        is_number = not isinstance(value, (str, bytes)) and (isinstance(value, int) or math.isfinite(value))
    except (TypeError, ValueError, RuntimeError):
        is_number = False
    if not is_number:
        return f"{each.id} must be a number, got {shown(value)}. Give it a number."
    least, most = getattr(each, "min", None), getattr(each, "max", None)
    beyond_floats = isinstance(value, int) and value < -sys.float_info.max
    if least is not None and (beyond_floats or (bounded and value < least)):
        return f"{each.id} must be at least {least:g}, got {shown(value)}. Choose a larger number."
    if bounded and most is not None and value > most:
        return f"{each.id} must be at most {most:g}, got {shown(value)}. Choose a smaller number."
    return None


def _of_a_text(name: str, value: Any, most: int) -> str | None:
    if not isinstance(value, str):
        return f"{name} must be a text, got {shown(value)}. Give it a text."
    if len(value) > most:
        return f"{name} takes at most {most} characters, got {len(value)}. Shorten it."
    return None


def _comes_from_a_node(kind: str, value: Any) -> bool:
    """Returns whether a socket's value is what nodes pass on, not plain JSON that somebody wrote into the prompt."""
    if kind == "CONDITIONING":
        return isinstance(value, (list, tuple)) and all(
            isinstance(entry, (list, tuple)) and len(entry) > 1 and isinstance(entry[1], dict) for entry in value
        )
    if kind in _TENSORS and isinstance(value, dict):
        return hasattr(value.get(_TENSORS[kind]), "shape")
    # Sound may be another mapping, which reads its file when it is asked: so do the nodes of Video Helper Suite.
    return not isinstance(value, (bool, int, float, str, list, dict))


def _inputs(cls: type[io.ComfyNode]) -> dict[str, io.Input]:
    return {each.id: each for each in (cls.SCHEMA or cls.define_schema()).inputs}


def _named(names: list[str], arguments: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, arguments, strict=False)), **given}


def complaints(cls: type[Node], values: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with values of a node's inputs, a sentence each."""
    inputs = _inputs(cls)
    found = (
        complaint(inputs[name], value, name not in cls.OWN_BOUNDS) for name, value in values.items() if name in inputs
    )
    return [sentence for sentence in found if sentence]


def _guard_validation(check: Callable[..., bool | str]) -> Callable[..., bool | str]:
    signature = inspect.signature(check)
    named = list(signature.parameters.values())[1:]
    names = [each.name for each in named]
    needed = [each.name for each in named if each.default is inspect.Parameter.empty]

    @functools.wraps(check)
    def guarded(cls: type[Node], *arguments: Any, **given: Any) -> bool | str:
        # What a prompt leaves out, ComfyUI says itself, and asks all the same: then no value is known, as with a link.
        known = {**dict.fromkeys(needed[len(arguments) :]), **given}
        wrong = " ".join(complaints(cls, _named(names, arguments, known)))
        try:
            return wrong or check(cls, *arguments, **known)
        except (RuntimeError, ValueError) as error:  # what else could not be used says so in its text
            return str(error)

    # ComfyUI reads from the parameters which inputs a node checks itself, and does not look behind a wrapper.
    guarded.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    return guarded


def _guard_call(work: Callable[..., Any], complete: bool = True) -> Callable[..., Any]:
    """Guards `execute`, or with `complete` off `check_lazy_status`, where inputs hold nothing that have yet to come."""
    names = list(inspect.signature(work).parameters)[1:]

    def check(cls: type[Node], arguments: tuple[Any, ...], given: dict[str, Any]) -> None:
        empty = [name for name, each in _inputs(cls).items() if not each.optional and given.get(name, ...) is None]
        absent = [f"{name} holds nothing. Give it a value." for name in empty if complete]
        sentences = absent + complaints(cls, _named(names, arguments, given))
        if sentences:
            raise ValueError(" ".join(sentences))

    @functools.wraps(work)
    def guarded(cls: type[Node], *arguments: Any, **given: Any) -> Any:
        check(cls, arguments, given)
        return work(cls, *arguments, **given)

    @functools.wraps(work)
    async def guarded_later(cls: type[Node], *arguments: Any, **given: Any) -> Any:
        check(cls, arguments, given)
        return await work(cls, *arguments, **given)

    return guarded_later if inspect.iscoroutinefunction(work) else guarded


def _guard_schema(define: Callable[..., io.Schema]) -> Callable[..., io.Schema]:
    @functools.wraps(define)
    def guarded(cls: type[io.ComfyNode]) -> io.Schema:
        schema = define(cls)
        schema.category = CATEGORY
        for each in schema.inputs:
            if isinstance(each, io.Float.Input) and each.min is not None:
                each.min = Least(each.min)
        for each in schema.outputs:
            each.display_name = each.id  # else people see the type
        return schema

    return guarded


_GUARDS = {
    "define_schema": _guard_schema,
    "validate_inputs": _guard_validation,
    "check_lazy_status": functools.partial(_guard_call, complete=False),
    "execute": _guard_call,
}
