"""Load LoRA with Trigger Words: one LoRA, or a pair, on both experts, and its words in the prompt."""

import logging
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..common.text import tidy
from ..weights import loading, lora_keys, names
from ..weights.formats.header import ModelFile
from ..weights.formats.model_file import open_model
from ..weights.loras import report as lora_report
from ..weights.loras import triggers
from ..weights.loras.report import Match, Source
from . import loader
from .door import Node

logger = logging.getLogger(__name__)

NONE = "none"
AUTO = "auto"
EXPERTS: dict[str, names.Expert] = {"lora_high": "high", "lora_low": "low"}
EMPTY_PROMPT = "Warning: The prompt is empty. Say in a sentence or two what should move, and how."


class Lora(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folder_paths.get_filename_list("loras")
        return io.Schema(
            node_id="Wan22Turbo_Lora",
            display_name="Load LoRA with Trigger Words",
            description="Applies a LoRA to both experts, adds its trigger words to the prompt, reports what fitted.",
            search_aliases=["lora loader", "lora stack", "trigger words", "high low lora"],
            inputs=[
                io.Model.Input("high", tooltip="High-noise expert."),
                io.Model.Input("low", tooltip="Low-noise expert."),
                io.Combo.Input("lora_high", options=[NONE, *files], tooltip="For the high-noise expert."),
                io.Combo.Input(
                    "lora_low",
                    options=[AUTO, NONE, *files],
                    default=AUTO,
                    tooltip="For the low-noise expert. auto finds the partner of the other file by its name.",
                ),
                io.Float.Input("strength_high", default=1.0, min=-100.0, max=100.0, step=0.05, round=0.001),
                io.Float.Input("strength_low", default=1.0, min=-100.0, max=100.0, step=0.05, round=0.001),
                io.String.Input(
                    "trigger_words",
                    default="",
                    tooltip="Separated by commas. Empty: the words that the LoRA file or a text file beside it names.",
                ),
                io.Combo.Input(
                    "trigger_position",
                    options=list(triggers.POSITIONS),
                    default="prepend",
                    tooltip="Where they go in the prompt. Words that are there already are not repeated.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    dynamic_prompts=True,
                    placeholder="What should move, and how?",
                    tooltip="Long, plain English sentences work best.",
                ),
            ],
            outputs=[
                io.Model.Output("high"),
                io.Model.Output("low"),
                io.String.Output("prompt"),
                io.String.Output("trigger_words"),
                io.String.Output("report"),
            ],
        )

    @classmethod
    def validate_inputs(cls, lora_high: str, lora_low: str) -> bool | str:
        # Naming a COMBO here takes its check over from ComfyUI, so that a name from another machine's folders is found.
        return loader.check_names(resolve, lora_high=lora_high, lora_low=None if lora_low == AUTO else lora_low)

    @classmethod
    def fingerprint_inputs(cls, lora_high: str | None, lora_low: str | None, **_: Any) -> Any:
        # The result depends on files that the inputs do not name: a partner found by name, text files with words.
        if lora_high is None or lora_low is None:
            return None
        chosen = {"lora_high": lora_high, **cls.spelled_out({"lora_high": lora_high, "lora_low": lora_low})}
        files = [paths for slot, name in chosen.items() if (paths := cls.decided_by(slot, name))]
        words = (sidecar for lora, *_ in files for sidecar in triggers.sidecars_of(lora))
        return loader.state_of([*chain.from_iterable(files), *words])

    @classmethod
    def decided_by(cls, name: str, value: str) -> list[str]:
        file = resolve(name, value) if name in EXPERTS else None
        if file is None:
            return []
        path = path_of(file)
        settings = Path(path).with_name(lora_keys.CONFIG)  # PEFT's, which say how strongly it acts
        return [path, str(settings)] if settings.is_file() and lora_keys.belongs(path) else [path]

    @classmethod
    def spelled_out(cls, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"lora_low": choose_files(inputs["lora_high"], inputs["lora_low"])[1] or NONE}

    @classmethod
    def execute(
        cls,
        high: Any,
        low: Any,
        lora_high: str,
        lora_low: str,
        strength_high: float,
        strength_low: float,
        trigger_words: str,
        trigger_position: str,
        prompt: str,
    ) -> io.NodeOutput:
        matches = matches_of(lora_high, lora_low, strength_high, strength_low)
        models = {"high": high, "low": low}
        for match in matches:
            models[match.expert] = apply(models[match.expert], match)
        words = words_of([match.file for match in matches if match.strength], trigger_words)
        prompt = triggers.merge(prompt, words, trigger_position)
        report = lora_report.report(matches)
        for match in matches:
            for warning in lora_report.warnings(match):
                logger.warning(warning)
        if not prompt.strip():
            report = f"{report}\n{EMPTY_PROMPT}"
        return io.NodeOutput(*models.values(), prompt, ", ".join(words), report, ui=ui.PreviewText(report))


def choose_files(lora_high: str, lora_low: str) -> tuple[str | None, str | None, Source]:
    """Returns the file of each expert, None for none, and how the low-noise one was found."""
    high = resolve("lora_high", lora_high)
    if lora_low != AUTO:
        return high, resolve("lora_low", lora_low), Source.CHOSEN
    if high is None:
        return None, None, Source.CHOSEN
    found = names.partner(high, folder_paths.get_filename_list("loras"))
    return high, found or high, Source.PAIRED if found else Source.SHARED


def resolve(slot: str, name: str) -> str | None:
    """Returns the file that a name in an input means, as ComfyUI lists it; None for none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Several files fit, or the name is none of a file.
    """
    if name == NONE:
        return None
    if name == AUTO:
        raise ValueError("'auto' finds the partner of the file in lora_high. Choose a file there, or none.")
    file = loader.resolve("loras", name, EXPERTS[slot])
    path_of(file)
    return file


def matches_of(lora_high: str, lora_low: str, strength_high: float = 1.0, strength_low: float = 1.0) -> list[Match]:
    """Opens the file of each expert that has one, each file once; nothing is applied yet."""
    *chosen, source = choose_files(lora_high, lora_low)
    named = names.experts_of(*chosen)
    opened = {file: open_lora(file) for file in dict.fromkeys(chosen) if file}
    alone = chosen[0] != chosen[1]
    rows = zip(EXPERTS.values(), chosen, (strength_high, strength_low), named, strict=True)
    return [Match(opened[file], expert, strength, name, source, alone) for expert, file, strength, name in rows if file]


def apply(model: Any, match: Match) -> Any:
    """Applies one file to one expert; ValueError where no layer fits. At strength 0 its tensors are not even read."""
    if match.strength == 0:
        return model
    patched = loading.apply_lora(model, match)
    if not match.matched:
        raise ValueError(lora_report.no_match_message(match))
    return patched


def words_of(files: Iterable[ModelFile], typed: str) -> list[str]:
    """Returns the trigger words: those typed, else those of the files, each once."""
    once = {file.path: file.header.metadata for file in files}
    named = (triggers.trigger_words(known, triggers.find_sidecar_words(path)) for path, known in once.items())
    own = [word for words in named for word in words]
    return triggers.typed_words(typed) or tidy(triggers.literal(own))


def open_lora(file: str) -> ModelFile:
    """Opens a LoRA file by its name as ComfyUI lists it."""
    return open_model(path_of(file))


def path_of(file: str) -> str:
    """Returns the path of a LoRA file."""
    return loader.path_of("loras", file)
