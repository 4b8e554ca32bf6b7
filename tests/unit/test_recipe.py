"""What a recipe tells, and what it keeps to itself."""

import json
from pathlib import Path

from pack.media.recipe import recipe

PROMPT = Path(__file__).parents[2] / "workflows" / "api" / "wan22_turbo_i2v.json"


def test_recipe_of_the_shipped_graph_tells_models_loras_seed_and_sizes():
    told = json.dumps(recipe(json.loads(PROMPT.read_text(encoding="utf-8"))))
    for fact in ("high_noise_14B", "HIGH-rCM6_0", '"strength_high": 1', '"seed": 0', '"steps": 4', '"tier": "720p"'):
        assert fact in told


def test_recipe_keeps_prompts_and_places_to_itself():
    prompt = {
        "1": {
            "class_type": "Wan22Turbo_Lora",
            "inputs": {"prompt": "secret", "trigger_words": "w", "lora_high": "none"},
        },
        "2": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"filename_prefix": "clients/smith", "crf": 18}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "secret"}},
    }
    assert recipe(prompt) == {"1 Wan22Turbo_Lora": {"lora_high": "none"}, "2 Wan22Turbo_SaveMp4": {"crf": 18}}


def test_recipe_names_files_without_their_folders():
    inputs = {"high_noise": "mine\\private\\a.safetensors", "low_noise": "mine/b.safetensors", "high": ["1", 0]}
    prompt = {"1": {"class_type": "Wan22Turbo_Loader", "inputs": inputs}}
    assert recipe(prompt) == {"1 Wan22Turbo_Loader": {"high_noise": "a.safetensors", "low_noise": "b.safetensors"}}


def test_a_value_with_a_colon_stays_whole():
    prompt = {"1": {"class_type": "Wan22Turbo_Resolution", "inputs": {"aspect": "9:16"}}}
    assert recipe(prompt) == {"1 Wan22Turbo_Resolution": {"aspect": "9:16"}}
