"""What ComfyUI says of a hosted prompt that breaks a rule, before anything is sent or paid."""

import json

import pytest
from comfy_server import ComfyServer
from pack.tests.toy.hosted_prompt import (
    HOSTED,
    LORA,
    MODELS,
    SPICY,
    TOKEN,
    add_lora,
    make_base,
    refused,
    run,
    shipped,
)

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "WaveSpeed: wan-9"}, "The hosted model must be one of WaveSpeed: wan-2.2/image-to-video, "),
        ({"seed": 2**31}, "A hosted model takes a seed of 0 to 2147483647, got 2147483648."),
        ({"seed": -1}, "A hosted model takes a seed of 0 to 2147483647, got -1."),
        ({"duration": 6}, "takes duration 5 or 8, got 6."),
        ({"resolution": "1080p"}, "takes resolution 480p or 720p, got 1080p."),
        ({"prompt": "  "}, "A hosted model needs a prompt, got none."),
        ({"model": SPICY}, "Whoever runs this ComfyUI can allow them by setting WAN22_TURBO_ALLOW_UNRESTRICTED=1."),
        ({"if_flagged": "maybe"}, "Value not in list"),
    ],
)
def test_bad_values_are_refused_before_the_run(changes, message, running, comfyui):
    status, answer = comfyui.post("/prompt", {"prompt": shipped(6, **changes)})
    assert status == 400
    assert message in json.dumps(answer["node_errors"])
    assert not running.providers[0].requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": f"file:///home/{TOKEN}"}, "got something else"),
        ({"url": LORA.replace("https", "http")}, "got one at http://civitai.com."),
        ({"url": ""}, "got nothing"),
        ({"scale": 9.0}, "A hosted LoRA takes a scale of 0 to 4, got 9."),
        ({"expert": "middle"}, "Value not in list"),
    ],
)
def test_a_bad_lora_is_refused_before_the_run(changes, message, comfyui):
    status, answer = comfyui.post("/prompt", {"prompt": add_lora(shipped(6), **changes)})
    assert status == 400
    told = json.dumps(answer["node_errors"])
    assert message in told
    assert f"token={TOKEN}" not in told


def test_four_loras_are_one_too_many(running, comfyui):
    prompt = add_lora(shipped(7))
    for node in range(21, 24):
        add_lora(prompt, str(node), before=str(node - 1))
    assert "A model takes 3 LoRAs in loras, got 4. Take some away." in refused(comfyui, prompt)
    assert not running.providers[0].requests


def test_a_hosted_model_takes_exactly_one_picture(running, comfyui):
    prompt = shipped(8)
    prompt["30"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["4", 0], "amount": 2}}
    prompt[HOSTED]["inputs"]["image"] = ["30", 0]
    assert "A hosted model takes one picture as image, got 2. Choose one of them." in refused(comfyui, prompt)
    prompt["30"] = {"class_type": "ImageFromBatch", "inputs": {"image": ["4", 0], "batch_index": 0, "length": 1}}
    run(comfyui, prompt)
    assert len(running.providers[0].jobs) == 1


def test_a_flagged_clip_is_not_saved_if_the_node_is_set_to_stop(running, comfyui):
    running.providers[0].flagged = True
    clips = len(list((comfyui.base / "output").rglob("*.mp4")))
    told = refused(comfyui, shipped(9, if_flagged="stop"))
    assert "flagged the content of job wavespeed-" in told
    assert len(list((comfyui.base / "output").rglob("*.mp4"))) == clips
    kept = run(comfyui, shipped(9))
    assert "Content flag of WaveSpeed: FLAGGED" in kept[HOSTED]["text"][0]
    assert len(running.providers[0].jobs) == 1


def test_without_a_key_the_variable_and_the_command_are_named(tmp_path):
    with ComfyServer(make_base(tmp_path / "no key"), environment=dict.fromkeys(keys(), "")) as server:
        for name, variable in zip(MODELS, keys(), strict=True):
            status, answer = server.post("/prompt", {"prompt": shipped(1, name)})
            assert status == 400
            told = json.dumps(answer["node_errors"])
            assert (
                f"sets the environment variable {variable}, or runs `python -m hosted.credentials set {name}`" in told
            )


def keys():
    return ("WAVESPEED_API_KEY", "ATLASCLOUD_API_KEY", "API302_KEY")


def test_a_comfyui_without_api_nodes_has_no_hosted_models(server):
    status, answer = server.post("/prompt", {"prompt": shipped(1)})
    assert status == 400
    assert "started with --disable-api-nodes, so hosted models are switched off" in json.dumps(answer["node_errors"])
