"""Where a model comes from, as the prompt tells it: the nodes that it came through, their settings, their files.

A MODEL does not say what it is: LoRAs and patches are objects in memory. But what decides it stands in the prompt, and
is the same after ComfyUI was killed and started again.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfyui_version import __version__ as comfyui_version

from ..media.recipe import model_files
from ..weights import names
from ..weights.words import words
from .metadata import Prompt, hashes_of, meaning, own_hashes
from .receipts import is_link

# Inputs of nodes on the way that say nothing of the model that comes out.
OTHERS = {"Wan22Turbo_Lora": {"prompt", "trigger_words", "trigger_position"}}
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
SVI = "SVI_Wan2.2-I2V-A14B_{}_noise_lora_v2.0_pro.safetensors"


def identity(prompt: Prompt | None, node_id: str | None, sockets: Sequence[str]) -> str:
    """Returns a digest of what comes in through sockets of a node, whatever the nodes' ids are.

    Without a prompt nobody can tell what comes in, and no two calls get the same.
    """
    if not prompt or node_id is None or node_id not in prompt:
        return uuid.uuid4().hex
    found = _before(prompt, node_id, sockets)
    known: dict[str, str] = {}
    inputs = prompt[node_id]["inputs"]
    links = [
        [name, _digest(inputs[name][0], found, known), inputs[name][1]] for name in sockets if is_link(inputs.get(name))
    ]
    return _hash(links)


def why_unknown(prompt: Prompt | None, node_id: str | None, sockets: Sequence[str]) -> str:
    """Returns why `identity` is another one at each call, or ""."""
    if not prompt or node_id is None:
        return "this node was called without a prompt, which tells which models come in"
    if node_id not in prompt:
        return "another node has put this one into the graph, so the prompt does not tell which models come in"
    before = _before(prompt, node_id, sockets).values()
    restless = dict.fromkeys(str(node["class_type"]) for node in before if _text(node) is None)
    return f"{' and '.join(restless)} before this node may give other models at each run" if restless else ""


def sampled_by() -> str:
    """Returns the names and versions of what samples here: others may give other numbers for the same inputs."""
    own = re.search(r'^version = "(.+)"$', PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    return f"Wan 2.2 Turbo {own[1] if own else 'of no version'}, ComfyUI {comfyui_version}, torch {torch.__version__}"


def notes_on_svi(prompt: Prompt | None, node_id: str | None) -> list[str]:
    """Returns what to say where experts come without the LoRA that was trained to continue by motion."""
    if not prompt or node_id is None or node_id not in prompt:
        return []
    named = {expert: model_files(_before(prompt, node_id, [expert])) for expert in ("high", "low")}
    missing = [expert for expert, files in named.items() if not any(is_svi(file, expert) for file in files)]
    if not missing:
        return []
    listed = folder_paths.get_filename_list("loras")
    there = [name for expert in missing for name in listed if is_svi(name, expert)]
    experts = "Both experts come" if len(missing) == 2 else f"The {missing[0]}-noise expert comes"
    wanted = " and ".join(f"'{name}'" for name in there or map(SVI.format, missing))
    remedy = (
        f"Choose {wanted} in a Load LoRA before this node" if there else f"Download {wanted} into the folder 'loras'"
    )
    return [
        f"Warning: {experts} without the LoRA of SVI, which is trained to continue by motion, so parts may not fit. "
        f"{remedy}, or continue by last frame."
    ]


def is_svi(name: str, expert: str) -> bool:
    """Returns whether a file is Stable Video Infinity's LoRA for an expert, or holds it, by its name."""
    return "svi" in words(names.base_name(name)) and names.expert_of(name) in (expert, None)


def _before(prompt: Prompt, node_id: str, sockets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the nodes that come before sockets of a node, with the inputs that matter."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [value[0] for name, value in prompt[node_id]["inputs"].items() if name in sockets and is_link(value)]
    while waiting:
        at = waiting.pop()
        if at in found or at not in prompt:
            continue
        kind = str(prompt[at].get("class_type"))
        told = prompt[at].get("inputs", {})
        told = {**told, **meaning(kind, told)}  # a partner that "auto" finds is not named by the settings
        inputs = {name: value for name, value in told.items() if name not in OTHERS.get(kind, ())}
        node = {"class_type": kind, "inputs": inputs}
        own = own_hashes(node)
        # ComfyUI asks some nodes for what their inputs do not tell, such as the content of a picture's file. Where the
        # files are known, what is in them counts: this pack's answers also tell their dates, and texts beside them.
        asked = None if own else prompt[at].get("is_changed")
        found[at] = {**node, "files": own or hashes_of({at: node}), "is_changed": asked}
        waiting += [value[0] for value in inputs.values() if is_link(value)]
    return found


def _digest(node_id: str, nodes: Mapping[str, dict[str, Any]], known: dict[str, str]) -> str:
    """Returns the digest of a node and all before it."""
    if node_id in known or node_id not in nodes:
        return known.get(node_id, "")
    known[node_id] = ""  # ComfyUI refuses circles; if it did not, this would end
    inputs = {
        name: [_digest(value[0], nodes, known), value[1]] if is_link(value) else value
        for name, value in nodes[node_id]["inputs"].items()
    }
    known[node_id] = _hash({**nodes[node_id], "inputs": inputs})
    return known[node_id]


def _hash(value: Any) -> str:
    text = _text(value)
    return hashlib.sha256((uuid.uuid4().hex if text is None else text).encode()).hexdigest()


def _text(value: Any) -> str | None:
    """Returns JSON; None where there is NaN, by which a node says that nobody can tell what it makes next."""
    try:
        return json.dumps(value, sort_keys=True, default=repr, allow_nan=False)
    except ValueError:
        return None
