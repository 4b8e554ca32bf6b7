"""A ComfyUI whose nodes have something to show, and its frontend in both ways that it draws nodes."""

import shutil
from contextlib import ExitStack

import pytest
from comfy_server import ComfyServer
from find_browser import frontend, settle
from pack.tests.browser.conftest import launched
from pack.tests.browser.hands import complaints
from pack.tests.toy import models as toy
from PIL import Image
from safetensors.torch import save_file

KEY = "wavespeed-secret-5"
STYLE = "style_high_noise.safetensors"
NARROW = "narrow.png"  # at 240p it has a fifth of the pixels, so that a run is quick
ROTATE = 0x0112  # EXIF: orientation


@pytest.fixture(scope="session")
def server(toy_models, tmp_path_factory):
    """A ComfyUI that may use hosted models, with a key for one of them, a pair of LoRAs and three pictures."""
    base = tmp_path_factory.mktemp("widgets")
    shutil.copytree(toy_models, base / "models")
    metadata = {"modelspec.trigger_phrase": "wtrclr (soft)", "ss_base_model_version": "wan22_14b"}
    for seed, name in enumerate((STYLE, STYLE.replace("high", "low"))):
        save_file(toy.lora(seed, rank=64), base / "models" / "loras" / name, metadata)
    (base / "input").mkdir()
    Image.new("RGB", (451, 300), "teal").save(base / "input" / "example.png")
    Image.new("RGB", (451, 60), "teal").save(base / "input" / NARROW)
    exif = Image.Exif()
    exif[ROTATE] = 6  # a phone held upright
    Image.new("RGB", (640, 480), "teal").save(base / "input" / "upright.jpg", exif=exif)
    with ComfyServer(base, folder="another-name", environment={"WAVESPEED_API_KEY": KEY}) as running:
        yield running


@pytest.fixture(scope="package")
def tabs(server):
    """The frontend in both ways that it draws nodes, in pages for all files: opening one takes as long as a file."""
    with launched() as browser, ExitStack() as pages:
        found = {}
        for nodes_2 in (False, True):
            server.set_setting("Comfy.VueNodes.Enabled", nodes_2)  # read when a page is opened
            found[nodes_2] = pages.enter_context(frontend(browser, server, listen))
            found[nodes_2].nodes_2 = nodes_2
            settle(found[nodes_2])
        yield found


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes_2"])
def tab(tabs, request):
    """One of them, in front of the other. Its console hears nothing of this pack."""
    tab = tabs[request.param]
    tab.bring_to_front()
    tab.errors.clear()
    yield tab
    assert complaints(tab) == []


def listen(tab):
    """Collects a page's errors and what its console is told."""
    tab.errors, tab.said = [], []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda message: tab.said.append(message.text))
