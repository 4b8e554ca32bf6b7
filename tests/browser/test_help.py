"""Help pages, names and options as a person sees them, in English and Chinese."""

import json
import math
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from find_browser import frontend, settle
from pack.hosted.request import find_offer
from pack.hosted.spending import dollars
from pack.tests.browser.conftest import emptied, listen
from pack.tests.browser.hands import HOSTED, JOINING, TEXT, reload, shipped, twin
from pack.tests.toy import models as toy
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "output" / "screenshots"
NODE_IDS = sorted(json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8")))

SHIPPED = {  # node id -> inputs in a shipped graph
    node["class_type"]: node["inputs"]
    for path in sorted((ROOT / "workflows" / "api").glob("*.json"))
    for node in json.loads(path.read_text(encoding="utf-8")).values()
}
ONE_NODE = """([type, values]) => {
    app.graph.clear();
    const node = LiteGraph.createNode(type);
    node.pos = [0, 0];
    app.graph.add(node);
    for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name];
    app.canvas.ds.scale = 1.5;
    app.canvas.ds.offset = [250, 120];
    app.canvas.deselectAll();
    app.canvas.setDirty(true, true);
    return {width: node.size[0], height: node.size[1]};
}"""
SELECT = "() => { app.canvas.deselectAll(); app.canvas.selectNode(app.graph.nodes[0]); }"
TOO_WIDE = """tables => tables.filter(table => table.scrollWidth > table.clientWidth + 1)
    .map(table => [table.scrollWidth, table.clientWidth, table.innerText])"""

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

in_each_language = pytest.mark.parametrize("translated_page", ["en", "zh"], indirect=True)


@contextmanager
def in_language(browser, server, locale):
    server.set_setting("Comfy.Locale", locale)
    server.set_setting("Comfy.NodeBadge.NodeSourceBadgeMode", "None")  # it would show the folder's name for the test
    try:
        with frontend(browser, server, listen) as tab:
            tab.locale = locale
            yield tab
    finally:
        server.set_setting("Comfy.Locale", "en")


@pytest.fixture(scope="module")
def translated_page(browser, server, request):
    """The frontend in a language, for all tests that want it so."""
    with in_language(browser, server, request.param) as tab:
        yield tab


@pytest.fixture
def page(translated_page):
    """The same with an empty graph."""
    return emptied(translated_page)


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


def translated(locale, node_id):
    return json.loads((ROOT / "locales" / locale / "nodeDefs.json").read_text(encoding="utf-8"))[node_id]


def panel_words(locale):
    words = json.loads((ROOT / "locales" / locale / "main.json").read_text(encoding="utf-8"))
    return words["wan22Turbo"]["words"]


def one_node(page, node_id):
    """Makes a node the only one of the graph, with the values that a shipped graph gives it; returns its size."""
    return page.evaluate(ONE_NODE, [node_id, SHIPPED.get(node_id, {})])


def open_help(page, node_id):
    """Selects a new node and clicks its "info" button, as a person does; returns the panel's page."""
    one_node(page, node_id)
    page.evaluate(SELECT)
    page.locator("[data-testid=info-button]").click()
    content = page.locator(".node-help-content .markdown-content")
    content.wait_for()
    return content


@pytest.mark.parametrize("translated_page", ["en"], indirect=True)
def test_no_wanted_language_that_the_frontend_offers_is_missing(page):
    offered = page.evaluate("() => app.ui.settings.settingsLookup['Comfy.Locale'].options.map(each => each.value)")
    wanted = {"en", "zh", "zh-TW", "ja", "ko", "fr", "de", "es", "pt-BR", "ru"}
    assert "zh" in offered
    assert wanted & set(offered) <= {path.name for path in (ROOT / "locales").iterdir()}


@in_each_language
def test_help_opens_in_the_language_of_the_frontend(page):
    too_wide = {}
    for node_id in NODE_IDS:
        content = open_help(page, node_id)
        path = f"{node_id}.md" if page.locale == "en" else f"{node_id}/{page.locale}.md"
        title = (ROOT / "web" / "docs" / path).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        content.locator("h1", has_text=title).wait_for()
        picture = content.locator("img")
        assert picture.count() == 1, node_id
        page.wait_for_function("image => image.complete", arg=picture.element_handle())
        assert picture.evaluate("image => image.naturalWidth") > 100, node_id
        assert content.locator("table").count() >= 2, node_id
        too_wide[node_id] = content.locator("table").evaluate_all(TOO_WIDE)
    assert {node_id: tables for node_id, tables in too_wide.items() if tables} == {}
    assert page.page_errors == []


@in_each_language
def test_picture_of_a_help_page(page):
    """Leaves a screenshot of help pages beside their nodes under output/screenshots, for people to look at."""
    for node_id in ("Wan22Turbo_Sampler", "Wan22Turbo_Lora"):
        content = open_help(page, node_id)
        content.locator("img").wait_for()
        settle(page)
        PICTURES.mkdir(parents=True, exist_ok=True)
        picture = page.screenshot(path=PICTURES / f"help_{node_id}_{page.locale}.png")
        assert len(picture) > 50_000  # an empty canvas is a tenth of that
        page.set_viewport_size({"width": 1900, "height": 3200})
        content.screenshot(path=PICTURES / f"help_{node_id}_{page.locale}_whole.png")
        page.set_viewport_size({"width": 1900, "height": 1000})


@in_each_language
def test_a_node_shows_names_and_options_in_the_language(page):
    one_node(page, "Wan22Turbo_Resolution")
    expected = translated(page.locale, "Wan22Turbo_Resolution")
    shown = page.evaluate("""() => { const node = app.graph.nodes[0]; return {
        title: node.title, output: node.outputs[0].localized_name,
        name: node.widgets[2].label, option: node.widgets[2]._displayValue, value: node.widgets[2].value,
    }; }""")
    assert shown == {
        "title": expected["display_name"],
        "output": expected["outputs"]["0"]["name"],
        "name": expected["inputs"]["fit"]["name"],
        "option": expected["inputs"]["fit"]["options"]["crop"],
        "value": "crop",  # what is saved and posted stays what the node knows
    }


@pytest.mark.parametrize("translated_page", ["zh"], indirect=True)
def test_nodes_2_shows_options_in_the_language_too(page, server):
    frontend = server.get("/system_stats")["system"]["required_frontend_version"]
    # An older Nodes 2.0 asks for no labels and shows the node's own words, which must work all the same.
    labelled = tuple(map(int, frontend.split(".")[:2])) >= (1, 45)
    server.set_setting("Comfy.VueNodes.Enabled", True)
    try:
        reload(page)
        one_node(page, "Wan22Turbo_Resolution")
        labels = translated("zh", "Wan22Turbo_Resolution")["inputs"]
        shown = page.locator("[data-node-id]")
        crop, pad = (labels["fit"]["options"][word] if labelled else word for word in ("crop", "pad"))
        shown.get_by_text(crop, exact=True).wait_for()
        shown.get_by_text(labels["fit"]["name"]).wait_for()
        shown.get_by_text(crop, exact=True).click()
        page.get_by_role("option", name=pad).click()
        assert page.evaluate("() => app.graph.nodes[0].widgets[2].value") == "pad"
        page.screenshot(path=PICTURES / "options_nodes_2_zh.png")
    finally:
        server.set_setting("Comfy.VueNodes.Enabled", False)
        reload(page)
    assert page.page_errors == []


@in_each_language
def test_an_option_is_chosen_by_its_label(page):
    size = one_node(page, "Wan22Turbo_Resolution")
    label = translated(page.locale, "Wan22Turbo_Resolution")["inputs"]["fit"]["options"]["pad"]
    page.wait_for_function("() => app.graph.nodes[0].widgets[2].last_y")  # known once it has been drawn
    place = page.evaluate("() => app.graph.nodes[0].widgets[2].last_y + LiteGraph.NODE_WIDGET_HEIGHT / 2")
    page.mouse.click((250 + size["width"] / 2) * 1.5, (120 + place) * 1.5)
    page.locator(".litemenu-entry", has_text=label).click()
    assert page.evaluate("() => app.graph.nodes[0].widgets[2].value") == "pad"


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
