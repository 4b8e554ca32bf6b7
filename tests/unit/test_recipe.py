"""What a recipe tells, and what it keeps to itself."""

import json
from pathlib import Path

import pytest
from pack.media.recipe import model_files, recipe

PROMPT = Path(__file__).parents[2] / "workflows" / "api" / "wan22_turbo_i2v.json"


def nodes_of(prompt):
    told = recipe(prompt, {}, {})
    return {name: settings for name, settings in told.items() if name not in ("clip", "models")}


def test_recipe_of_the_shipped_graph_tells_models_loras_seed_and_sizes():
    prompt = json.loads(PROMPT.read_text(encoding="utf-8"))
    told = recipe(prompt, {name: [f"sha256:{n}"] for n, name in enumerate(model_files(prompt))}, {"width": 1280})
    text = json.dumps(told)
    for fact in ("high_noise_14B", "HIGH-rCM6_0", '"strength_high": 1', '"seed": 0', '"steps": 4', '"tier": "720p"'):
        assert fact in text
    assert '"motion": 1' in text
    assert told["clip"] == {"width": 1280}
    assert len(told["models"]) == 6
    assert set(told["models"].values()) == {f"sha256:{n}" for n in range(6)}
    assert "CLIPTextEncode" not in text


def test_recipe_keeps_prompts_and_places_to_itself():
    prompt = {
        "1": {
            "class_type": "Wan22Turbo_Lora",
            "inputs": {"prompt": "secret", "trigger_words": "w", "lora_high": "none"},
        },
        "2": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"filename_prefix": "clients/smith", "crf": 18}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "secret"}},
    }
    assert nodes_of(prompt) == {"1 Wan22Turbo_Lora": {"lora_high": "none"}, "2 Wan22Turbo_SaveMp4": {"crf": 18}}


def test_a_text_that_ends_as_a_model_file_does_is_told_under_no_heading():
    texts = {"prompt": "Jane throws it into the .bin", "negative_prompt": "x.pt", "filename_prefix": "clients/smith.pt"}
    prompt = {"1": {"class_type": "Wan22Turbo_Hosted", "inputs": {**texts, "url": "https://x.org/a.safetensors"}}}
    told = {"clip": {}, "models": {"a.safetensors": "unknown"}, "1 Wan22Turbo_Hosted": {"url": "a.safetensors"}}
    assert recipe(prompt, {}, {}) == told


def test_model_files_are_found_among_other_settings_of_a_value():
    inputs = {"lora_1": {"on": True, "lora": "a.safetensors", "more": [{"lora": "b.safetensors"}]}, "c": "c.gguf"}
    prompt = {"1": {"class_type": "Power Lora Loader", "inputs": {**inputs, "model": ["2", 0]}}}
    assert model_files(prompt) == ["a.safetensors", "b.safetensors", "c.gguf"]


@pytest.mark.parametrize("name", ["mine\\private\\a.safetensors", "mine/private/a.safetensors", "a.safetensors"])
def test_recipe_names_files_without_their_folders(name):
    inputs = {"high_noise": name, "low_noise": "mine/b.safetensors", "high": ["1", 0]}
    prompt = {"1": {"class_type": "Wan22Turbo_Loader", "inputs": inputs}}
    assert nodes_of(prompt) == {"1 Wan22Turbo_Loader": {"high_noise": "a.safetensors", "low_noise": "b.safetensors"}}
    told = recipe(prompt, {name: ["sha256:1"]}, {})["models"]
    assert told == {"a.safetensors": "sha256:1", "b.safetensors": "unknown"}


def test_a_value_with_a_colon_stays_whole():
    prompt = {"1": {"class_type": "Wan22Turbo_Resolution", "inputs": {"aspect": "9:16"}}}
    assert nodes_of(prompt) == {"1 Wan22Turbo_Resolution": {"aspect": "9:16"}}


def test_other_packs_loaders_are_told_with_their_numbers_and_without_their_texts():
    prompt = {
        "1": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "x/y.safetensors", "strength_model": 0.8, "note": "for smith", "model": ["2", 0]},
        },
        "2": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "wan-Q4.gguf"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 3}},
        "4": {"class_type": "Note", "inputs": {"text": "see\nfoo.safetensors"}},
    }
    assert nodes_of(prompt) == {
        "1 LoraLoaderModelOnly": {"lora_name": "y.safetensors", "strength_model": 0.8},
        "2 UnetLoaderGGUF": {"unet_name": "wan-Q4.gguf"},
    }
