"""What the nodes show while a graph is edited, in both ways that the frontend draws nodes; driven as a person would."""

import copy
import json
from pathlib import Path

import pytest
from comfy_server import ComfyServer, tiny_models
from pack.tests.toy import models as toy
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPHS = ROOT / "workflows"
LOCAL, HOSTED = "wan22_turbo_i2v", "wan22_hosted_i2v"
PICTURES = ROOT / "output" / "screenshots"
KEY = "wavespeed-secret-5"
STYLE = "style_high_noise.safetensors"
ROTATE = 0x0112  # EXIF: orientation

TEXT = """type => app.graph.nodes.find(node => node.type === type)?.widgets
    .find(widget => widget.name === 'wan22_turbo_report')?.value ?? ''"""
POSTED = "async () => (await app.graphToPrompt()).output"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A ComfyUI that may use hosted models, with a key for one of them, a pair of LoRAs and two pictures."""
    base = tmp_path_factory.mktemp("widgets")
    tiny_models(base / "models")
    metadata = {"modelspec.trigger_phrase": "wtrclr (soft)", "ss_base_model_version": "wan22_14b"}
    for seed, name in enumerate((STYLE, STYLE.replace("high", "low"))):
        save_file(toy.lora(seed), base / "models" / "loras" / name, metadata)
    (base / "input").mkdir()
    Image.new("RGB", (451, 300), "teal").save(base / "input" / "example.png")
    exif = Image.Exif()
    exif[ROTATE] = 6  # a phone held upright
    Image.new("RGB", (640, 480), "teal").save(base / "input" / "upright.jpg", exif=exif)
    with ComfyServer(base, folder="another-name", environment={"WAVESPEED_API_KEY": KEY}) as running:
        yield running


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes_2"])
def tab(browser, server, request):
    """One page for all tests of a mode."""
    for name, value in {
        "Comfy.TutorialCompleted": True,
        "Comfy.Minimap.Visible": False,
        "Comfy.VueNodes.Enabled": request.param,
    }.items():
        server.set_setting(name, value)
    tab = browser.new_page(viewport={"width": 1900, "height": 1000})
    tab.nodes_2, tab.errors, tab.said = request.param, [], []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda message: tab.said.append(message.text))
    tab.goto(server.address)
    tab.wait_for_function("() => window.app?.graph && LiteGraph.registered_node_types['Wan22Turbo_Lora']")
    tab.wait_for_timeout(1000)
    yield tab
    tab.close()


def shipped(name=LOCAL):
    return json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))


def twin(name=LOCAL):
    return json.loads((GRAPHS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def load(tab, graph):
    tab.evaluate("async graph => { await app.loadGraphData(graph); }", graph)
    tab.wait_for_timeout(400)


def wait_for_text(tab, node, part):
    tab.wait_for_function(f"([type, part]) => ({TEXT})(type).includes(part)", arg=[node, part], timeout=5000)


def look_at(tab, node):
    tab.evaluate(
        """type => { const node = app.graph.nodes.find(node => node.type === type);
        app.canvas.ds.scale = 1; app.canvas.ds.offset = [300 - node.pos[0], 150 - node.pos[1]];
        app.canvas.setDirty(true, true); }""",
        node,
    )
    tab.wait_for_timeout(400)


def picture(tab, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=PICTURES / f"widgets_{name}_{'nodes_2' if tab.nodes_2 else 'classic'}.png")


def test_explore(tab):
    load(tab, shipped())
    look_at(tab, "Wan22Turbo_Sampler")
    tab.wait_for_timeout(1000)
    picture(tab, "sampler")
    print(tab.evaluate(TEXT, "Wan22Turbo_Sampler"))
    print(tab.evaluate(TEXT, "Wan22Turbo_Resolution"))
    print(tab.evaluate(TEXT, "Wan22Turbo_Lora"))
    look_at(tab, "Wan22Turbo_Lora")
    tab.wait_for_timeout(500)
    picture(tab, "lora")
    if tab.nodes_2:
        print(tab.evaluate("() => document.querySelector('[data-node-id=\"7\"]').outerHTML")[:60000])
    load(tab, shipped(HOSTED))
    look_at(tab, "Wan22Turbo_Hosted")
    tab.wait_for_timeout(1000)
    print(tab.evaluate(TEXT, "Wan22Turbo_Hosted"))
    picture(tab, "hosted")
    print(tab.errors, tab.said)
