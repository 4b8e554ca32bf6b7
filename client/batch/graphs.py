"""A graph of a study, and what a study may set in it.

Nothing here asks a server. What may be set in a shipped graph its schema says; in a graph of your own, what it holds.
"""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import prompts, schema, settings
from ..errors import UsageError
from ..prompts import ADDED, Prompt, is_link
from ..settings import Setting
from ..values import TRUTHS, check_text, read

SEEDS = {"seed", "noise_seed"}
REPORT = "Wan22Turbo_ClipReport"
SAVERS = {"Wan22Turbo_SaveMp4", "Wan22Turbo_DecodeMp4", "Wan22Turbo_LongClip"}  # whose first output is the clip
SHOWS = {  # what its first frame is to show
    "Wan22Turbo_ImageToVideo": "start_image",
    "Wan22Turbo_LongClip": "start_image",
    "Wan22Turbo_Hosted": "image",
}
FPS = 16.0  # of frames without a rate of their own, which a clip has
LOADS = {"image", "video", "audio", "file"}  # inputs by which ComfyUI's Load nodes take a file of yours


@dataclass(frozen=True)
class Graph:
    """A graph of a study.

    Args:
        prompt: In API format.
        known: What may be set in it.
        own: It is none of the shipped ones, so that a server knows better what fits.
    """

    prompt: Prompt
    known: list[Setting]
    own: bool

    def find(self, name: str) -> list[Setting]:
        """Finds what a study means by a name.

        Raises:
            UsageError: Nothing, or it is not clear what.
        """
        if name in SEEDS:
            seeds = [each for each in self.known if each.input in SEEDS]
            if seeds:
                return seeds
        pictures = [each for each in self.known if each.files == "upload"]
        if name == "picture" and len(pictures) == 1:
            return pictures
        if name == "picture" and len(pictures) > 1 and all(each.name != name for each in pictures):
            names = " and ".join(each.name for each in pictures)
            raise UsageError(f"The graph takes several pictures, {names}. Name them among the settings.")
        return [settings.find(self.known, name)]


def load(name: str, folder: Path, measure: bool = False) -> Graph:
    """Reads a graph of a study: a shipped one by its name, your own by its path. With a Clip Report, if asked.

    Raises:
        UsageError: There is none, or it is not in API format.
    """
    if name.endswith(".json"):
        prompt = prompts.load(str(folder / os.path.expanduser(name)))
        known, own = settings.settings_of(prompt, described(prompt)), True
    else:
        prompt, known, own = prompts.load(name), schema.settings_in(schema.load(name)), False
    return Graph(with_report(prompt) if measure else prompt, known, own)


def with_report(prompt: Prompt) -> Prompt:
    """Returns a graph that also measures the clip which it saves, if it saves one with a node of this pack."""
    classes = [node["class_type"] for node in prompt.values()]
    savers = [node_id for node_id, node in prompt.items() if node["class_type"] in SAVERS]
    if len(savers) != 1 or REPORT in classes:
        return prompt
    inputs: dict[str, Any] = {"video": [savers[0], 0], "fps": FPS}
    shown = [node["inputs"].get(SHOWS[node["class_type"]]) for node in prompt.values() if node["class_type"] in SHOWS]
    if is_link(next(iter(shown), None)):
        inputs["reference"] = shown[0]
    return {**prompt, ADDED: {"class_type": REPORT, "inputs": inputs, "_meta": {"title": "Clip Report"}}}


def described(prompt: Prompt) -> dict[str, Any]:
    """Returns what can be known of the classes in a graph without a server, in the form of /object_info."""
    info: dict[str, Any] = {}
    for node in prompt.values():
        declared = info.setdefault(node["class_type"], {"input": {"required": {}}})["input"]["required"]
        for name, value in node["inputs"].items():
            loads = node["class_type"].startswith("Load") and name in LOADS
            kind = "BOOLEAN" if isinstance(value, bool) else "FLOAT" if isinstance(value, (int, float)) else "STRING"
            declared[name] = [kind, {"image_upload": loads and name == "image", "video_upload": loads}]
    return info


def value_of(setting: Setting, value: Any, folder: Path, own: bool) -> Any:
    """Returns the value to post; of a file of yours, its whole path.

    Raises:
        UsageError: It does not fit.
    """
    if own or setting.files == "upload":
        check_text(setting.name, value)
    if setting.files == "upload":
        if not isinstance(value, str):
            raise UsageError(f"{setting.name} must be a file, got '{value}'.")
        with suppress(OSError):  # a name that no system takes
            path = folder / os.path.expanduser(value)
            return str(path) if path.is_file() else value
        return value
    if own:
        return guessed(setting, value)
    return read(setting, value)


def is_file(setting: Setting, value: Any) -> bool:
    """Returns whether a value is a file of yours; `value_of` made that a whole path."""
    return setting.files == "upload" and Path(value).is_absolute()


def guessed(setting: Setting, value: Any) -> Any:
    """Returns a value of the kind that the graph holds: in a table every value is text."""
    if setting.kind == "boolean":
        return value if isinstance(value, bool) else TRUTHS.get(str(value).lower(), value)
    if setting.kind != "number" or not isinstance(value, str):
        return value
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(value)
            if isinstance(number, int) or math.isfinite(number):
                return number
    raise UsageError(f"{setting.name} must be a finite number, got '{value}'.")
