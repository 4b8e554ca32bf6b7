"""The fields of graphs and API prompts that ComfyUI needs. A copy has these; whatever else a file holds stays behind.

As ComfyUI's frontend declares them (its workflow schema, versions 0.4 and 1), with the fields of `extra` that its own
templates and widespread packs keep there. What a node itself keeps, its values and properties, it needs: all of it
stays, and the texts in it are cleaned.
"""

import re
from collections.abc import Callable
from typing import Any

Leave = Callable[[str], object]  # takes the place of what stays behind

ANY, NUMBERS, WORD, TEXT = "anything", "numbers", "a word", "a text"
_SHORT = re.compile(r"[^\n]{0,200}")
_NAME = re.compile(r"\d{1,19}|[A-Za-z_]\w{0,29}", re.ASCII)  # what a number may be called

# Kind of object -> field -> what may stand there: one of the four above, or a kind of object, or [kind] for many.
Fields = dict[str, Any]
KINDS: dict[str, Fields] = {
    "graph": {
        **dict.fromkeys(("revision", "last_node_id", "last_link_id", "version", "state"), NUMBERS),
        **dict.fromkeys(("id", "category", "essentials_category"), WORD),
        **dict.fromkeys(("name", "description"), TEXT),
        "nodes": ["node"], "links": ["link"], "floatingLinks": ["link"], "groups": ["group"], "reroutes": ["reroute"],
        "config": "switches", "extra": "extra", "definitions": "definitions", "models": ["model"],
        "subgraphs": ["node"], "inputNode": "boundary", "outputNode": "boundary", "inputs": ["slot"],
        "outputs": ["slot"], "widgets": ["exposed"],
    },
    "definitions": {"subgraphs": ["graph"]},
    "node": {
        **dict.fromkeys(("id", "type", "color", "bgcolor", "boxcolor"), WORD),
        **dict.fromkeys(("pos", "size", "order", "mode", "shape", "showAdvanced", "locked"), NUMBERS),
        "title": TEXT, "flags": "switches", "inputs": ["slot"], "outputs": ["slot"], "properties": ANY,
        "widgets_values": ANY, "widgets_values_named": ANY,
    },
    "slot": {
        **dict.fromkeys(("id", "type", "color_on", "color_off"), WORD),
        **dict.fromkeys(("link", "links", "linkIds", "slot_index", "shape", "dir", "pos"), NUMBERS),
        **dict.fromkeys(("name", "label", "localized_name"), TEXT),
        "widget": "exposed",
    },
    "exposed": {"id": WORD, "name": WORD},
    "link": {
        **dict.fromkeys(("id", "origin_slot", "target_slot", "parentId"), NUMBERS),
        **dict.fromkeys(("origin_id", "target_id", "type"), WORD),
    },
    "group": {"id": WORD, "title": TEXT, "bounding": NUMBERS, "color": WORD, "font_size": NUMBERS, "flags": "switches",
              "locked": NUMBERS},
    "boundary": {"id": WORD, "bounding": NUMBERS, "pinned": NUMBERS},
    "reroute": {"id": NUMBERS, "parentId": NUMBERS, "pos": NUMBERS, "linkIds": NUMBERS, "floating": "exposed slot"},
    "exposed slot": {"slotType": WORD},
    "model": dict.fromkeys(("name", "url", "hash", "hash_type", "directory"), WORD),
    "switches": dict.fromkeys(
        ("collapsed", "pinned", "allow_interaction", "horizontal", "skip_repeated_outputs", "links_ontop",
         "align_to_grid", "ghost"), NUMBERS),
    "extra": {
        **dict.fromkeys(("ds", "linearMode", "linkExtensions", "VHS_latentpreview", "VHS_latentpreviewrate",
                         "VHS_MetadataImage", "VHS_KeepIntermediate"), NUMBERS),
        **dict.fromkeys(("frontendVersion", "workflowRendererVersion"), WORD),
        "BlueprintDescription": TEXT,
        **dict.fromkeys(("BlueprintSearchAliases", "linearData", "node_versions", "info", "groupNodes", "ue_links",
                         "links_added_by_ue", "favoritedWidgets"), ANY),
        "reroutes": ["reroute"],
    },
    # An API prompt's node.
    "call": {"class_type": WORD, "inputs": ANY, "_meta": "meta"},
    "meta": {"title": TEXT, "cnr_id": WORD, "aux_id": WORD, "ver": WORD},
}  # fmt: skip


def allowed(value: Any, leave: Leave, place: str = "") -> Any:
    """Returns of a graph or an API prompt what ComfyUI needs, in new objects.

    Args:
        value: A JSON value.
        leave: Takes the place of each field that stays behind.
        place: Where the value stands in its file.

    Raises:
        ValueError: It is neither a graph nor an API prompt.
    """
    if isinstance(value, dict) and isinstance(value.get("nodes"), list):
        return _object(value, "graph", leave, place)
    if is_prompt(value):
        return {name: _object(node, "call", leave, f"{place}.{name}") for name, node in value.items()}
    raise ValueError("it is neither a graph nor an API prompt")


def is_prompt(value: Any) -> bool:
    """Returns whether a JSON value is an API prompt: an object of nodes by id, each with its class."""
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in value.values())


def _object(value: dict[str, Any], kind: str, leave: Leave, place: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, part in value.items():
        at = f"{place}.{name}"
        wanted = KINDS[kind].get(name)
        if wanted is None or not _fits(part, wanted):
            leave(at.lstrip("."))
        else:
            kept[name] = _part(part, wanted, leave, at)
    return kept


def _part(value: Any, wanted: Any, leave: Leave, place: str) -> Any:
    if isinstance(wanted, list) and isinstance(value, list):
        return [_part(one, wanted[0], leave, f"{place}[{index}]") for index, one in enumerate(value)]
    if wanted in KINDS and isinstance(value, dict):
        return _object(value, wanted, leave, place)
    if wanted == "link" and len(value) > 6:  # id, from node and output, to node and input, type
        leave(f"{place}[6]")
        return value[:6]
    return value


def _fits(value: Any, wanted: Any) -> bool:
    """Returns whether a value is of the wanted form; nothing at all always is."""
    if value is None or wanted == ANY:
        return True
    if isinstance(wanted, list):
        return isinstance(value, list) and all(_fits(one, wanted[0]) for one in value)
    if wanted in KINDS:
        return isinstance(value, dict) or (
            wanted == "link" and isinstance(value, list) and all(_fits(one, WORD) for one in value[:6])
        )
    if wanted == NUMBERS:
        return is_numbers(value)
    if wanted == WORD:
        parts = value if isinstance(value, list) else [value]  # an old list of options is a type, too
        return all(isinstance(one, int | float) or (isinstance(one, str) and _SHORT.fullmatch(one)) for one in parts)
    return isinstance(value, str)


def is_numbers(value: Any) -> bool:
    """Returns whether a value is made of numbers and switches alone: [80, 30], {"0": 80, "1": 30}, true."""
    if isinstance(value, dict):
        return all(_NAME.fullmatch(name) and is_numbers(part) for name, part in value.items())
    if isinstance(value, list):
        return all(map(is_numbers, value))
    return value is None or isinstance(value, int | float)
