"""What a clip was made with, told without the graph: settings, names and hashes of files; no prompts and no paths."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PREFIX = "Wan22Turbo_"
PRIVATE = ("prompt", "prompts", "negative_prompt", "trigger_words", "filename_prefix")  # a person's text, and places
MODEL_FILE = re.compile(r"\.(safetensors|sft|gguf|ckpt|pt|pth|bin)$", re.IGNORECASE)

Inputs = dict[str, Any]


def recipe(
    prompt: Mapping[str, Any], hashes: Mapping[str, Sequence[str]], clip: Mapping[str, Any]
) -> dict[str, Inputs]:
    """Picks out of an API prompt what somebody else needs to make such a clip.

    Args:
        prompt: ComfyUI's API format: node id -> class_type and inputs.
        hashes: Of the model files that each name in the prompt may mean, by the names that `model_files` gives.
        clip: Facts about the file itself.

    Returns:
        "clip"; "models", bare file name -> hash, "unknown" where there is none, a list where files of that name differ;
        and node id and class -> settings: all of this pack's nodes, of others those that name a model file, without
        their free text.
    """
    told = {f"{node_id} {node['class_type']}": _settings(node) for node_id, node in prompt.items()}
    found: dict[str, list[str]] = {}
    for name in model_files(prompt):
        own = found.setdefault(bare(name), [])
        own += [each for each in hashes.get(name, ["unknown"]) if each not in own]
    models = {name: each[0] if len(each) == 1 else each for name, each in found.items()}
    return {"clip": dict(clip), "models": models, **{name: settings for name, settings in told.items() if settings}}


def model_files(prompt: Mapping[str, Any]) -> list[str]:
    """Returns the names of the model files among a prompt's values, as they stand there, each once.

    Some nodes have a value for each LoRA that holds its name among other settings.
    """
    values = (value for node in prompt.values() for value in _plain(_shared(node)))
    return list(dict.fromkeys(value for value in values if _is_model_file(value)))


def _shared(node: Mapping[str, Any]) -> Inputs:
    """Returns the inputs of a node but for a person's text, which may end as a file's name does: ... into the .bin"""
    own = str(node.get("class_type")).startswith(PREFIX)
    return {name: value for name, value in node["inputs"].items() if not (own and name in PRIVATE)}


def _plain(value: Any) -> Iterator[Any]:
    """Yields all values in one that may hold others, however deep a stranger nests them."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += reversed(list(value.values()) if isinstance(value, dict) else value)
        else:
            yield value


def bare(name: str) -> str:
    """Returns a file name without its folders, whichever system they are of."""
    return re.split(r"[\\/]", name)[-1]


def _settings(node: Mapping[str, Any]) -> Inputs:
    """Returns what a recipe tells of a node: links are left out, and of file names the folders."""
    own = node["class_type"].startswith(PREFIX)
    inputs = _shared(node)
    if not own and not any(map(_is_model_file, inputs.values())):
        return {}
    return {
        name: bare(value) if isinstance(value, str) else value
        for name, value in inputs.items()
        if _is_setting(name, value, own)
    }


def _is_setting(name: str, value: Any, own: bool) -> bool:
    if isinstance(value, str):  # of an address no more than the file that it may end in
        return _is_model_file(value) or (own and name != "url")
    # A list of two, a string and a number, is a link.
    return isinstance(value, int | float) or (isinstance(value, list) and all(isinstance(x, float) for x in value))


def _is_model_file(value: Any) -> bool:
    return isinstance(value, str) and MODEL_FILE.search(value) is not None and "\n" not in value
