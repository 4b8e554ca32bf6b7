"""Help pages, names and options as a person sees them, in English and Chinese."""

import json
from pathlib import Path

import pytest
from find_browser import settle
from pack.tests.browser.conftest import emptied, in_language
from pack.tests.browser.hands import reload

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

in_each_language = pytest.mark.parametrize("translated_page", ["en", "zh"], indirect=True)


@pytest.fixture(scope="module")
def translated_page(browser, server, request):
    """The frontend in a language, for all tests that want it so."""
    with in_language(browser, server, request.param) as tab:
        yield tab


@pytest.fixture
def page(translated_page):
    """The same with an empty graph."""
    return emptied(translated_page)


def translated(locale, node_id):
    return json.loads((ROOT / "locales" / locale / "nodeDefs.json").read_text(encoding="utf-8"))[node_id]


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
