"""What the frontend is told while a graph is edited: the very words of the nodes, and nothing that is secret."""

import asyncio
import errno
import json
import urllib.parse

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from comfy_api.latest import io
from pack.hosted.providers import PRICES_OF
from pack.nodes import hosted as hosted_node
from pack.nodes import panel_routes
from pack.samplers import routing, schedules
from pack.tests.comfy.test_contract import NODES
from pack.tests.toy import models as toy
from pack.weights.formats import model_file

pytestmark = pytest.mark.comfy

PLAN = {"steps": "4", "schedule": "rcm", "sigma_max": "200", "shift": "5", "boundary": "0.9"}
FIT = {"width": "1000", "height": "1000", "tier": "720p", "aspect": "16:9", "fit": "crop"}
HOSTED = {"model": "WaveSpeed: wan-2.2/image-to-video", "resolution": "720p", "duration": "8"}
KEY = "wavespeed-secret-5"


@pytest.fixture
def add_lora(models, add_file):
    return lambda name, state, metadata=None: add_file("loras", name, state, metadata)


@pytest.fixture
def with_api_nodes(monkeypatch, tmp_path):
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_api_nodes", False)
    monkeypatch.setattr(hosted_node, "private_folder", lambda: tmp_path)
    monkeypatch.delenv("WAVESPEED_API_KEY", raising=False)


def ask(path, query):
    """Returns status and JSON of a handler."""
    request = make_mocked_request("GET", f"/?{urllib.parse.urlencode(query)}")
    answer = asyncio.run(panel_routes.HANDLERS[f"/wan22_turbo/{path}"](request))
    return answer.status, json.loads(answer.body)


def answer_of(path, query):
    """Returns the answer of a handler to a question that the frontend may ask."""
    status, answer = ask(path, query)
    assert status == 200
    return answer


@pytest.mark.parametrize(("schedule", "steps"), [("rcm", 4), ("rcm", 8), ("lightning", 4), ("shifted", 20)])
def test_the_plan_is_that_of_the_sampler(schedule, steps):
    sigmas = schedules.schedule_sigmas(schedule, steps).tolist()
    assert answer_of("plan", {**PLAN, "schedule": schedule, "steps": str(steps)}) == {"text": routing.plan(sigmas)}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": "9"}, "rCM takes 1 to 8 steps, got 9."),
        ({"steps": "0"}, "steps must be at least 1, got 0."),
        ({"steps": "101", "schedule": "shifted"}, "steps must be at most 100, got 101."),
        ({"sigma_max": "3"}, "sigma_max must be above 14.1 for the noise to fall at each step, got 3."),
        ({"schedule": "karras"}, f"The schedule must be one of {', '.join(schedules.SCHEDULES)}, got 'karras'."),
    ],
)
def test_values_that_the_sampler_refuses_are_a_sentence(changes, sentence):
    answer = answer_of("plan", {**PLAN, **changes})
    assert answer["refused"]
    assert answer["text"].startswith(sentence)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "steps is missing in the question. Add &steps=VALUE."),
        ({**PLAN, "steps": "four"}, "steps must be a number, got 'four'."),
        ({**PLAN, "steps": "4.5"}, "steps must be a whole number from 0 to 9007199254740992, got '4.5'."),
        ({**PLAN, "steps": "9" * 5000}, "steps takes at most 4000 characters, got 5000. Shorten it."),
        ({**PLAN, "shift": "nan"}, "shift must be a number, got 'nan'."),
        ({**PLAN, "schedule": "a/" * 4000}, "schedule takes at most 4000 characters, got 8000. Shorten it."),
    ],
)
def test_what_the_frontend_never_asks_is_an_error(query, sentence):
    assert ask("plan", query) == (400, {"error": sentence})


def test_the_size_and_crop_are_those_of_the_node():
    assert answer_of("fit", FIT) == {
        "text": "1000x1000 -> 1280x720 (720p)\nCropped 44 % off: top and bottom.\nEnlarged 1.28 times."
    }
    assert answer_of("fit", {**FIT, "width": "10"})["text"].startswith(
        "Picture is 10x1000; its shorter side needs at least 32"
    )
    assert answer_of("fit", {**FIT, "fit": "melt"}) == {
        "text": "Fit is one of crop, pad, stretch, got 'melt'.",
        "refused": True,
    }
    assert ask("fit", {**FIT, "width": "-1"})[0] == 400


