"""What saved graphs rely on stays: the pack's nodes against the snapshot, and what the comparison calls a break."""

import copy
import json

import pytest
from pack.tests.comfy.test_contract import NODES
from schemas import SNAPSHOT, breaks, describe

pytestmark = pytest.mark.comfy

KNOWN = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
NOW = json.loads(json.dumps(describe(NODES)))
SAVE, SAMPLER, LORA = "Wan22Turbo_SaveMp4", "Wan22Turbo_Sampler", "Wan22Turbo_Lora"


def test_no_saved_graph_breaks():
    assert breaks(KNOWN, NOW) == []


def test_additions_are_written_down():
    written = json.dumps(NOW, indent=1) + "\n"  # the order too, and whether a default is 5 or 5.0
    assert written == SNAPSHOT.read_text(encoding="utf-8"), "Run `make schemas` and commit tests/data/schemas.json."


def inputs(schemas, node):
    return schemas[node]["inputs"]


def renamed(entries, old, new):
    return {new if name == old else name: value for name, value in entries.items()}


def reordered(entries, *names):
    return {**{name: entries[name] for name in names}, **entries}


BREAKS = {
    "a node is removed": (
        lambda new: new.pop(SAMPLER),
        f"{SAMPLER} is gone: graphs with it open red.",
    ),
    "an input is renamed": (
        lambda new: new[SAVE].update(inputs=renamed(inputs(new, SAVE), "crf", "quality")),
        f"{SAVE}: input crf is gone or has another name.",
    ),
    "an input is removed": (
        lambda new: inputs(new, LORA).pop("trigger_position"),
        f"{LORA}: input trigger_position is gone or has another name.",
    ),
    "widgets change places": (
        lambda new: new[SAMPLER].update(inputs=reordered(inputs(new, SAMPLER), "steps")),
        f"{SAMPLER}: widgets have changed places: seed, steps, schedule, mode, cfg, sigma_max, shift, boundary must",
    ),
    "a widget is put between": (
        lambda new: new[SAMPLER].update(
            inputs=reordered(
                {**inputs(new, SAMPLER), "eta": {"type": "FLOAT", "optional": True, "widget": True}}, "eta"
            )
        ),
        f"{SAMPLER}: widgets have changed places: seed, ",
    ),
    "sockets change places": (
        lambda new: new[SAMPLER].update(inputs=reordered(inputs(new, SAMPLER), "low")),
        f"{SAMPLER}: sockets have changed places: high, low, positive, latent, negative must come first",
    ),
    "a range is narrowed from above": (
        lambda new: inputs(new, SAMPLER)["cfg"].update(max=20.0),
        f"{SAMPLER}: input cfg takes at most 20.0, before 100.0.",
    ),
    "a range is narrowed from below": (
        lambda new: inputs(new, SAMPLER)["steps"].update(min=2),
        f"{SAMPLER}: input steps takes at least 2, before 1.",
    ),
    "a range is new": (
        lambda new: inputs(new, SAVE)["filename_prefix"].update(min=1),
        f"{SAVE}: input filename_prefix takes at least 1, before anything.",
    ),
    "an option is removed": (
        lambda new: inputs(new, SAVE)["codec"].update(options=["h264", "av1"]),
        f"{SAVE}: input codec has lost the options h265.",
    ),
    "a type is changed": (
        lambda new: inputs(new, SAVE)["video"].update(type="VIDEO"),
        f"{SAVE}: input video no longer takes IMAGE, but VIDEO.",
    ),
    "an optional input becomes required": (
        lambda new: inputs(new, SAMPLER)["negative"].update(optional=False),
        f"{SAMPLER}: input negative was optional and is required.",
    ),
    "a required input is added, with a default or without": (
        lambda new: inputs(new, SAVE).update(
            speed={"type": "FLOAT", "optional": False, "widget": True, "default": 1.0}
        ),
        f"{SAVE}: input speed is new and required: prompts from before it leave it out.",
    ),
    "the default of what prompts leave out is changed": (
        lambda new: inputs(new, SAVE)["encoder"].update(default="nvenc"),
        f"{SAVE}: input encoder has the default nvenc, before cpu",
    ),
    "an output is removed": (
        lambda new: new[LORA]["outputs"].pop("prompt"),
        f"{LORA}: outputs must begin with high MODEL, low MODEL, prompt STRING",
    ),
    "an output is renamed": (
        lambda new: new[SAMPLER].update(outputs={"latent": "LATENT", "schedule": "STRING"}),
        f"{SAMPLER}: outputs must begin with latent LATENT, plan STRING; they are latent LATENT, schedule STRING.",
    ),
    "outputs change places": (
        lambda new: new[SAMPLER].update(outputs={"plan": "STRING", "latent": "LATENT"}),
        f"{SAMPLER}: outputs must begin with latent LATENT, plan STRING",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_change_that_breaks_saved_graphs_is_told_with_its_reason(name):
    change, reason = BREAKS[name]
    new = copy.deepcopy(KNOWN)
    change(new)
    assert any(told.startswith(reason) for told in breaks(KNOWN, new)), breaks(KNOWN, new)


ADDITIONS = {
    "a node": lambda new: new.update(Wan22Turbo_New={"inputs": {}, "outputs": {}}),
    "an optional widget with a default, at the end": lambda new: inputs(new, SAVE).update(
        speed={"type": "FLOAT", "optional": True, "widget": True, "default": 1.0}
    ),
    "an optional socket": lambda new: inputs(new, SAMPLER).update(
        mask={"type": "MASK", "optional": True, "widget": False}
    ),
    "an option": lambda new: inputs(new, SAVE)["codec"]["options"].append("vp9"),
    "a wider range": lambda new: inputs(new, SAMPLER)["steps"].update(min=0, max=200),
    "a further type": lambda new: inputs(new, SAVE)["video"].update(type="IMAGE,VIDEO,LATENT"),
    "an output at the end": lambda new: new[SAMPLER]["outputs"].update(sigmas="SIGMAS"),
    "another default of what prompts name": lambda new: inputs(new, SAMPLER)["steps"].update(default=5),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_additions_break_nothing(name):
    new = copy.deepcopy(KNOWN)
    ADDITIONS[name](new)
    assert new != KNOWN
    assert breaks(KNOWN, new) == []
