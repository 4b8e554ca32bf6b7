"""Load LoRA with Trigger Words: one LoRA, or a pair, on both experts, and its words in the prompt."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from ..weights import inspect, loading, lora, lora_facts, pairing, peft, triggers
from . import loader
from .door import Node

logger = logging.getLogger(__name__)

NONE = "none"
AUTO = "auto"
EXPERTS: dict[str, pairing.Expert] = {"lora_high": "high", "lora_low": "low"}
EMPTY_PROMPT = "Warning: The prompt is empty. Say in a sentence or two what should move, and how."


class Lora(Node):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = folder_paths.get_filename_list("loras")
        return io.Schema(
            node_id="Wan22Turbo_Lora",
            display_name="Load LoRA with Trigger Words",
            category="wan 2.2 turbo",
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
                io.Model.Output("high", display_name="high"),
                io.Model.Output("low", display_name="low"),
                io.String.Output("prompt", display_name="prompt"),
                io.String.Output("trigger_words", display_name="trigger_words"),
                io.String.Output("report", display_name="report"),
            ],
        )

    @classmethod
    def validate_inputs(cls, lora_high: str, lora_low: str) -> bool | str:
        # Naming a COMBO here takes its check over from ComfyUI, so that a name from another machine's folders is found.
        problems = []
        for slot, name in {"lora_high": lora_high, "lora_low": lora_low}.items():
            try:
                if name is not None and (slot, name) != ("lora_low", AUTO):  # a linked input has no value yet
                    resolve(slot, name)
            except (FileNotFoundError, ValueError) as error:
                problems.append(f"{slot}: {error}")
        return " ".join(problems) or True

    @classmethod
    def fingerprint_inputs(cls, lora_high: str | None, lora_low: str | None, **_: Any) -> Any:
        # The result depends on files that the inputs do not name: a partner found by name, text files with words.
        if lora_high is None or lora_low is None:
            return None
        files = [path_of(file) for file in choose_files(lora_high, lora_low)[:2] if file]
        settings = {
            file for path in files if (file := Path(path).with_name(peft.CONFIG)).is_file() and peft.belongs(path)
        }
        beside = [*(sidecar for path in files for sidecar in triggers.sidecars_of(path)), *sorted(settings)]
        seen = [(Path(path).name, os.path.getmtime(path), os.path.getsize(path)) for path in (*files, *beside)]
        # A hash, without folders: ComfyUI keeps it in the prompt that it writes into PNGs, and paths are private.
        return hashlib.sha256(repr(seen).encode()).hexdigest()

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
        high_file, low_file, source = choose_files(lora_high, lora_low)
        named_high, named_low = pairing.experts_of(high_file, low_file)
        shared = source is lora.Source.SHARED
        alone = high_file != low_file
        high, for_high = apply(high, "high", high_file, strength_high, named_high, shared, alone)
        low, for_low = apply(low, "low", low_file, strength_low, named_low, shared, alone)
        at_work = (high_file if strength_high else None, low_file if strength_low else None)
        words = words_of(at_work, trigger_words)
        prompt = triggers.merge(prompt, words, trigger_position)
        report = lora.report([*for_high, *for_low], source)
        for entry in (*for_high, *for_low):
            for warning in lora.warnings(*entry):
                logger.warning(warning)
        if not prompt.strip():
            report = f"{report}\n{EMPTY_PROMPT}"
        return io.NodeOutput(high, low, prompt, ", ".join(words), report, ui=ui.PreviewText(report))


def choose_files(lora_high: str, lora_low: str) -> tuple[str | None, str | None, lora.Source]:
    """Returns the file of each expert, None for none, and how the low-noise one was found."""
    high = resolve("lora_high", lora_high)
    if lora_low != AUTO:
        return high, resolve("lora_low", lora_low), lora.Source.CHOSEN
    if high is None:
        return None, None, lora.Source.CHOSEN
    found = pairing.partner(high, folder_paths.get_filename_list("loras"))
    return high, found or high, lora.Source.PAIRED if found else lora.Source.SHARED


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
    file = pairing.resolve_name(name, folder_paths.get_filename_list("loras"), "loras", EXPERTS[slot])
    path_of(file)
    return file


def apply(
    model: Any,
    expert: pairing.Expert,
    file: str | None,
    strength: float,
    named: pairing.Expert | None = None,
    shared: bool = False,
    alone: bool = False,
) -> tuple[Any, list[tuple[lora.Match, lora_facts.LoraFacts]]]:
    """Applies one file to one expert. At strength 0 the file's tensors are not even read.

    Raises:
        ValueError: No layer of the expert has a place in the file.
    """
    if file is None:
        return model, []
    path = path_of(file)
    facts = lora_facts.facts(inspect.read_listing(path))
    name = pairing.base_name(file)
    if strength == 0:
        return model, [(lora.Match(expert, name, 0, 0, (), 0.0, named=named, shared=shared), facts)]
    applied = loading.apply_lora(model, path, strength, expert)
    rest = applied.lora
    match = lora.Match(
        expert, name, applied.layers, applied.keys, tuple(rest.unmatched), strength,
        tuple(rest.ignored), tuple(rest.other_expert), applied.unread, named, shared, applied.assumed,
        applied.in_doubt, len(rest.zeros), alone,
    )  # fmt: skip
    if not applied.layers:
        raise ValueError(lora.no_match_message(match, facts))
    return applied.model, [(match, facts)]


def words_of(files: tuple[str | None, ...], typed: str) -> list[str]:
    """Returns the trigger words: those typed, else those of the files, each once."""
    paths = dict.fromkeys(path_of(file) for file in files if file)
    own = [word for path in paths for word in triggers.choose("", inspect.read_listing(path).metadata, path)]
    return triggers.choose(typed, {}, None) or triggers.tidy(triggers.literal(own))


def path_of(file: str) -> str:
    """Returns the path of a LoRA file."""
    return loader.path_of("loras", file)
