"""Takes what is private out of graphs and API prompts: what a text tells, and what the node around it tells of it."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from private import HIDDEN, Finding, Tell, clean_text, is_key_name, is_own_title, is_written
from private_people import private_number

NOTES = ("MarkdownNote", "Note")  # written to be read by others
CONTROLS = ("fixed", "increment", "decrement", "randomize")  # of a seed, in the graph's values but not among the inputs
COMFYUIS = ("cnr_id", "aux_id", "ver", "Node name for S&R", "secondTabText")  # among a node's properties
OPAQUE = re.compile(
    r"(?=\S*(?=[a-z]*\d)(?=\d*[a-z])[a-z\d]{12})[\w~+/=:-]{16,}", re.IGNORECASE
)  # not claude-4-20260101


def findings(value: Any, prompts: bool = False) -> list[Finding]:
    """Returns what is private in a JSON value."""
    found: list[Finding] = []
    clean(value, prompts, found.append, beside=value)
    return found


def clean(
    value: Any, prompts: bool, tell: Tell, place: str = "", beside: Any = None, key: str = "", own: bool = False
) -> Any:
    """Returns a JSON value without what is private, and tells of each such thing.

    Args:
        value: A graph, an API prompt, or a part of one.
        prompts: Whether what people wrote counts as private.
        tell: Takes each finding.
        place: Where in the file the value stands, for the findings.
        beside: All that the file tells. A graph in it says which inputs of a prompt are options.
        key: The name that the value stands under.
        own: Whether a person may have written the value.
    """
    return Cleaner(prompts, tell, frozenset(chosen(beside)) if prompts else frozenset()).clean(value, place, key, own)


class Option(NamedTuple):
    """What somebody chose in a list: class of the node, name of the input, and the option."""

    kind: str
    name: str
    text: str


class Cleaner(NamedTuple):
    """Walks through a JSON value. `own` says that a person may have written what stands there."""

    prompts: bool
    tell: Tell
    options: frozenset[Option]

    def clean(self, value: Any, place: str, key: str = "", own: bool = False) -> Any:
        """Returns any value without what is private; `key` is the name that it stands under."""
        if isinstance(value, dict):
            return self.clean_object(value, place, own)
        if isinstance(value, list):
            if is_link(value):
                return value
            return [self.clean(part, f"{place}[{index}]", key, own) for index, part in enumerate(value)]
        if isinstance(value, str):
            return self.clean_string(value, place, key, own)
        return self.clean_number(value, place, key) if isinstance(value, int | float) else value

    def clean_number(self, value: float, place: str, key: str) -> Any:
        """Hides a number that is a key, a telephone number or a position by the name that it stands under."""
        kind = "key" if is_key_name(key) and abs(value) >= 1e5 else private_number(value, key)
        if not kind:
            return value
        self.tell(Finding(kind, place.lstrip("."), HIDDEN))
        return HIDDEN

    def clean_object(self, value: dict[str, Any], place: str, own: bool, of: str = "") -> dict[str, Any]:
        """Cleans an object, in graphs and API prompts a node among others.

        Args:
            value: The object.
            place: Where it stands.
            own: Whether a person may have written its texts.
            of: The kind of node whose inputs these are. Which of them are options, only a graph beside can tell.
        """
        kind, title, written = nature(value)
        secret = next((name for name in map(value.get, ("name", "key", "header")) if is_secret(name)), None)
        cleaned: dict[str, Any] = {}
        for name, part in value.items():
            if name == "is_changed" and written == "inputs":
                self.clean(part, f"{place}.{name}", name, own=True)  # ComfyUI's note to itself, which may repeat any
                continue  # input: no copy needs it
            shared = self.clean_name(name, place, cleaned)
            at = f"{place}.{shared}"
            if name == "widgets_values" and isinstance(part, list):
                cleaned[shared] = [
                    self.clean(one, f"{at}[{index}]", widget.name, widget.free and name == written)
                    for index, (one, widget) in enumerate(zip(part, widgets(value, part), strict=True))
                ]
            elif name == "_meta" and isinstance(part, dict) and kind:
                cleaned[shared] = self.clean_titles(part, at, kind)
            elif name == title:
                cleaned[shared] = self.clean_title(part, at, kind)
            elif name == "inputs" == written and isinstance(part, dict):
                cleaned[shared] = self.clean_object(part, at, own=True, of=kind)
            else:
                key = secret if secret and name == "value" else name
                free = own and name not in COMFYUIS and not self.is_option(of, name, part)
                free = free or name == written or is_written_part(name, written, place)
                cleaned[shared] = self.clean(part, at, key, free)
        return cleaned

    def clean_name(self, name: str, place: str, taken: Collection[str]) -> str:
        """Cleans the name of an entry, and numbers it if another of the object's entries has become the same."""
        shared = first = clean_text(name, self.tell, place, "id")  # a name of hexadecimal digits is one
        count = 1
        while shared in taken:
            count += 1
            shared = f"{first} {count}"
        return shared

    def is_option(self, kind: str, name: str, value: Any) -> bool:
        """Returns whether a graph beside the prompt has a value in a list."""
        return bool(kind) and isinstance(value, str) and Option(kind, name, value) in self.options

    def clean_titles(self, titles: dict[str, Any], place: str, kind: str) -> dict[str, Any]:
        """Cleans a prompt's `_meta`: ComfyUI writes a title there, and nothing else."""
        cleaned: dict[str, Any] = {}
        for name, title in titles.items():
            shared = self.clean_name(name, place, cleaned)
            cleaned[shared] = self.clean_title(title, f"{place}.{shared}", kind)
        return cleaned

    def clean_title(self, title: Any, place: str, kind: str) -> Any:
        """Empties the title that somebody gave to a node; ComfyUI's own stays."""
        written = self.prompts and isinstance(title, str) and not is_own_title(title, kind)
        return self.emptied(title, place) if written else self.clean(title, place)

    def clean_string(self, text: str, place: str, key: str, own: bool) -> str:
        """Cleans a text, and JSON that stands in one, as in some packs' widgets."""
        if text.lstrip()[:1] in ("{", "["):
            try:
                inner = json.loads(text)
            except ValueError:  # a text that only begins like JSON
                pass
            else:
                cleaned = self.clean(inner, place, key, own)
                return text if cleaned == inner else json.dumps(cleaned, ensure_ascii=text.isascii())
        if is_key_name(key) and text and text != HIDDEN:
            self.tell(Finding("key", place.lstrip("."), HIDDEN))
            return HIDDEN
        if self.prompts and own and is_written(text, key):
            return self.emptied(text, place)
        return clean_text(text, self.tell, place, key)

    def emptied(self, text: str, place: str) -> str:
        """Tells of a text that somebody wrote, and returns what stays of it: nothing."""
        self.tell(Finding("prompt", place.lstrip("."), text[:40] + ("..." if len(text) > 40 else "")))
        return ""


