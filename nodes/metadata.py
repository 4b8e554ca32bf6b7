"""What goes into a saved clip beside picture and sound, where ComfyUI's own reader of MP4 looks for it."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import folder_paths
from comfy.cli_args import args

from ..common.redact import without_tokens
from ..media.clip_numbers import checked
from ..media.recipe import model_files, recipe
from ..weights.formats.model_file import fingerprint
from ..weights.names import Expert
from . import receipts
from .door import NODES, Node, complaints
from .loader import EXPERTS, resolve

LEVELS = ("workflow", "recipe", "none")
CLIP_REPORT = "clip_report"  # the key of a clip's numbers

logger = logging.getLogger(__name__)

Prompt = Mapping[str, Mapping[str, Any]]


def notes(level: str, hidden: Any, clip: Mapping[str, Any], numbers: str = "") -> dict[str, str]:
    """Returns text by key for the file.

    Args:
        level: One of `LEVELS`; ComfyUI's `--disable-metadata` overrules it.
        hidden: The node's hidden inputs `prompt` and `extra_pnginfo`.
        clip: Facts for the recipe: sizes and settings of the file itself.
        numbers: What Clip Report says of the clip, as JSON; "" if nobody asked it.
    """
    if args.disable_metadata or level == "none":
        return {}
    measured = {CLIP_REPORT: checked(numbers)} if numbers else {}
    return {**_of_the_graph(level, hidden, clip), **measured}


def _of_the_graph(level: str, hidden: Any, clip: Mapping[str, Any]) -> dict[str, str]:
    prompt, extra = hidden.prompt, hidden.extra_pnginfo or {}
    if not isinstance(extra, dict):  # whoever posts a prompt may add anything; that is no reason to lose a clip
        logger.warning("The clip does not carry the graph: what was posted in extra_pnginfo is no object.")
        extra = {}
    if level == "workflow":
        everything = {**extra, "prompt": as_posted(prompt)} if prompt else extra
        return {key: json.dumps(without_tokens(value)) for key, value in everything.items()}
    if level == "recipe" and prompt:
        said = spelled_out(as_posted(prompt))
        return {"recipe": json.dumps(without_tokens(recipe(said, hashes_of(said), clip)))}
    return {}


def as_posted(prompt: Prompt) -> dict[str, dict[str, Any]]:
    """Returns the prompt without the fingerprints of input files that ComfyUI adds while it runs."""
    return {node_id: {k: v for k, v in node.items() if k != "is_changed"} for node_id, node in prompt.items()}


def spelled_out(prompt: Prompt) -> dict[str, dict[str, Any]]:
    """Returns the prompt with what some settings stand for, the sigmas of a schedule, the file that "auto" found; and
    with what a sampler has told of its run.
    """
    return {
        node_id: {**node, "inputs": {**inputs, **meaning(node["class_type"], inputs), **_receipt(node_id, prompt)}}
        for node_id, node in prompt.items()
        for inputs in [node.get("inputs", {})]  # ComfyUI takes a node without any where no output needs it
    }


def meaning(class_type: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what some settings of a node of this pack stand for; nothing for other nodes."""
    try:
        node, typed = NODES[class_type], {name: value for name, value in inputs.items() if not isinstance(value, list)}
        # Where no output needs a node, ComfyUI has not checked it: a billion steps would be listed here.
        return {} if complaints(node, typed) else node.spelled_out(inputs)
    except (AttributeError, FileNotFoundError, KeyError, TypeError, ValueError):
        return {}  # another pack's node, or some setting is linked, and what came in through it is not in the prompt


def _receipt(node_id: str, prompt: Prompt) -> dict[str, Any]:
    text = receipts.find(node_id, prompt)
    return {} if text is None else {"receipt": text}


def own_hashes(node: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns the hashes of the files that decide what a node of this pack gives, by the inputs that name them."""
    kind = NODES.get(node["class_type"], Node)
    hashes: dict[str, list[str]] = {}
    for name, value in node["inputs"].items():
        with suppress(OSError, ValueError):  # a file that cannot be read now is no reason to lose a clip
            for path in kind.decided_by(name, value) if isinstance(value, str) else []:
                hashes.setdefault(name, []).append(fingerprint(path))
    return hashes


def hashes_of(prompt: Prompt) -> dict[str, list[str]]:
    """Returns the hashes of the model files that each name in a prompt means on this machine, or may mean."""
    hashes: dict[str, set[str]] = {}
    for node in prompt.values():
        for name, found in _hashes_by_name(node):
            hashes.setdefault(name, set()).add(found)
    return {name: sorted(found) for name, found in hashes.items()}


def _hashes_by_name(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if node["class_type"] in NODES:
        yield from ((node["inputs"][name], found[0]) for name, found in own_hashes(node).items())
        return
    for name in model_files({"": node}):
        for path in find_models(name):
            with suppress(OSError):
                yield name, fingerprint(path)


def find_models(name: str) -> list[Path]:
    """Returns the paths of the files that a name in another pack's node may mean, in any of ComfyUI's model folders.

    A prompt does not say in which folder such a node looks, and files of Hugging Face have one name in several. It may
    also give the name to a node of this pack, which finds files by names of other machines, and by the expert.
    """
    found = [folder_paths.get_full_path(folder, name) for folder in folder_paths.folder_names_and_paths]
    folders = ("diffusion_models", "text_encoders", "vae", "loras")
    found += [_resolved(folder, name, expert) for folder in folders for expert in EXPERTS.values()]
    return [Path(path) for path in dict.fromkeys(found) if path]


def _resolved(folder: str, name: str, expert: Expert) -> str | None:
    """Returns the path of a file that is named as on another machine."""
    try:
        return folder_paths.get_full_path(folder, resolve(folder, name, expert))
    except (FileNotFoundError, ValueError):
        return None
