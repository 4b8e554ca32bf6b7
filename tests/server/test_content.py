"""What a program hears over the API of ComfyUI when the operator's filter refuses, hosted and local alike."""

import json
import shutil

import pytest
from comfy_server import ComfyServer, place_photograph
from pack.tests.toy.hosted_prompt import PROMPT_FILE, refused, shipped
from websockets.sync.client import connect

pytestmark = pytest.mark.server

TEXT = 3  # the kind of a message with words for a node
LOCAL = PROMPT_FILE.parent / "wan22_turbo_i2v.json"
SAYS = "refuses: the text holds 'forbiddenite', which is on the list of words."


def test_the_reason_is_told_and_nothing_is_paid_or_sampled(running, toy_models, tmp_path):
    place_photograph(tmp_path / "input", crop=(0, 120, 451, 180))
    shutil.copytree(toy_models, tmp_path / "models")
    (tmp_path / "words.txt").write_text("forbiddenite\n", encoding="utf-8")
    variables = {**running.environment(), "WAN22_TURBO_FILTER_WORDS": str(tmp_path / "words.txt")}
    with ComfyServer(tmp_path, environment=variables) as server:
        hosted = refused(server, shipped(1, prompt="A f\u043erbiddenite stone glows."))
        assert f"{SAYS} Nothing was sent or paid. Change the prompt or the picture." in hosted
        assert len(running.providers[0].requests) == 0
        local = refused(server, in_two_nodes("A forbid", "denite stone glows."))
        assert f"{SAYS} Nothing was sampled. Change the prompt or the picture." in local
        assert "rCM Sampler" in local
        assert told_on_the_node(server, "7", in_two_nodes("A forbid", "denite stone falls.")).endswith(
            f"{SAYS} Nothing was sampled. Change the prompt or the picture."
        )
    assert not list((tmp_path / "output").rglob("*.*"))


def told_on_the_node(server, node, prompt):
    """Runs a prompt as the frontend does, and returns the last text that stands on a node when it has failed."""
    text = ""
    with connect(f"ws{server.address.removeprefix('http')}/ws?clientId=me", max_size=None) as socket:
        server.post("/prompt", {"prompt": prompt, "client_id": "me"})
        while True:
            message = socket.recv(timeout=120)
            if isinstance(message, str):
                if json.loads(message)["type"] == "execution_error":
                    return text
                assert json.loads(message)["type"] != "execution_success"
            elif int.from_bytes(message[:4], "big") == TEXT:
                end = 8 + int.from_bytes(message[4:8], "big")
                text = message[end:].decode() if message[8:end].decode() == node else text


def in_two_nodes(one, other):
    """Returns the shipped local prompt, small, whose text is put together while it runs: it stands in no node."""
    prompt = json.loads(LOCAL.read_text(encoding="utf-8"))
    joined = {"string_a": one, "string_b": other, "delimiter": ""}
    prompt["20"] = {"class_type": "StringConcatenate", "inputs": joined, "_meta": {"title": "Two texts"}}
    prompt["2"]["inputs"]["prompt"] = ["20", 0]
    prompt["5"]["inputs"]["tier"] = "240p"
    prompt["6"]["inputs"]["seconds"] = 0.25
    return prompt
