"""The pack as ComfyUI meets it: registered, quiet at import, its graph offered as a template."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from pack.tests.toy import models as toy
from pack.tests.toy.runs import run
from safetensors.torch import save_file

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


def test_every_node_is_registered(server):
    known = json.loads((ROOT / "tests" / "data" / "schemas.json").read_text(encoding="utf-8"))
    assert sorted(name for name in server.get("/object_info") if name.startswith("Wan22Turbo_")) == sorted(known)


def test_the_server_starts_without_a_complaint_about_the_pack(server):
    log = server.log.read_text(encoding="utf-8", errors="replace")
    assert "IMPORT FAILED" not in log
    start, _, _ = log.partition("Starting server")  # what other tests ran afterwards may have complained
    assert [line for line in start.splitlines() if "another-name" in line and "seconds:" not in line] == []


def test_the_shipped_graphs_are_offered_as_templates(server):
    shipped = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    assert sorted(server.get("/workflow_templates")["another-name"]) == shipped


def test_translations_are_handed_to_the_frontend(server):
    served = server.get("/i18n")
    for path in sorted((ROOT / "locales").iterdir()):
        ours = json.loads((path / "nodeDefs.json").read_text(encoding="utf-8"))
        assert {name: served[path.name]["nodeDefs"][name] for name in ours} == ours
        assert served[path.name]["wan22Turbo"] == json.loads((path / "main.json").read_text("utf-8"))["wan22Turbo"]


def test_help_pages_and_their_pictures_are_served(server):
    docs = ROOT / "web" / "docs"
    for path in sorted(docs.rglob("*.*")):
        address = f"{server.address}/extensions/another-name/docs/{path.relative_to(docs).as_posix()}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == path.read_bytes()
            assert answer.headers.get_content_type() != "text/html"  # which the frontend takes for no page


def test_a_proxy_for_the_package_index_is_not_asked_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "system" in server.get("/system_stats")


def test_a_lora_of_its_own_words_gives_them_to_a_prompt_that_a_program_posts(server):
    name = "墨 ink.safetensors"
    save_file(toy.lora(8), server.base / "models" / "loras" / name, {"modelspec.trigger_phrase": "wtrclr (soft), 水墨"})
    files = {"high_noise": toy.HIGH, "low_noise": toy.LOW, "text_encoder": toy.TEXT_ENCODER, "vae": toy.VAE}
    chosen = {"lora_high": name, "lora_low": "auto", "strength_high": 1.0, "strength_low": 1.0, "trigger_words": ""}
    text = {"trigger_position": "append", "prompt": "A cat in soft light."}
    prompt = {
        "1": {"class_type": "Wan22Turbo_Loader", "inputs": {**files, "weight_dtype": "default"}},
        "2": {"class_type": "Wan22Turbo_Lora", "inputs": {"high": ["1", 0], "low": ["1", 1], **chosen, **text}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["2", 3]}},
    }
    outputs = run(server, prompt)
    assert outputs["3"]["text"] == [r"A cat in soft light. wtrclr \(soft\), 水墨"]
    assert outputs["4"]["text"] == [r"wtrclr \(soft\), 水墨"]


def test_the_route_tells_about_a_lora_and_of_no_other_file(server):
    route = "/wan22_turbo/lora"
    answer = server.get(f"{route}?name={urllib.parse.quote(toy.LORA_HIGH)}")
    assert (answer["expert"], answer["partner"], answer["rank"]) == ("high", toy.LORA_LOW, toy.RANK)
    for query, status, sentence in [
        ("", 400, "Name a LoRA file: /wan22_turbo/lora?name=FILE."),
        (f"?name=../diffusion_models/{toy.HIGH}", 404, f"'{toy.HIGH}' is not in ComfyUI's folder 'loras'."),
        ("?name=%2Fetc%2Fpasswd", 404, "'passwd' is not in ComfyUI's folder 'loras'."),
    ]:
        with pytest.raises(urllib.error.HTTPError) as error:
            server.get(route + query)
        assert error.value.code == status
        assert json.load(error.value)["error"].startswith(sentence)


def test_the_frontend_is_told_what_a_run_will_do(server):
    plan = "steps=4&schedule=rcm&sigma_max=200&shift=5&boundary=0.9"
    assert server.get(f"/wan22_turbo/plan?{plan}") == {"text": "2 high + 2 low | .9950 .9338 | .8529 .6090"}
    fit = server.get("/wan22_turbo/fit?width=451&height=300&tier=240p&aspect=image&fit=crop")
    assert fit["text"].startswith("451x300 -> 384x256 ")
    assert server.get(f"/wan22_turbo/loras?lora_high={toy.LORA_HIGH}&lora_low=auto")["trigger_words"] == []
    assert server.get(f"/wan22_turbo/model?input=vae&name=other/{toy.VAE}")["file"] == toy.VAE
    label = urllib.parse.quote("WaveSpeed: wan-2.2/image-to-video")
    hosted = server.get(f"/wan22_turbo/hosted?model={label}&resolution=480p&duration=5")
    assert hosted["refused"]
    assert "started with --disable-api-nodes" in hosted["text"]
    for query in ("plan", "fit?width=1", "model?input=checkpoints&name=x"):
        with pytest.raises(urllib.error.HTTPError) as error:
            server.get(f"/wan22_turbo/{query}")
        assert error.value.code == 400
        assert json.load(error.value)["error"]
