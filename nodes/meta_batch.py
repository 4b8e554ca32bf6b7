"""VideoHelperSuite's Meta Batch Manager: frames that come in batches, one run of the graph for each."""

from collections.abc import Mapping
from typing import Any

MANAGER, DRIVER = "VHS_BatchManager", "VHS_VideoCombine"

Prompt = Mapping[str, Mapping[str, Any]]


def batch_of(prompt: Prompt, node_id: str) -> tuple[int, bool] | None:
    """Returns which batch of frames reaches a node in this run.

    Args:
        prompt: What runs, as it was posted.
        node_id: The node that saves them.

    Returns:
        The number of the batch, from 1, and whether a run for the next one follows: only Video Combine asks for it.
        None where the frames do not come in batches.
    """
    managers = [id for id in upstream(prompt, node_id) if prompt[id].get("class_type") == MANAGER]
    if not managers:
        return None
    earlier = prompt[managers[0]].get("inputs", {}).get("requeue", 0)
    drivers = [node for node in prompt.values() if node.get("class_type") == DRIVER]
    driven = any([manager, 0] in node.get("inputs", {}).values() for node in drivers for manager in managers)
    return (earlier if isinstance(earlier, int) else 0) + 1, driven


def batch_at(hidden: Any) -> tuple[int, bool] | None:
    """Returns `batch_of` the node whose hidden inputs `prompt` and `unique_id` these are; None without them."""
    return batch_of(hidden.prompt, hidden.unique_id) if hidden and hidden.prompt and hidden.unique_id else None


def upstream(prompt: Prompt, node_id: str) -> set[str]:
    """Returns the ids of all nodes that a node's inputs come from."""
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        inputs = prompt.get(waiting.pop(), {}).get("inputs", {})
        links = [value[0] for value in inputs.values() if isinstance(value, list) and len(value) == 2]
        new = {id for id in links if isinstance(id, str) and id in prompt} - found
        found |= new
        waiting += new
    return found


def check_batches(hidden: Any) -> str:
    """Returns what to say about a clip of a batch, or "".

    Args:
        hidden: The node's hidden inputs `prompt` and `unique_id`.

    Raises:
        ValueError: This run would save the first batch, and no other would follow.
    """
    batch = batch_at(hidden)
    if not batch:
        return ""
    number, driven = batch
    if not driven:
        raise ValueError(
            "The frames come from a Meta Batch Manager, which hands them over in batches, and here only the first "
            "would be saved: only VideoHelperSuite's Video Combine asks it for the next. Disconnect meta_batch from "
            "the loader to save the whole clip, or save it with Video Combine."
        )
    return (
        f"This clip holds batch {number} of a Meta Batch Manager, and the next batch becomes a clip of its own. "
        "Video Combine saves them as one."
    )
