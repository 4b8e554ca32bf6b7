"""What a sampler tells of its run beside its settings, kept for the file that the clip becomes.

A latent goes through nodes of others before it is saved, and ComfyUI may take it from its cache. So a receipt is found
by what the sampler was asked: itself and all nodes before it, as they stand in the prompt.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

MOST = 64  # receipts; an old one is let go of

_kept: OrderedDict[tuple[str, str], str] = OrderedDict()


def keep(node_id: str, prompt: Mapping[str, Any], text: str) -> None:
    """Keeps the receipt of a node's run."""
    key = node_id, _digest(node_id, prompt)
    _kept[key] = text
    _kept.move_to_end(key)
    while len(_kept) > MOST:
        _kept.popitem(last=False)


def find(node_id: str, prompt: Mapping[str, Any]) -> str | None:
    """Returns the receipt of a node's last run with the same prompt; None where there is none."""
    if all(node_id != kept for kept, _ in _kept):  # a digest takes as long as there are nodes before this one
        return None
    return _kept.get((node_id, _digest(node_id, prompt)))


def _digest(node_id: str, prompt: Mapping[str, Any]) -> str:
    before: dict[str, Any] = {}
    waiting = [node_id]
    while waiting:
        at = waiting.pop()
        if at in before or at not in prompt:
            continue
        inputs = prompt[at].get("inputs", {})
        before[at] = [prompt[at].get("class_type"), inputs]
        waiting += [value[0] for value in inputs.values() if is_link(value)]
    return hashlib.sha256(json.dumps(before, sort_keys=True, default=repr).encode()).hexdigest()


def is_link(value: Any) -> bool:
    """Returns whether an input's value is another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)
