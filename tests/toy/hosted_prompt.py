"""The shipped hosted prompt, with changes, and what comes of it in a running ComfyUI."""

import json
from pathlib import Path

import pytest
from comfy_server import place_photograph
from pack.client import ClientError
from pack.tests.toy.runs import run

PROMPT_FILE = Path(__file__).parents[2] / "workflows" / "api" / "wan22_hosted_i2v.json"
GRAPH_FILE = PROMPT_FILE.parents[1] / PROMPT_FILE.name
MODELS = {
    "wavespeed": "WaveSpeed: wan-2.2/image-to-video-lora",
    "atlascloud": "AtlasCloud: wan-2.2/image-to-video-lora",
    "api302": "302.AI: wan-2.2/image-to-video-lora",
}
SPICY = "AtlasCloud: wan-2.2-turbo-spicy/image-to-video-lora (unrestricted)"
TOKEN = "civitai-secret-1"  # of a LoRA's address
LORA = f"https://civitai.com/api/download/models/7?type=Model&token={TOKEN}"
JOBS = 6
HOSTED, SAVE = "7", "9"  # in the shipped graph


def make_base(base):
    """A base directory with a photograph in its input folder."""
    place_photograph(base / "input")
    return base


def shipped(seed_, model="wavespeed", **changes):
    """Returns the shipped prompt for another provider and seed; equal ones would answer from ComfyUI's cache."""
    prompt = json.loads(PROMPT_FILE.read_text(encoding="utf-8"))
    prompt[HOSTED]["inputs"].update({"model": MODELS.get(model, model), "seed": seed_, **changes})
    return prompt


def add_lora(prompt, node="20", before=None, **changes):
    inputs = {"url": LORA, "scale": 0.8, "expert": "both", "trigger_words": "", **changes}
    prompt[node] = {"class_type": "Wan22Turbo_HostedLora", "inputs": inputs, "_meta": {"title": "Hosted LoRA"}}
    if before:
        inputs["loras"] = [before, 0]
    prompt[HOSTED]["inputs"]["loras"] = [node, 0]
    return prompt


def saved(server, outputs):
    (file,) = outputs[SAVE]["images"]
    return server.base / "output" / file["subfolder"] / file["filename"]


def refused(server, prompt):
    """Returns why a prompt does not run: ComfyUI refuses it, or a node of it fails."""
    with pytest.raises(ClientError) as error:
        run(server, prompt)
    return str(error.value)
