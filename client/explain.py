"""ComfyUI's refusals and failures in sentences that name the node and the input."""

from typing import Any

from .errors import RefusedError, RunError
from .prompts import Prompt, title


def refusal(prompt: Prompt, answer: dict[str, Any]) -> list[str]:
    """Puts the `node_errors` of an answer to /prompt, else its `error`, into sentences. Empty if there is neither."""
    sentences = [
        sentence
        for node_id, node in (answer.get("node_errors") or {}).items()
        for sentence in of_node(title(prompt, node_id), node["errors"])
    ]
    error = answer.get("error")
    if not sentences and error:
        sentences = [whole(prompt, error)]
    return list(dict.fromkeys(sentences))


def skipped(prompt: Prompt, answer: dict[str, Any]) -> list[str]:
    """Names the outputs that ComfyUI will not make because of errors."""
    errors = (answer.get("node_errors") or {}).values()
    return list(dict.fromkeys(title(prompt, output) for node in errors for output in node["dependent_outputs"]))


def of_node(node_title: str, errors: list[dict[str, Any]]) -> list[str]:
    """Says the errors of one node. A sentence that comes once for each of several inputs is about none of them."""
    by_sentence: dict[str, list[str]] = {}
    for error in errors:
        name = (error.get("extra_info") or {}).get("input_name", "")
        by_sentence.setdefault(what(name, error), []).append(name)
    return [
        f"{node_title}, input '{names[0]}': {sentence}" if len(names) == 1 and names[0] else f"{node_title}: {sentence}"
        for sentence, names in by_sentence.items()
    ]


def what(name: str, error: dict[str, Any]) -> str:
    """Says one error of one input."""
    more, details = error.get("extra_info") or {}, error.get("details", "")
    given = more.get("received_value")
    config = more.get("input_config") or [None, {}]
    known = {
        "required_input_missing": "It is needed, and neither set nor connected.",
        "value_bigger_than_max": f"It must be at most {config[1].get('max')}, got {given}.",
        "value_smaller_than_min": f"It must be at least {config[1].get('min')}, got {given}.",
        "value_not_in_list": f"It must be one of {choices(config)}, got '{given}'.",
        "invalid_input_type": f"It must be of the type {config[0]}, got '{given}'.",
        "custom_validation_failed": details.partition(" - ")[2] or "The node does not take this value.",
        "bad_linked_input": "A connection must be [node id, slot].",
        "return_type_mismatch": f"What is connected does not fit: {details.partition(', ')[2]}.",
    }
    return known.get(error["type"]) or f"{error['message']}: {details}".rstrip(": ")


def choices(config: list[Any]) -> str:
    """Lists what an input takes; ComfyUI leaves out lists of more than 20."""
    options = config[0] if isinstance(config[0], list) else config[1].get("options")
    return ", ".join(map(str, options)) if options else "the choices that the server has"


def whole(prompt: Prompt, error: dict[str, Any] | str) -> str:
    """Says an error of the prompt as a whole."""
    if isinstance(error, str):
        return error
    more = error.get("extra_info") or {}
    if error["type"] == "missing_node_type" and more.get("class_type"):
        return missing_node(title(prompt, more.get("node_id", "")), more["class_type"])
    return f"{error['message']} {error.get('details', '')}".strip()


def missing_node(node_title: str, class_type: str) -> str:
    """Says that the server lacks the class of a node."""
    return (
        f"{node_title}: the server has no node of the class '{class_type}'. "
        "Install the pack that brings it there, or update it, and restart the server."
    )


def check_end(prompt: Prompt, record: dict[str, Any]) -> None:
    """Raises if a finished job's entry in the history tells of a failure.

    Raises:
        RunError: A node failed, or somebody interrupted the run.
    """
    status = record.get("status") or {}
    for kind, data in status.get("messages", []):
        if kind == "execution_error":
            raise RunError(f"{title(prompt, data['node_id'])} failed: {data['exception_message'].strip()}")
        if kind == "execution_interrupted":
            raise RunError(f"Somebody interrupted the run on the server, at {title(prompt, data['node_id'])}.")
    if status.get("status_str") == "error":
        raise RunError("The run failed on the server, which does not say why. Its log may.")


def refuse(prompt: Prompt, answer: dict[str, Any]) -> RefusedError:
    """Makes the error of a prompt of which nothing runs."""
    return RefusedError("\n".join(refusal(prompt, answer)) or "The server refused the prompt and does not say why.")
