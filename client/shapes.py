"""The shapes in which ComfyUI answers. What is not of them is not its word, see `answers`."""

from dataclasses import dataclass, field
from typing import Any, Literal

from .answers import Json, ShapeError
from .prompts import Prompt, is_node

NAME = 1024  # characters of a file's name with its folder

State = Literal["pending", "running", "done", "unknown"]


@dataclass(frozen=True)
class Job:
    """What the server knows of a job.

    Args:
        state: Where it is.
        ahead: While it is pending, how many come before it; -1 where that is not known.
        prompt: What runs; empty where the server does not say.
        record: Once it is done, its entry in the history.
        outputs: The nodes whose results the server makes; None where it does not say.
    """

    state: State
    ahead: int = -1
    prompt: Prompt = field(default_factory=dict)
    record: Json = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None


def text(value: Any, most: int = NAME) -> str:
    """Returns a text of a sensible length."""
    if not isinstance(value, str) or len(value) > most:
        raise ShapeError("no text, or a very long one")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ShapeError("half a character") from error
    return value


def mapping(value: Any) -> Json:
    """Returns a JSON object."""
    if not isinstance(value, dict):
        raise ShapeError("no object")
    return value


def nodes(value: Any) -> Prompt:
    """Returns a prompt in API format."""
    if not all(map(is_node, mapping(value).values())):
        raise ShapeError("no prompt")
    return value


def finite(value: Any) -> float | None:
    """Returns a number, or None for what is none: infinities, not-a-number, true and false, texts."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e30 else None  # not-a-number is not below anything


def amount(value: Any) -> float | None:
    """Returns a sum of money, or None for what is none: less than nothing would be taken off what the others cost."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def in_queue(value: Json, prompt_id: str) -> Job:
    """Finds a job in an answer to GET /queue: in either list, [number, id, prompt, more, outputs] each."""
    running, pending = (jobs(value.get(key)) for key in ("queue_running", "queue_pending"))
    for item in running:
        if item[1] == prompt_id:
            return Job("running", 0, nodes(item[2]), outputs=outputs_of(item))
    for item in pending:
        if item[1] == prompt_id:
            ahead = sum(other[0] < item[0] for other in pending) + len(running)
            return Job("pending", ahead, nodes(item[2]), outputs=outputs_of(item))
    return Job("unknown")


def jobs(value: Any) -> list[list[Any]]:
    """Reads the jobs that run, or those that wait."""
    if not isinstance(value, list) or not all(isinstance(item, list) and len(item) > 2 for item in value):
        raise ShapeError("no jobs")
    if not all(finite(item[0]) is not None and isinstance(item[1], str) for item in value):
        raise ShapeError("no number or id")
    return value


def by_itself(value: Json) -> Job:
    """Reads an answer to GET /api/jobs/ID, which tells where one job is. Its end, the history tells better."""
    states: dict[Any, State] = {"pending": "pending", "in_progress": "running"}
    status = value.get("status")
    return Job(states.get(status, "unknown") if isinstance(status, str) else "unknown")


def in_history(value: Json, prompt_id: str) -> Job:
    """Reads an answer to GET /history/ID: what became of the job, if the server knows of it."""
    if prompt_id not in value:
        return Job("unknown")
    record = mapping(value[prompt_id])
    item = record.get("prompt")
    if not isinstance(item, list) or len(item) < 3:
        raise ShapeError("no prompt")
    for results in mapping(record.get("outputs")).values():
        mapping(results)
    messages(mapping(record.get("status") or {}))
    return Job("done", 0, nodes(item[2]), record, outputs_of(item))


def outputs_of(item: list[Any]) -> tuple[str, ...] | None:
    """Reads which nodes' results the server makes of a job, the fifth thing that it says of it; None if it does not."""
    made = item[4] if len(item) > 4 else None
    if not isinstance(made, list) or not all(isinstance(node, str) for node in made):
        return None
    return tuple(made)


def messages(status: Json) -> list[tuple[str, Json]]:
    """Reads what a job's status says of its course: [kind, data] each."""
    said = status.get("messages", [])
    if not isinstance(said, list) or not all(isinstance(item, list) and len(item) == 2 for item in said):
        raise ShapeError("no messages")
    return [(text(kind), mapping(data)) for kind, data in said]


def stored(value: Json) -> str:
    """Reads an answer to an upload: the name by which a node finds the file."""
    folder, name = text(value.get("subfolder", "")).strip("/"), text(value.get("name"))
    if not name:
        raise ShapeError("no name")
    return f"{folder}/{name}" if folder else name


def described(value: Json, name: str) -> Json:
    """Reads an answer to GET /object_info/CLASS: {class: {input: {required: {name: [type, more]}}}}, empty if none."""
    for known in value.values():
        inputs = mapping(mapping(known).get("input", {}))
        for group in ("required", "optional"):
            mapping(inputs.get(group) or {})
    return {name: value[name]} if name in value else {}
