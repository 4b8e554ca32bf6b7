"""What a clip was made with, told without the graph: settings and names of files, no prompts and no paths."""

import re
from collections.abc import Mapping
from typing import Any

PREFIX = "Wan22Turbo_"
PRIVATE = ("prompt", "trigger_words", "filename_prefix", "url")  # text that a person wrote, and places

Settings = dict[str, str | int | float | bool]


def recipe(prompt: Mapping[str, Any]) -> dict[str, Settings]:
    """Picks the settings of this pack's nodes out of an API prompt.

    Args:
        prompt: ComfyUI's API format: node id -> class_type and inputs.

    Returns:
        Node id and class -> its widget values; links are left out, and of file names the folders.
    """
    return {
        f"{node_id} {node['class_type']}": settings(node["inputs"])
        for node_id, node in prompt.items()
        if node["class_type"].startswith(PREFIX)
    }


def settings(inputs: Mapping[str, Any]) -> Settings:
    """Returns the widget values among a node's inputs that may be shared."""
    return {
        name: re.split(r"[\\/]", value)[-1] if isinstance(value, str) else value
        for name, value in inputs.items()
        if name not in PRIVATE and isinstance(value, str | int | float | bool)
    }
