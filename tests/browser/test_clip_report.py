"""Clip Report on the canvas: a video with faults is loaded and measured, and its report is read on the node."""

import json

import pytest
from find_browser import settle
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from pack.tests.browser.hands import PICTURES, ROOT, look_at, reload, run, wait_for_text
from pack.tiny import drawing, scenes
from PIL import Image

pytestmark = pytest.mark.browser

CLIP, PICTURE = "a clip with faults.mp4", "its first frame.png"
GRAPH = """([clip, picture]) => {
    app.graph.clear();
    const add = (type, x, y, values) => {
        const node = LiteGraph.createNode(type);
        node.pos = [x, y];
        app.graph.add(node);
        for (const [name, value] of Object.entries(values))
            node.widgets.find(widget => widget.name === name).value = value;
        return node;
    };
    const video = add('LoadVideo', 0, 0, {file: clip});
    const image = add('LoadImage', 0, 320, {image: picture});
    const report = add('Wan22Turbo_ClipReport', 340, 0, {});
    report.setSize([460, report.size[1]]);
    video.connect(0, report, report.inputs.findIndex(input => input.name === 'video'));
    image.connect(0, report, report.inputs.findIndex(input => input.name === 'reference'));
}"""
SAID = {
    "clip": {"count": 25, "size": "416x240", "fps": 16, "seconds": 1.56},
    "black": {"frames": "10-11"},
    "flickers": {},
}


def words(locale):
    """Lines of the report in a language, by name."""
    file = ROOT / "locales" / locale / "main.json"
    return json.loads(file.read_text(encoding="utf-8"))["wan22Turbo"]["lines"]


@pytest.fixture
def clip(server):
    """Puts a video that flickers and has two black frames into the input folder, and its picture."""
    scene = scenes.random_scene(4, kind="moves", seconds=1.6)
    frames = drawing.draw(scene, 416, 240, 25, "striped") / 255
    gains = [0 if index in (9, 10) else 1.06 if index % 2 else 1 for index in range(25)]
    with Mp4Writer(server.base / "input" / CLIP, Size(416, 240)) as file:
        for frame, gain in zip(frames, gains, strict=True):
            file.write((frame * gain).clip(0, 1).astype("float32"))
    Image.fromarray((frames[0] * 255).astype("uint8")).save(server.base / "input" / PICTURE)
    yield CLIP, PICTURE
    for name in (CLIP, PICTURE):
        (server.base / "input" / name).unlink()


@pytest.mark.parametrize(("nodes_2", "locale"), [(False, "en"), (True, "en"), (False, "zh")])
def test_the_report_is_read_on_the_node(page, server, clip, nodes_2, locale):
    server.set_setting("Comfy.VueNodes.Enabled", nodes_2)
    server.set_setting("Comfy.Locale", locale)
    try:
        reload(page)
        page.evaluate(GRAPH, clip)
        assert run(page) == "execution_success"
        look_at(page, "Wan22Turbo_ClipReport")
        for name, values in SAID.items():
            wait_for_text(page, "Wan22Turbo_ClipReport", words(locale)[name].format(**values))
        settle(page)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"clip_report_{'nodes_2' if nodes_2 else 'classic'}_{locale}.png")
    finally:
        server.set_setting("Comfy.VueNodes.Enabled", False)
        server.set_setting("Comfy.Locale", "en")
    assert page.page_errors == []