def is_json(text: str) -> bool:
    """Returns whether a text is an object or a list in JSON, as a graph or a prompt in a file's metadata."""
    with suppress(ValueError):
        return isinstance(json.loads(text), dict | list)
    return False


def is_written_part(name: str, written: str, place: str) -> bool:
    """Returns whether a person may have written what stands under a name: properties of a node, what a graph is about.

    Args:
        name: Of the part.
        written: Under which name the values of the object that has it stand; "" if it is no node.
        place: Of the object.
    """
    return (name == "properties" and written == "widgets_values") or (name == "info" and place.endswith("extra"))


def is_link(value: Any) -> bool:
    """Returns whether a list is an API prompt's link: a node's id and the number of its output."""
    match value:
        case [str(node), int()]:
            return node.replace(":", "").isdigit()  # within a subgraph, as in 57:8
        case _:
            return False


def is_secret(name: Any) -> bool:
    """Returns whether a value is the name of a key, as in {"name": "api_key", "value": ...}."""
    return isinstance(name, str) and is_key_name(name)


def nature(value: dict[str, Any]) -> tuple[str, str, str]:
    """Returns the kind of a node, group or subgraph, and under which names its title and its values stand."""
    if isinstance(value.get("class_type"), str):  # a node of an API prompt
        return value["class_type"], "", "inputs"
    if "inputNode" in value and "nodes" in value:
        return "Subgraph", "name", ""
    if "bounding" in value:
        return "Group", "title", ""
    if isinstance(value.get("type"), str) and value["type"] not in NOTES and value.keys() & {"pos", "widgets_values"}:
        return value["type"], "title", "widgets_values"
    if isinstance(value.get("label"), str) and "name" in value and "type" in value:  # a slot that was called otherwise
        return f"{value['name']} {value['type']}", "label", ""
    return "", "", ""


def chosen(value: Any) -> Iterator[Option]:
    """Yields what graphs have as options, be they a JSON value or stand in its texts, as in a file's metadata."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):
            yield from chosen(json.loads(value))
    elif isinstance(value, list):
        for part in value:
            yield from chosen(part)
    elif isinstance(value, dict):
        values = value.get("widgets_values")
        if isinstance(values, list):
            kind, _, _ = nature(value)
            for one, widget in zip(values, widgets(value, values), strict=True):
                if widget.name and not widget.free and isinstance(one, str):
                    yield Option(kind, widget.name, one)
        for part in value.values():
            yield from chosen(part)


class Widget(NamedTuple):
    """What a graph tells of one of a node's values; `free` unless it is one of several options."""

    name: str
    free: bool


def widgets(node: dict[str, Any], values: list[Any]) -> list[Widget]:
    """Returns the widget of each of a node's values: they stand in the order of the inputs that have one.

    Older frontends list only a few of them, and packs add values of their own: then none is known for an option, and
    whatever looks like a key counts as the key that the node has a widget for.
    """
    slots = widgets_of(node.get("inputs")) or widgets_of(node.get("outputs"))  # a primitive has its target's widget
    secret = next((slot.name for slot in slots if is_key_name(slot.name)), "")
    found: list[Widget] = []
    for index, value in enumerate(values):
        if not slots or (value in CONTROLS and len(values) - index > len(slots)):
            found.append(Widget("", value not in CONTROLS))
        else:
            found.append(slots.pop(0))
    if slots or Widget("", True) in found:
        return [
            Widget(secret if secret and isinstance(value, str) and OPAQUE.fullmatch(value) else widget.name, True)
            for value, widget in zip(values, found, strict=True)
        ]
    return found


def widgets_of(slots: Any) -> list[Widget]:
    """Returns the widgets among a node's inputs or outputs."""
    found = [slot for slot in slots or [] if isinstance(slot, dict) and isinstance(slot.get("widget"), dict)]
    return [Widget(str(slot["widget"].get("name", "")), slot.get("type") != "COMBO") for slot in found]
