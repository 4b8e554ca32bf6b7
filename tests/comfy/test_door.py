"""What somebody may write into a prompt, and what our nodes say to it: sentences, and no traceback."""

import asyncio
import json
import math
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch
from comfy_api.internal import lock_class, shallow_clone_class
from pack.nodes import door, lora, metadata, sampling
from pack.tests.toy.sampling import SETTINGS, conditioning, empty_latent
from schemas import import_pack

pytestmark = pytest.mark.comfy

NODES = import_pack()
INPUTS = [(node_id, each.id) for node_id, node in NODES.items() for each in node.define_schema().inputs]
ABSENT = object()
LONG = "a/" * 100_000 + "x.safetensors"
WRONG = {
    "0": 0, "1.5": 1.5, "true": True, "null": None, "nan": math.nan, "inf": math.inf, "many digits": 10**400,
    "many digits below": -(10**400),
    "[]": [], "[1]": [1], "{}": {}, "list": {"__value__": [1, "x"]}, "dict": {"__value__": {"a": [1]}}, "''": "",
    "text": "\0\x1b[31m\u202e../../x", "long": LONG, "accents": "\u0301\u0327" * 300_000, "parents": "../" * 3000,
}  # fmt: skip


@pytest.fixture
def validate(models, monkeypatch):
    """Returns what ComfyUI's own validation says of one node's inputs."""
    import execution

    import nodes

    for node_id, node in NODES.items():
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node_id, node)

    def ask(node_id, **changes):
        defaults = {each.id: default_of(each) for each in NODES[node_id].define_schema().inputs}
        given = {name: value for name, value in {**defaults, **changes}.items() if value is not ABSENT}
        prompt = {"1": {"class_type": node_id, "inputs": given}}
        return asyncio.run(execution.validate_inputs("a", prompt, "1", {}))[:2]

    return ask


def default_of(each):
    if getattr(each, "default", None) is not None:
        return each.default
    return (each.options or ["none"])[0] if hasattr(each, "options") else ""


def test_a_class_has_the_name_of_its_id_by_which_a_recipe_finds_it():
    assert [node.__name__ for node in NODES.values()] == [node_id.removeprefix("Wan22Turbo_") for node_id in NODES]


@pytest.mark.parametrize("node_id", NODES)
def test_a_class_that_comfyui_has_cloned_and_locked_refuses_as_the_node_does(node_id):
    clone = shallow_clone_class(NODES[node_id])
    for name in ("SCHEMA", "_DESCRIPTION", "_CATEGORY"):  # as while nobody has asked for the schema
        setattr(clone, name, None)
    locked = lock_class(clone)
    needed = [each.id for each in locked.define_schema().inputs if not each.optional]
    with pytest.raises(ValueError, match=f"^{needed[0]} holds nothing. Give it a value."):
        ended(locked.execute(**dict.fromkeys(needed)))
    assert locked.SCHEMA is None


def ended(result):
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def test_every_node_has_the_door():
    for node in NODES.values():  # of the pack under the name that ComfyUI gives it
        assert any(base.__module__.endswith(".nodes.door") and base.__name__ == "Node" for base in node.__mro__)


@pytest.mark.parametrize(("node_id", "name"), INPUTS, ids=lambda value: value)
def test_no_value_of_a_prompt_ends_in_an_exception(validate, node_id, name):
    for kind, value in WRONG.items():
        _, errors = validate(node_id, **{name: value})
        assert not [error for error in errors if "traceback" in error["extra_info"]], kind
        ours = [str(error["details"]) for error in errors if error["type"] == "custom_validation_failed"]
        assert all(len(sentence) < 2000 for sentence in ours), kind


@pytest.mark.parametrize(("node_id", "name"), INPUTS, ids=lambda value: value)
def test_an_input_that_is_left_out_is_what_comfyui_says_of_it(validate, node_id, name):
    _, errors = validate(node_id, **{name: ABSENT})
    required = name not in {each.id for each in NODES[node_id].define_schema().inputs if each.optional}
    assert not [error for error in errors if "traceback" in error["extra_info"]]
    assert required == any(error["type"] == "required_input_missing" for error in errors)


@pytest.mark.parametrize(
    ("node_id", "name"),
    [(node_id, each.id) for node_id, node in NODES.items() for each in node.define_schema().inputs
     if each.get_io_type() == "FLOAT"],
    ids=".".join,
)  # fmt: skip
def test_nan_is_no_number_in_any_input(validate, node_id, name):
    valid, errors = validate(node_id, **{name: math.nan})
    assert not valid
    assert [error for error in errors if error["extra_info"]["input_name"] == name and "nan" in json.dumps(error)]


def test_the_least_value_is_a_number_to_everybody_else():
    least = sampling.boundary_input().min
    schema = sampling.ExpertGuider.define_schema()
    guarded = next(each for each in schema.inputs if each.id == "boundary").min
    assert guarded == least == 0.0
    assert json.dumps({"min": guarded}) == '{"min": 0.0}'
    assert not 0.0 < guarded < 0.0
    assert guarded > -1.0


