"""Pictures of nodes for the help pages, in English and Chinese: those that are shipped show the nodes as they are."""

import json
import math
from io import BytesIO
from pathlib import Path

import pytest
from find_browser import settle
from pack.hosted.providers import dollars
from pack.hosted.request import find_offer
from pack.tests.browser.conftest import in_language
from pack.tests.browser.hands import HOSTED, JOINING, TEXT, shipped, twin
from pack.tests.toy import models as toy
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "output" / "screenshots"
NODE_IDS = sorted(json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8")))

WORDS = "orbit 180 around the subject"  # of the LoRA in the shipped graphs
# Long Clip gets its lines from another node there.
LINES = """The subject turns its head towards the light and blinks.
3 s: It looks back into the lens.
It settles into stillness."""
PICTURE = "portrait.png"
OFFER = next(node["inputs"] for node in twin(HOSTED).values() if node["class_type"] == "Wan22Turbo_Hosted")
PRICE = dollars(find_offer(OFFER["model"])[1].estimate(OFFER["resolution"], OFFER["duration"]))
LIVE = {  # node id -> a part of what it says before a run, in its picture
    "Wan22Turbo_Sampler": "2 high + 2 low",
    "Wan22Turbo_Lora": WORDS,
    "Wan22Turbo_Resolution": "1600x1066 -> ",
    "Wan22Turbo_Hosted": PRICE,
}
TRIGGERS = """type => app.graph.nodes.find(node => node.type === type).widgets
    ?.find(widget => widget.name === 'trigger_words')?.value"""
WIDTHS = {"Wan22Turbo_Loader": 540, "Wan22Turbo_Hosted": 500}  # pixels, where names or the help page want another
# Shows one node of a graph, or a new one, without the others; returns what a picture of it shows of the screen.
ALONE = """async ([graph, type, wanted]) => {
    if (graph) await app.loadGraphData(graph); else { app.graph.clear(); app.graph.add(LiteGraph.createNode(type)); }
    for (const node of app.graph.nodes) node.pos = [node.type === type ? 0 : -4000, 0];
    const node = app.graph.nodes.find(node => node.type === type);
    node.setSize([wanted ?? node.size[0], node.computeSize()[1]]);
    app.canvas.links_render_mode = LiteGraph.HIDDEN_LINK;
    app.canvas.ds.scale = 1.5;
    app.canvas.ds.offset = [250, 120];
    app.canvas.deselectAll();
    app.canvas.setDirty(true, true);
    const [margin, title] = [14, LiteGraph.NODE_TITLE_HEIGHT], [width, height] = node.size;
    return {x: (250 - margin) * 1.5, y: (120 - title - margin) * 1.5,
        width: (width + 2 * margin) * 1.5, height: (height + title + 2 * margin) * 1.5};
}"""

SHOWN = """type => {
    const node = app.graph.nodes.find(node => node.type === type);
    const word = slot => slot.label || slot.localized_name || slot.name;
    return [node.getTitle(), ...[...node.inputs.filter(slot => !slot.widget), ...node.outputs].map(word),
        ...node.widgets.map(widget => `${widget.label || widget.name}: ${widget._displayValue ?? widget.value}`)];
}"""

# Whether two letters look different: without a font for them, each is the same empty box.
HAS_LETTERS = """([one, other]) => {
    const drawn = letter => {
        const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        context.font = '40px Inter, sans-serif';
        context.fillText(letter, 20, 60);
        return canvas.toDataURL();
    };
    return drawn(one) !== drawn(other);
}"""


@pytest.fixture(scope="module")
def easel(comfyui):
    """A ComfyUI with a key for hosted models, a picture of a usual size, and the files that a shipped graph names."""
    inputs, models = comfyui.base / "input", comfyui.base / "models"
    metadata = {"modelspec.trigger_phrase": WORDS, "ss_base_model_version": "wan22_14b"}
    files = [inputs / PICTURE, *(models / row["directory"] / row["name"] for row in model_rows())]
    Image.open(inputs / "example.png").resize((1600, 1066)).save(files[0])
    for file in files[1:]:
        file.parent.mkdir(exist_ok=True)
        save_file(toy.lora(0, rank=16), file, metadata)  # only those of LoRAs are read
    yield comfyui
    for file in files:
        file.unlink()


def model_rows():
    """The files that the graph of the pictures names, each once."""
    nodes = shipped("wan22_lora_i2v")["nodes"]
    return {row["name"]: row for node in nodes for row in node["properties"].get("models", [])}.values()


@pytest.fixture(scope="module")
def studio(browser, easel, request):
    """Its frontend in a language, for all pictures."""
    with in_language(browser, easel, request.param) as tab:
        yield tab


def panel_words(locale):
    words = json.loads((ROOT / "locales" / locale / "main.json").read_text(encoding="utf-8"))
    return words["wan22Turbo"]["words"]


@pytest.mark.parametrize("studio", ["en", "zh"], indirect=True)
@pytest.mark.parametrize("node_id", NODE_IDS)
def test_picture_of_a_node(studio, node_id):
    """Leaves a picture of each node under output/screenshots/nodes, as they lie in web/docs/images.

    A picture says in its comment which words it shows, so that one of a node as it once was is found out. A machine
    without a Chinese font leaves none of a Chinese node: it would show empty boxes.
    """
    box = studio.evaluate(ALONE, [sketch(node_id), node_id, WIDTHS.get(node_id)])
    if node_id in LIVE:
        studio.wait_for_function(f"([type, part]) => ({TEXT})(type).includes(part)", arg=[node_id, LIVE[node_id]])
        field = studio.get_by_label(panel_words(studio.locale)["before"], exact=True)
        assert field.evaluate("field => field.style.color") == "", field.input_value()  # a refusal is red
        assert field.input_value().count("WaveSpeed") == (node_id == "Wan22Turbo_Hosted")  # there is a key for it
        assert field.evaluate("field => field.scrollHeight <= field.clientHeight"), field.input_value()
    typed = "" if node_id == "Wan22Turbo_LongClip" else WORDS  # which gets them from Load LoRA
    assert studio.evaluate(TRIGGERS, node_id) in (typed, None)
    folder = PICTURES / "nodes"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{node_id}.jpg" if studio.locale == "en" else f"{node_id}.{studio.locale}.jpg"
    words = "\n".join(studio.evaluate(SHOWN, node_id))
    (folder / name).unlink(missing_ok=True)
    if studio.locale == "en" or studio.evaluate(HAS_LETTERS, ["高", "噪"]):
        shot = Image.open(BytesIO(picture_of(studio, box))).convert("RGB")
        assert abs(shot.height - box["height"]) <= 1, "the window cut the node"
        shot.save(folder / name, quality=85, progressive=True, comment=words.encode())
        assert (folder / name).stat().st_size > 2_000
    assert studio.page_errors == []
    with Image.open(ROOT / "web" / "docs" / "images" / name) as shipped_picture:
        told = shipped_picture.info.get("comment", b"").decode()
        assert told == words, f"{name} shows the node as it was. Look at {folder / name}, and ship it in its place."


def picture_of(page, box):
    """Takes a picture of a part of the page, in a window that is high enough: what lies outside of it is cut off."""
    usual = page.viewport_size
    page.set_viewport_size({**usual, "height": max(usual["height"], math.ceil(box["y"] + box["height"]))})
    try:
        settle(page)  # until it is drawn
        return page.screenshot(clip=box)
    finally:
        page.set_viewport_size(usual)


def sketch(node_id):
    """A graph of one node with the values of a shipped graph, linked to nothing but the picture of Load Image."""
    graphs = map(shipped, ("wan22_lora_i2v", HOSTED, "wan22_hosted_lora_i2v", "wan22_long_clip_i2v", JOINING))
    alike = [(graph, node) for graph in graphs for node in graph["nodes"] if node["type"] == node_id]
    if not alike:
        return None
    graph, node = next((each for each in alike if WORDS in each[1]["widgets_values"]), alike[0])
    source = next(each for each in graph["nodes"] if each["type"] == "LoadImage")
    source["widgets_values"][0] = PICTURE
    links = [link for link in graph["links"] if link[1] == source["id"] and link[3] == node["id"]]
    if node_id == "Wan22Turbo_LongClip":
        node["widgets_values"][0] = LINES
    for each in (node, source):
        each.pop("title", None)  # the node's own, in the language
        each["mode"] = 0  # not bypassed
        for slot in each["inputs"]:
            slot["link"] = slot["link"] if slot["link"] in [link[0] for link in links] else None
        for slot in each["outputs"]:
            slot["links"] = []
    return {**graph, "nodes": [source, node], "links": links, "groups": []}
