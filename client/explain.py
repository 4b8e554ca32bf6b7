"""ComfyUI's refusals and failures in sentences that name the node and the input."""

from typing import Any

from . import shapes
from .errors import NotTakenError, RunError, SpentError
from .printable import printable
from .prompts import Prompt, title

MANY = 50  # sentences
SENTENCE = 2000  # characters of the server's in one of them
# Errors of a hosted node after which the same inputs start a new job, or may: one that is gone is asked for once more,
# and counted either way. After all others they find the job that runs.
SPENT = frozenset({"JobFailedError", "ModeratedError", "JobGoneError"})


def refusal(prompt: Prompt, answer: dict[str, Any]) -> list[str]:
    """Puts the `node_errors` of an answer to /prompt, else its `error`, into sentences. Empty if there is neither."""
    sentences = [
        sentence
        for node_id, node in node_errors(answer)
        for sentence in of_node(title(prompt, node_id), objects(node.get("errors")))
    ]
    error = answer.get("error")
    if not sentences and error:
        sentences = [whole(prompt, error)]
    said = list(dict.fromkeys(sentences))
    return said if len(said) <= MANY else [*said[:MANY], f"And {len(said) - MANY} more of this kind."]


def skipped(prompt: Prompt, answer: dict[str, Any]) -> list[str]:
    """Names the outputs that ComfyUI will not make because of errors."""
    outputs = [output for _, node in node_errors(answer) for output in listed(node.get("dependent_outputs"))]
    return list(dict.fromkeys(title(prompt, output) for output in outputs if isinstance(output, str)))[:MANY]


def node_errors(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Returns what an answer says of each node that has errors."""
    return [(node_id, node) for node_id, node in object_in(answer, "node_errors").items() if isinstance(node, dict)]


def object_in(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns an object in an object, empty where there is none."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Returns a list, empty where there is none."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """Returns the objects in a list."""
    return [item for item in listed(value) if isinstance(item, dict)]


def of_node(node_title: str, errors: list[dict[str, Any]]) -> list[str]:
    """Returns the errors of one node as sentences.

    A sentence that comes once for each of several inputs is about none of them.
    """
    by_sentence: dict[str, list[str]] = {}
    for error in errors:
        name = object_in(error, "extra_info").get("input_name", "")
        by_sentence.setdefault(what(error), []).append(printable(name, shapes.NAME))
    return [
        f"{node_title}, input '{names[0]}': {sentence}" if len(names) == 1 and names[0] else f"{node_title}: {sentence}"
        for sentence, names in by_sentence.items()
    ]


def what(error: dict[str, Any]) -> str:
    """Returns one error of one input in words."""
    more, details = object_in(error, "extra_info"), printable(error.get("details", ""), SENTENCE)
    given = printable(str(more.get("received_value")), SENTENCE)
    config = [*listed(more.get("input_config")), None, None][:2]
    limits = config[1] if isinstance(config[1], dict) else {}
    known = {
        "required_input_missing": "It is needed, and neither set nor connected.",
        "value_bigger_than_max": f"It must be at most {limits.get('max')}, got {given}.",
        "value_smaller_than_min": f"It must be at least {limits.get('min')}, got {given}.",
        "value_not_in_list": f"It must be one of {choices(config[0], limits)}, got '{given}'.",
        "invalid_input_type": f"It must be of the type {config[0]}, got '{given}'.",
        "custom_validation_failed": details.partition(" - ")[2] or "The node does not take this value.",
        "bad_linked_input": "A connection must be [node id, slot].",
        "return_type_mismatch": f"What is connected does not fit: {details.partition(', ')[2]}.",
    }
    return known.get(str(error.get("type"))) or f"{message(error)}: {details}".rstrip(": ")


def message(error: dict[str, Any]) -> str:
    """Returns the server's own words for an error."""
    return printable(error.get("message") or "It is refused", SENTENCE)


def choices(kind: Any, limits: dict[str, Any]) -> str:
    """Lists what an input takes; ComfyUI leaves out lists of more than 20."""
    options = listed(kind) or listed(limits.get("options"))
    return ", ".join(map(str, options)) if options else "the choices that the server has"


def whole(prompt: Prompt, error: Any) -> str:
    """Returns an error of the prompt as a whole as a sentence."""
    if not isinstance(error, dict):
        return printable(error, SENTENCE)
    more = object_in(error, "extra_info")
    if error.get("type") == "missing_node_type" and more.get("class_type"):
        return missing_node(title(prompt, str(more.get("node_id", ""))), printable(more["class_type"], shapes.NAME))
    return f"{message(error)} {printable(error.get('details', ''), SENTENCE)}".strip()


def missing_node(node_title: str, class_type: str) -> str:
    """Returns the sentence for a node whose class the server lacks."""
    return (
        f"{node_title}: the server has no node of the class '{class_type}'. "
        "Install the pack that brings it there, or update it, and restart the server."
    )


def check_end(prompt: Prompt, record: dict[str, Any]) -> None:
    """Raises if a finished job's entry in the history tells of a failure.

    Raises:
        SpentError: A hosted node failed, since the provider gave its job up.
        RunError: Another node failed, or somebody interrupted the run.
    """
    status = record.get("status") or {}
    for kind, data in shapes.messages(status):
        node = title(prompt, str(data.get("node_id", "")))
        if kind == "execution_error":
            why = printable(data.get("exception_message") or "The server does not say why.", SENTENCE)
            spent = str(data.get("exception_type")).rpartition(".")[2] in SPENT
            raise (SpentError if spent else RunError)(f"{node} failed: {why.strip()}")
        if kind == "execution_interrupted":
            raise RunError(f"Somebody interrupted the run on the server, at {node}.")
    if status.get("status_str") == "error":
        raise RunError("The run failed on the server, which does not say why. Its log may.")


def refuse(prompt: Prompt, answer: dict[str, Any]) -> NotTakenError:
    """Makes the error of a prompt of which nothing runs."""
    return NotTakenError("\n".join(refusal(prompt, answer)) or "The server refused the prompt and does not say why.")
