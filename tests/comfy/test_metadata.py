"""Recipes of real graphs on a machine that has the models."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pack.nodes.lora
import pack.nodes.sampling  # noqa: F401  # nodes that tell more than their inputs
import pytest
from pack.nodes.metadata import find_models, notes
from pack.tests.toy import models as toy
from pack.tests.toy.models import HIGH, LORA_HIGH, LORA_LOW

pytestmark = pytest.mark.comfy

PROMPT = Path(__file__).parents[2] / "workflows" / "api" / "wan22_turbo_i2v.json"


def recipe_of(prompt):
    hidden = SimpleNamespace(prompt=prompt, extra_pnginfo={"workflow": {"nodes": []}})
    told = notes("recipe", hidden, {"width": 1280, "height": 720})
    assert list(told) == ["recipe"]
    return json.loads(told["recipe"])


@pytest.fixture
def prompt():
    return json.loads(PROMPT.read_text(encoding="utf-8"))


def test_the_shipped_graphs_models_are_told_by_name_and_hash(models, prompt):
    told = recipe_of(prompt)
    assert len(told["models"]) == 6
    lora = (models / "loras" / LORA_HIGH).read_bytes()
    assert told["models"][LORA_HIGH] == "sha256:" + hashlib.sha256(lora).hexdigest()
    assert all(value.startswith("sha256:") for value in told["models"].values())


def test_sigmas_and_sizes_are_told(models, prompt):
    told = recipe_of(prompt)
    assert told["7 Wan22Turbo_Sampler"]["sigmas"] == [0.995, 0.9338, 0.8529, 0.609, 0.0]
    assert told["7 Wan22Turbo_Sampler"]["seed"] == 0
    assert told["clip"] == {"width": 1280, "height": 720}


def test_no_text_of_a_person_and_no_place_is_told(models, prompt):
    prompt["2"]["inputs"]["trigger_words"] = "my secret"
    prompt["9"]["inputs"]["filename_prefix"] = "clients/smith"
    text = json.dumps(recipe_of(prompt))
    for private in ("camera", "secret", "clients", "smith", str(models), "/", "\\\\"):
        assert private not in text, private


def test_auto_is_told_as_the_file_that_it_found(models, prompt):
    prompt["2"]["inputs"]["lora_low"] = "auto"
    told = recipe_of(prompt)
    assert told["2 Wan22Turbo_Lora"]["lora_low"] == LORA_LOW
    assert told["models"][LORA_LOW].startswith("sha256:")


def test_linked_settings_and_missing_files_do_no_harm(models, prompt):
    prompt["7"]["inputs"]["steps"] = ["1", 0]
    prompt["1"]["inputs"]["vae"] = "nowhere.safetensors"
    prompt["2"]["inputs"]["lora_high"] = ["4", 0]
    told = recipe_of(prompt)
    assert "sigmas" not in told["7 Wan22Turbo_Sampler"]
    assert told["models"]["nowhere.safetensors"] == "unknown"


def test_a_sampler_that_comfyui_has_not_checked_is_not_spelled_out(models, prompt):
    """As no output needs it, it may have a billion steps."""
    inputs = {**prompt["7"]["inputs"], "schedule": "shifted"}
    for node_id, steps in (("70", 100), ("71", 101), ("72", 10**9)):
        prompt[node_id] = {"class_type": "Wan22Turbo_Sampler", "inputs": {**inputs, "steps": steps}}
        told = recipe_of(prompt)[f"{node_id} Wan22Turbo_Sampler"]
        assert ("sigmas" in told) == (steps == 100)


@pytest.mark.parametrize("name", [HIGH, f"wan\\{HIGH}", f"somebody/else/{HIGH}"])
def test_files_are_found_by_names_of_other_machines(models, name):
    assert find_models(name) == [models / "diffusion_models" / HIGH]


def sha256(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_files_of_one_name_are_told_by_both_hashes(models, add_lora, prompt):
    """A pair in mirrored folders, as `auto` finds it."""
    pair = [add_lora(f"{expert}/style.safetensors", toy.lora(seed)) for seed, expert in enumerate(("high", "low"))]
    prompt["2"]["inputs"] |= {"lora_high": pair[0], "lora_low": "auto"}
    assert recipe_of(prompt)["models"]["style.safetensors"] == [sha256(models / "loras" / name) for name in pair]


@pytest.mark.parametrize("place", ["v9.safetensors", "wan/v9.safetensors"])
def test_a_file_of_this_packs_node_is_told_by_its_own_hash(models, add_file, prompt, place):
    """Whatever files of that name lie in other folders: this pack's nodes know in which they look."""
    for seed, folder in enumerate(("checkpoints", "loras")):
        add_file(folder, "v9.safetensors", toy.lora(seed))
    add_file("vae", place, toy.lora(2))
    prompt["1"]["inputs"]["vae"] = "v9.safetensors"
    assert recipe_of(prompt)["models"]["v9.safetensors"] == sha256(models / "vae" / place)


def test_a_name_of_another_machine_is_told_by_the_file_of_each_expert(models, add_lora, prompt):
    pair = [add_lora(f"{expert}/style.safetensors", toy.lora(seed)) for seed, expert in enumerate(("high", "low"))]
    prompt["2"]["inputs"] |= dict.fromkeys(("lora_high", "lora_low"), "somebody/style.safetensors")
    assert set(recipe_of(prompt)["models"]["style.safetensors"]) == {sha256(models / "loras" / name) for name in pair}


@pytest.mark.parametrize("place", ["v9.safetensors", "wan/v9.safetensors"])
def test_a_file_that_another_packs_node_names_is_told_by_all_that_it_may_be(models, add_file, prompt, place):
    """Nobody knows where that node looks, and files of Hugging Face have one name in several folders."""
    paths = [models / "checkpoints" / "v9.safetensors", models / "vae" / place]
    for seed, path in enumerate(paths):
        folder, name = path.relative_to(models).as_posix().split("/", 1)
        add_file(folder, name, toy.lora(seed))
    prompt["20"] = {"class_type": "SomebodysLoader", "inputs": {"file": "v9.safetensors"}}
    assert set(recipe_of(prompt)["models"]["v9.safetensors"]) == set(map(sha256, paths))


def test_the_global_switch_is_above_all(monkeypatch, prompt):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_metadata", True)
    hidden = SimpleNamespace(prompt=prompt, extra_pnginfo=None)
    assert [notes(level, hidden, {}) for level in ("workflow", "recipe", "none")] == [{}, {}, {}]
