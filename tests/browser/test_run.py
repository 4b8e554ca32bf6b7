"""The shipped graph, run from ComfyUI's own frontend: what a person sees meanwhile and afterwards."""

import json
from pathlib import Path

import pytest
from comfy_server import PICTURE, place_photograph
from find_browser import frontend, settle
from pack.tests.browser.conftest import listen
from pack.tests.browser.hands import set_value

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPH = ROOT / "workflows" / "wan22_turbo_i2v.json"
PICTURES = ROOT / "output" / "screenshots"

WATCH = """() => {
    window.seen = {previews: [], texts: [], values: [], ended: null};
    const api = app.api;
    const keep = async blob => {
        const bytes = new Uint8Array(await blob.arrayBuffer());
        const text = Array.from(bytes.slice(0, 4000), byte => String.fromCharCode(byte)).join('');
        window.seen.previews.push({type: blob.type, text});
    };
    api.addEventListener('b_preview', e => keep(e.detail));
    api.addEventListener('progress_text', e => window.seen.texts.push([String(e.detail.nodeId), e.detail.text]));
    api.addEventListener('progress', e => {
        window.seen.values.push([String(e.detail.node), e.detail.value, e.detail.max]);
    });
    const end = kind => e => { window.seen.ended = kind + ' ' + (e.detail.exception_message ?? ''); };
    for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
        api.addEventListener(kind, end(kind));
}"""
WHOLE = "whole.png"  # of a narrower picture the steps are over before the frontend is told of each
DRAFT = """() => {
    const widget = (type, name) => app.graph.nodes.find(n => n.type === type).widgets.find(w => w.name === name);
    widget('Wan22Turbo_Resolution', 'tier').value = '240p';
    widget('Wan22Turbo_ImageToVideo', 'seconds').value = 0.3;
}"""


@pytest.fixture(scope="module")
def previews(server):
    """A server whose frontend asks for previews."""
    server.set_setting("Comfy.Execution.PreviewMethod", "latent2rgb")
    yield server
    server.set_setting("Comfy.Execution.PreviewMethod", "default")


@pytest.fixture(scope="module")
def shared_page(browser, previews):
    """Its frontend."""
    with frontend(browser, previews, listen) as tab:
        yield tab


@pytest.fixture
def run(server, page, tmp_path):
    """What the frontend was told while it ran the graph at draft size."""
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(GRAPH.read_text(encoding="utf-8")))
    page.evaluate(DRAFT)
    place_photograph(tmp_path)
    (tmp_path / PICTURE).replace(server.base / "input" / WHOLE)
    set_value(page, "LoadImage", "image", WHOLE)
    page.evaluate(WATCH)
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function("() => window.seen.ended !== null")
    return page.evaluate("() => window.seen")


def test_a_run_shows_its_steps_an_animated_preview_and_the_clip(page, run):
    assert run["ended"].startswith("execution_success"), run["ended"]
    sampler = "7"
    assert [value for value in run["values"] if value[0] == sampler] == [[sampler, step, 4] for step in (1, 2, 3, 4)]
    assert len(run["previews"]) == 4
    for preview in run["previews"]:
        assert preview["type"] == "image/png"
        assert "acTL" in preview["text"]  # the chunk that makes a PNG an animation
    texts = [text for node, text in run["texts"] if node == sampler]
    assert texts[0] == "Step 1 of 4, high-noise expert"
    assert texts[2].startswith("Step 3 of 4, low-noise expert, about ")
    assert texts[-1].startswith("4 steps in ")  # the plan has a line of its own
    assert page.page_errors == []
    shown = page.evaluate("() => app.graph.nodes.find(n => String(n.id) === '7').widgets.map(w => String(w.value))")
    assert "2 high + 2 low | .9950 .9338 | .8529 .6090" in shown
    # The clip plays in the node, from the file that was saved.
    page.wait_for_function("() => [...document.querySelectorAll('video')].some(v => v.src.includes('wan22-turbo'))")
    page.wait_for_function("() => [...document.querySelectorAll('video')].some(v => v.readyState >= 2)")
    settle(page)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "after_a_run.png")