@pytest.mark.parametrize(
    ("node_id", "changes", "sentence"),
    [
        ("Wan22Turbo_Loader", {"vae": 0}, "vae must be a text, got 0. Give it a text."),
        ("Wan22Turbo_Lora", {"lora_high": {"a": 1}}, "lora_high must be a text, got a dict of 1. Give it a text."),
        ("Wan22Turbo_Lora", {"lora_high": LONG}, "lora_high takes at most 4000 characters, got 200013. Shorten it."),
        ("Wan22Turbo_Lora", {"lora_low": "b/" * 1000}, "The name of a file has at most 400 characters, got 2000."),
        ("Wan22Turbo_Sampler", {"steps": 10**400}, "steps must be at most 100, got a number of very many digits."),
        (
            "Wan22Turbo_Sampler",
            {"sigma_max": -(10**400)},
            "sigma_max must be at least 1, got a number of very many digits.",
        ),
        ("Wan22Turbo_Sampler", {"shift": math.nan}, "shift must be a number, got nan. Give it a number."),
    ],
)
def test_the_sentence_names_rule_value_and_remedy(validate, node_id, changes, sentence):
    valid, errors = validate(node_id, **changes)
    assert not valid
    assert any(sentence in str(error["details"]) for error in errors)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"positive": 0}, "positive must come from another node, got 0. Connect it to the output of a node."),
        ({"positive": [[1, 2]]}, "positive must come from another node, got a list of 1."),
        ({"high": "a model"}, "high must come from another node, got 'a model'."),
        ({"latent": {"samples": 1}}, "latent must come from another node, got a dict of 1."),
        ({"boundary": math.nan}, "boundary must be a number, got nan. Give it a number."),
        ({"cfg": "1"}, "cfg must be a number, got '1'."),
        ({"steps": 101}, "steps must be at most 100, got 101. Choose a smaller number."),
        ({"steps": 0}, "steps must be at least 1, got 0. Choose a larger number."),
        ({"mode": 3}, "mode must be a text, got 3. Give it a text."),
        ({"schedule": None}, "schedule holds nothing. Give it a value."),
    ],
)
def test_what_a_link_or_a_prompt_brings_to_a_run_is_checked_before_the_work(high, low, changes, sentence):
    values = {"high": high, "low": low, "positive": conditioning(1), "latent": empty_latent(), "seed": 1, **SETTINGS}
    with pytest.raises(ValueError, match=r"\.") as caught:
        sampling.Sampler.execute(**{**values, **changes})
    assert str(caught.value).startswith(sentence)


def test_a_text_is_bounded_before_a_look_at_it(high, low):
    values = {"lora_high": "none", "lora_low": "none", "strength_high": 1.0, "strength_low": 1.0, "trigger_words": ""}
    with pytest.raises(ValueError, match=r"^prompt takes at most 100000 characters, got 100001\. Shorten it\.$"):
        lora.Lora.execute(high, low, **values, trigger_position="prepend", prompt="a" * 100_001)


def test_numbers_of_other_libraries_are_numbers(high, low):
    values = {"high": high, "low": low, "positive": conditioning(1), "latent": empty_latent(), "seed": 1, **SETTINGS}
    plain = sampling.Sampler.execute(**values)[0]["samples"]
    assert sampling.Sampler.execute(**{**values, "cfg": torch.tensor(1.0)})[0]["samples"].equal(plain)


class LazySound(Mapping):
    """Sound as Video Helper Suite passes it on: a mapping that is no dict, and reads its file when it is asked."""

    def __init__(self):
        self.parts = {"waveform": torch.zeros(1, 2, 100), "sample_rate": 44100}

    def __getitem__(self, key):
        return self.parts[key]

    def __iter__(self):
        return iter(self.parts)

    def __len__(self):
        return len(self.parts)


@pytest.mark.parametrize(
    ("value", "is_sound"), [(LazySound(), True), (LazySound().parts, True), ({"waveform": 1}, False)]
)
def test_sound_may_be_any_mapping_that_a_node_makes(value, is_sound):
    node = NODES["Wan22Turbo_SaveMp4"]
    audio = next(each for each in node.define_schema().inputs if each.id == "audio")
    assert (door.complaint(audio, value) is None) == is_sound


def test_a_node_without_inputs_that_nothing_needs_does_not_cost_the_clip():
    prompt = {
        "1": {"class_type": "Wan22Turbo_RcmSigmas", "inputs": {"steps": 4, "sigma_max": 200}},
        "2": {"class_type": "X"},
    }
    hidden = SimpleNamespace(prompt=prompt, extra_pnginfo=None)
    assert "Wan22Turbo_RcmSigmas" in metadata.notes("recipe", hidden, {})["recipe"]


def test_a_posted_graph_that_is_no_object_does_not_cost_the_clip(caplog):
    hidden = SimpleNamespace(prompt={}, extra_pnginfo=[1])
    assert metadata.notes("workflow", hidden, {}) == {}
    assert "what was posted in extra_pnginfo is no object" in caplog.text
