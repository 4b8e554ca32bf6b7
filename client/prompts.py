"""Prompts in ComfyUI's API format: those that this checkout ships, and anybody's."""

import difflib
import json
from pathlib import Path
from typing import Any

from .errors import UsageError
from .printable import short

Prompt = dict[str, dict[str, Any]]

ADDED = "study.clip_report"  # the id of a node that a study adds, in which nobody sets anything

SHIPPED = Path(__file__).resolve().parent.parent / "workflows" / "api"


def names() -> list[str]:
    """Lists the prompts that this checkout ships."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load(name: str) -> Prompt:
    """Reads a shipped prompt by its name, or any API-format file by its path.

    Raises:
        UsageError: There is no such prompt, or the file is not in API format.
    """
    path = Path(name) if name.endswith(".json") else SHIPPED / f"{name}.json"
    if path.parent == SHIPPED and path.stem not in names():
        close = difflib.get_close_matches(path.stem, names()) or names()
        raise UsageError(f"No prompt is called '{name}'. There is: {', '.join(close)}. Or name a .json file.")
    try:
        prompt = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"A prompt must be a JSON file that can be read; {path} is not: {error}.") from error
    check(prompt, path.name)
    return prompt


def check(prompt: Any, name: str) -> None:
    """Refuses what ComfyUI would answer with "500 Internal Server Error".

    Raises:
        UsageError: It is no prompt in API format.
    """
    if isinstance(prompt, dict) and {"nodes", "links"} <= prompt.keys():
        raise UsageError(
            f"A prompt must be in API format, but {name} is a graph as the editor saves it. "
            "Open it in ComfyUI and take Workflow > Export (API)."
        )
    nodes = list(prompt.values()) if isinstance(prompt, dict) else [None]
    if not nodes or not all(map(is_node, nodes)):
        raise UsageError(f"A prompt must hold nodes with class_type and inputs, and nothing else, but {name} does not.")


def is_node(node: Any) -> bool:
    """Returns whether an entry of a prompt is a node: {class_type: its class, inputs: {name: value}}."""
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def title(prompt: Prompt, node_id: str) -> str:
    """Returns a node's title, else its class. A node inside a subgraph, "4:7", goes by the outer one if unknown.

    It is one short line, whoever wrote it.
    """
    node = prompt.get(node_id) or prompt.get(node_id.partition(":")[0], {})
    meta = node.get("_meta")  # ComfyUI does not look at it, so it may be anything
    named = meta.get("title") if isinstance(meta, dict) else None
    return short(named if named and isinstance(named, str) else node.get("class_type", f"node {node_id}"))


def is_link(value: Any) -> bool:
    """Returns whether an input comes from another node: [node id, slot]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