def test_a_pair_of_loras_is_described(add_lora):
    metadata = {"modelspec.trigger_phrase": "wtrclr (soft)", "ss_base_model_version": "wan22_14b"}
    add_lora("style_high_noise.safetensors", toy.lora(8), metadata)
    add_lora("style_low_noise.safetensors", toy.lora(9))
    answer = answer_of("loras", {"lora_high": "style_high_noise.safetensors", "lora_low": "auto"})
    assert answer["trigger_words"] == [r"wtrclr \(soft\)"]
    assert answer["text"].splitlines()[0] == "high: style_high_noise.safetensors"
    assert answer["text"].splitlines()[1] == "  rank 4, made for wan22_14b, named for the high-noise expert"
    assert answer["text"].splitlines()[2] == "low: style_low_noise.safetensors (auto: paired by name)"
    assert answer["text"].splitlines()[-1] == r"Trigger words: wtrclr \(soft\)"


def test_swapped_absent_and_no_loras(add_lora):
    add_lora("style_low_noise.safetensors", toy.lora(9))
    swapped = answer_of("loras", {"lora_high": "style_low_noise.safetensors", "lora_low": "none"})
    assert "Check that the two files are not swapped." in swapped["text"]
    assert answer_of("loras", {"lora_high": "none", "lora_low": "auto"}) == {
        "text": "No LoRA is chosen.",
        "trigger_words": [],
    }
    assert swapped["text"].endswith("\nTrigger words: the files name none")
    absent = answer_of("loras", {"lora_high": "../../absent.safetensors", "lora_low": "auto"})
    assert absent["refused"]
    assert absent["text"].startswith("lora_high: 'absent.safetensors' is not in ComfyUI's folder 'loras'.")
    both = answer_of("loras", {"lora_high": "a.safetensors", "lora_low": "b.safetensors"})
    assert "lora_high: 'a.safetensors' is not" in both["text"]
    assert "lora_low: 'b.safetensors' is not" in both["text"]


def test_a_lora_that_cannot_be_read_is_a_sentence(add_lora, monkeypatch):
    add_lora("style.safetensors", toy.lora(8))

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(model_file, "open_file", refuse)
    sentence = "'style.safetensors' cannot be read: Permission denied. Check disk and permissions."
    status, answer = ask("loras", {"lora_high": "style.safetensors", "lora_low": "none"})
    assert (status, answer) == (200, {"text": sentence, "refused": True})
    answer = asyncio.run(panel_routes.answer_lora(make_mocked_request("GET", "/?name=style.safetensors")))
    assert (answer.status, json.loads(answer.body)) == (404, {"error": sentence})


def test_the_words_that_a_click_fills_in_are_the_words_that_the_file_would_give(add_lora):
    add_lora("style.safetensors", toy.lora(8), {"modelspec.trigger_phrase": "a (b), c:1.2, d"})
    words = answer_of("loras", {"lora_high": "style.safetensors", "lora_low": "none"})["trigger_words"]
    from pack.nodes import lora

    files = [lora.open_lora("style.safetensors")]
    assert lora.words_of(files, ", ".join(words)) == lora.words_of(files, "")


def test_the_price_is_estimated_and_a_missing_key_named(with_api_nodes):
    answer = answer_of("hosted", HOSTED)
    assert answer["text"].startswith(f"About $0.48, prices of {PRICES_OF}\nWaveSpeed needs an API key, and")
    assert "variable WAVESPEED_API_KEY, or runs `python -m hosted.credentials set wavespeed`" in answer["text"]
    assert set(answer) == {"text", "refused", "usd"}
    assert answer["usd"] == 0.48


def test_a_key_is_a_yes_and_no_part_of_it_is_answered(with_api_nodes, monkeypatch):
    monkeypatch.setenv("WAVESPEED_API_KEY", KEY)
    answer = answer_of("hosted", HOSTED)
    assert answer == {"text": f"About $0.48, prices of {PRICES_OF}\nThere is a key for WaveSpeed.", "usd": 0.48}
    assert not any(KEY[start : start + 4] in json.dumps(answer) for start in range(9, len(KEY) - 3))
    monkeypatch.setenv("WAVESPEED_API_KEY", "not one word " + KEY)
    answer = answer_of("hosted", HOSTED)
    assert answer["refused"]
    assert KEY not in json.dumps(answer)


