"""What may be set in a prompt, under names that a person can read and keep.

A setting is an input of a node that holds a value instead of a link. Its name is the input's own: `seconds`, `steps`,
`prompt`. Inputs whose name says nothing without their node (`image` of "Your picture") take the node's title instead,
in lower case, with underscores, without a leading article: `picture`. A name that several settings would share is
written with the node's title before it, `rcm_sampler.seed`, and if the titles are equal too with the node's id,
`load_image_12.image`. The long forms, `rcm_sampler.seed` and `7.seed`, always work.
"""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .errors import RefusedError, UsageError
from .explain import missing_node
from .printable import WORDS, printable
from .prompts import ADDED, Prompt, is_link, title
from .shapes import NAME, finite

NAMELESS = {"image", "video", "audio", "file", "text", "string", "value", "int", "float"}
KINDS = {"INT": "integer", "FLOAT": "number", "STRING": "string", "BOOLEAN": "boolean", "COMBO": "string"}
# A choice among these is a choice among the server's files, as in the missing-model scan of ComfyUI's frontend.
FILES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".gguf")
FEW = 12  # values of a number in steps that are listed one by one
MANY = 50_000  # choices of one input, such as LoRAs
SEARCHED = 2_000  # names among which a mistyped one is looked for
UPLOADS = ("image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True)
class Setting:
    """One settable input of a prompt.

    Args:
        name: What a person calls it.
        node_id, input, title: Where it is.
        kind: JSON type: string, integer, number or boolean; "" for choices of several types.
        default: The value in the prompt's file.
        minimum, maximum: The range of a number, both included.
        options: The choices that every server has; None where any value of the kind may be given.
        files: "" or whose files it chooses among: "server" (models), "upload" (a picture of yours is sent there).
        help: What the node says of it.
        known: The files that this server has to choose among, now.
        pictures: Only a picture fits.
    """

    name: str
    node_id: str
    input: str
    title: str
    kind: str
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    options: tuple[Any, ...] | None = None
    files: str = ""
    help: str = ""
    known: tuple[str, ...] = ()
    pictures: bool = False


def settings_of(prompt: Prompt, object_info: dict[str, Any]) -> list[Setting]:
    """Lists what may be set in a prompt, in the order of its nodes.

    Args:
        prompt: In API format.
        object_info: What the server says of the classes in it.

    Raises:
        RefusedError: The server lacks a node.
    """
    found = []
    for node_id, node in prompt.items():
        if node["class_type"] not in object_info:
            raise RefusedError(missing_node(title(prompt, node_id), node["class_type"]))
        declared = object_info[node["class_type"]].get("input") or {}
        for name, value in node["inputs"].items() if node_id != ADDED else ():
            spec = (declared.get("required") or {}).get(name) or (declared.get("optional") or {}).get(name)
            if isinstance(spec, list) and spec and not is_link(value):
                found.append(setting_of(node_id, title(prompt, node_id), name, value, spec))
    return named(found)


def setting_of(node_id: str, node_title: str, name: str, value: Any, spec: list[Any]) -> Setting:
    """Reads one input as /object_info describes it: [type or options, {more}]."""
    kind, more = spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    options = choices(kind) if isinstance(kind, list) else choices(more.get("options")) or None
    files = ""
    if any(more.get(upload) for upload in UPLOADS):
        files = "upload"
    elif any(str(option).endswith(FILES) for option in (value, *(options or ()))):
        files = "server"
    return Setting(
        name="",
        node_id=node_id,
        input=name,
        title=node_title,
        kind=kind_of(kind, options if not files else None),
        default=value,
        minimum=finite(more.get("min")),
        maximum=finite(more.get("max")),
        options=None if files else options or steps_of(kind, more, value),
        files=files,
        help=printable(more["tooltip"]).strip() if isinstance(more.get("tooltip"), str) else "",
        known=tuple(map(str, options or ())) if files else (),
        pictures=bool(more.get("image_upload")),
    )


def choices(values: Any) -> tuple[Any, ...]:
    """Returns the choices that the server has, as far as a person could name them."""
    named = [value for value in values if isinstance(value, (str, int, float))] if isinstance(values, list) else []
    return tuple(value for value in named[:MANY] if not isinstance(value, str) or len(value) <= NAME)


def steps_of(kind: Any, more: dict[str, Any], value: Any) -> tuple[int, ...] | None:
    """Returns the values of a whole number that goes in steps, where they are few and the one in the prompt is one."""
    low, high, step = more.get("min"), more.get("max"), more.get("step")
    if kind != "INT" or not (isinstance(low, int) and isinstance(high, int) and isinstance(step, int)) or step < 2:
        return None
    steps = range(low, high + 1, step)
    return tuple(steps) if value in steps and len(steps) <= FEW else None


def named(settings: list[Setting]) -> list[Setting]:
    """Gives every setting the shortest name that is its alone."""
    for form in (short_name, title_name, id_name):
        clashes = {name for name, count in Counter(setting.name for setting in settings).items() if count > 1}
        settings = [replace(item, name=form(item)) if item.name in clashes | {""} else item for item in settings]
    return settings


def short_name(setting: Setting) -> str:
    """The input's own name, or the node's title where the input's says nothing."""
    return slug(setting.title) if setting.input in NAMELESS else setting.input


def title_name(setting: Setting) -> str:
    """The input's name after its node's title."""
    return f"{slug(setting.title)}.{setting.input}"


def id_name(setting: Setting) -> str:
    """The input's name after its node's title and id."""
    return f"{slug(setting.title)}_{slug(setting.node_id)}.{setting.input}"


def slug(text: str) -> str:
    """Turns a title into a name: "Your picture" becomes "picture". Letters of any script stay."""
    words = re.sub(r"\W+", "_", text.lower()).strip("_")
    return re.sub(r"^(your|my|the|a|an)_(?=.)", "", words)


def find(settings: list[Setting], name: str) -> Setting:
    """Finds a setting by its name, or by a long form of it.

    Raises:
        UsageError: No setting is called so, or several are. The text names those that come close.
    """
    forms = (lambda item: item.name, title_name, lambda item: f"{item.node_id}.{item.input}", id_name)
    for written in (str, loosely):  # as it is written, before what comes close
        for form in forms:
            found = [item for item in settings if written(form(item)) == written(name)]
            if len(found) == 1:
                return found[0]
    asked = loosely(name)
    alike = [item.name for item in settings if asked in map(loosely, (item.input, short_name(item), title_name(item)))]
    if alike:
        raise UsageError(f"'{name}' may mean several inputs. Say which: {', '.join(alike)}.")
    everything = {loosely(item.name): item.name for item in settings}
    close = [everything[one] for one in close_to(asked, everything, 3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else f"It has: {', '.join(item.name for item in settings)}."
    raise UsageError(f"The prompt has no input called '{name}'. {hint}")


def close_to(name: str, names: Iterable[str], most: int) -> list[str]:
    """Returns the names that may be meant, the closest first. Of long lists and long names it looks at a part."""
    few = [each for each in itertools.islice(names, SEARCHED) if len(each) <= WORDS]
    return difflib.get_close_matches(name, few, n=most) if len(name) <= WORDS else []


def loosely(name: str) -> str:
    """Returns a name without what people mistake in it: case, "-" and " " for "_"."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def kind_of(kind: Any, options: tuple[Any, ...] | None) -> str:
    """Returns the JSON type of an input; a list of choices may be one of numbers, such as seconds, or of several."""
    kinds = {json_type(option) for option in options or ()}
    if not kinds:
        return KINDS.get(kind, "string") if isinstance(kind, str) else "string"
    return kinds.pop() if len(kinds) == 1 else "number" if kinds == {"integer", "number"} else ""


def json_type(value: Any) -> str:
    """Returns the JSON type of a choice."""
    kinds = {bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(value), "string")


def apply(prompt: Prompt, values: Iterable[tuple[Setting, Any]]) -> Prompt:
    """Returns the prompt with values set; the given one stays as it is."""
    changed = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in prompt.items()}
    for setting, value in values:
        changed[setting.node_id]["inputs"][setting.input] = value
    return changed