def test_a_model_that_is_switched_off_or_does_not_take_the_size_is_a_sentence(with_api_nodes, monkeypatch):
    assert "takes resolution 480p or 720p, got 1080p" in answer_of("hosted", {**HOSTED, "resolution": "1080p"})["text"]
    assert answer_of("hosted", {**HOSTED, "model": "nobody: nothing"})["refused"]
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_api_nodes", True)
    assert "hosted models are switched off" in answer_of("hosted", HOSTED)["text"]


@pytest.mark.parametrize(
    ("slot", "name", "file"),
    [
        ("high_noise", f"Wan\\2.2\\{toy.HIGH}", toy.HIGH),
        ("high_noise", toy.HIGH.upper(), toy.HIGH),
        ("high_noise", "../" + toy.HIGH, toy.HIGH),
        ("lora_low", f"video/{toy.LORA_LOW}", toy.LORA_LOW),
        ("high_noise", "wan2.2_i2v_high_noise_absent.safetensors", None),
        ("vae", toy.HIGH, None),
    ],
)
def test_a_name_of_a_foreign_graph_is_matched_in_its_own_folder(models, slot, name, file):
    assert answer_of("model", {"input": slot, "name": name})["file"] == file


def test_a_name_longer_than_any_files_is_refused_before_a_look_at_it(models):
    long = "a/" * 1000 + "x.safetensors"
    refused = {
        "refused": True,
        "text": "The name of a file has at most 400 characters, got 2013. Choose a file of 'vae'.",
    }
    assert answer_of("model", {"input": "vae", "name": long}) == {**refused, "file": None}
    assert answer_of("loras", {"lora_high": long, "lora_low": "auto"})["text"].startswith(
        "lora_high: The name of a file has"
    )
    answer = asyncio.run(panel_routes.answer_lora(make_mocked_request("GET", f"/?name={long}")))
    assert answer.status == 404


def test_no_other_folder_is_looked_into(models):
    status, answer = ask("model", {"input": "checkpoints", "name": "x"})
    assert status == 400
    assert answer["error"].startswith("input must be one of high_noise, low_noise,")


def test_the_frontend_is_told_of_nodes_what_their_schemas_do_not_say():
    told = ask("nodes", {})[1]
    plan = {"route": "plan", "lines": 2, "fills": None}
    assert told["Wan22Turbo_Sampler"] == {
        "preview": {**plan, "reads": ["steps", "schedule", "sigma_max", "shift", "boundary"]}
    }
    assert told["Wan22Turbo_Resolution"]["preview"]["reads"] == ["tier", "aspect", "fit"]
    assert told["Wan22Turbo_Resolution"]["preview"]["picture"] == "image"
    assert told["Wan22Turbo_Lora"]["preview"]["fills"] == "trigger_words"
    assert told["Wan22Turbo_Lora"]["bypassed"] == [
        {"input": "high"},
        {"input": "low"},
        {"input": "prompt"},
        {"text": ""},
        {"report": True},
    ]
    assert told["Wan22Turbo_Hosted"]["bypassed"] == [{}, {"report": True}]


@pytest.mark.parametrize("node_id", NODES)
def test_what_is_told_of_a_node_is_in_its_schema(node_id):
    told = ask("nodes", {})[1].get(node_id, {})
    schema = NODES[node_id].GET_SCHEMA()
    widgets = [each.id for each in schema.inputs if isinstance(each, io.WidgetInput)]
    assert told.get("models", []) == widgets[: len(told.get("models", []))]
    assert len(told.get("bypassed", schema.outputs)) == len(schema.outputs)
    preview = told.get("preview", {"reads": [], "fills": None})
    assert {*preview["reads"], *filter(None, [preview["fills"]])} <= set(widgets)


def test_a_second_copy_of_the_pack_does_not_break_the_start(monkeypatch):
    table = web.RouteTableDef()

    class Server:
        routes = table

    monkeypatch.setattr(panel_routes.PromptServer, "instance", Server, raising=False)
    panel_routes.add_routes()
    panel_routes.add_routes()
    web.Application().add_routes(table)
    paths = [route.path for route in table]
    assert sorted(paths) == sorted(set(paths))
    assert set(paths) == {
        f"/wan22_turbo/{name}" for name in ("plan", "fit", "loras", "hosted", "model", "nodes", "lora")
    }
