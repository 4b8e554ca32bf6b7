"""The panel on the nodes: its room, whole lines only, and what it says of a picture that is not there."""

import pytest
from find_browser import settle
from pack.tests.browser.hands import (
    GRAPHS,
    HOSTED,
    choose,
    choose_picture,
    invalid,
    load,
    look_at,
    picture,
    set_value,
    shipped,
    wait_for_text,
)
from pack.tests.browser.widgets.conftest import STYLE

pytestmark = pytest.mark.browser

LORA, FIT, HOSTED_CLIP = "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Hosted"
LINE = 16  # pixels, as the panel's font
WARNINGS = "\n".join(f"Warning {number}: " + "a long sentence about this file. " * 4 for number in (1, 2))
CHINESE = "\n".join(f"{side}: {'水彩画风格角色一致性增强模型' * 3}.safetensors" for side in ("high", "low") * 3)
# Top and bottom of nodes as they are drawn, in the graph's pixels, without the title.
SPAN = """([type, title]) => {
    const node = app.graph.nodes.find(node => node.type === type), scale = app.canvas.ds.scale;
    const drawn = LiteGraph.vueNodesMode && document.querySelector(`[data-node-id="${node.id}"]`);
    const height = drawn ? drawn.getBoundingClientRect().height / scale - title : node.size[1];
    return [node.pos[1], node.pos[1] + height]; }"""
FIELD = """type => {
    const node = app.graph.nodes.find(node => node.type === type);
    const field = node.widgets.find(widget => widget.name === 'wan22_turbo_report').element.querySelector('textarea');
    return [field.clientHeight, field.scrollHeight]; }"""
# As the server tells of a node that has run.
TOLD = """([type, text]) => {
    const detail = {node: String(app.graph.nodes.find(node => node.type === type).id), output: {text: [text]}};
    app.api.dispatchEvent(new CustomEvent('executed', {detail})); }"""
TITLE = 30


def tell(tab, node, text):
    """Shows a report as a run does, without the run."""
    tab.evaluate(TOLD, [node, text])
    wait_for_text(tab, node, text[:20])
    settle(tab)


def span(tab, node):
    return tab.evaluate(SPAN, [node, TITLE])


def test_a_long_report_does_not_grow_the_node_over_the_next_one(tab):
    load(tab, shipped())
    look_at(tab, LORA)
    tell(tab, LORA, WARNINGS * 3)
    picture(tab, "long_report")
    assert span(tab, LORA)[1] <= span(tab, FIT)[0] - TITLE
    shown, whole = tab.evaluate(FIELD, LORA)
    assert whole > shown > 0  # the rest scrolls
    assert shown % LINE == 0
    # Nothing below: it grows for the text.
    tab.evaluate(
        "type => { for (const node of [...app.graph.nodes]) if (node.type !== type) app.graph.remove(node); }", LORA
    )
    tell(tab, LORA, "Warning 0: another report.\n" + WARNINGS)
    shown, whole = tab.evaluate(FIELD, LORA)
    assert whole == shown
    assert tab.errors == []


def test_a_report_of_a_lora_with_a_chinese_name_is_read_whole(tab):
    load(tab, shipped())
    tab.evaluate(
        "type => { for (const node of [...app.graph.nodes]) if (node.type !== type) app.graph.remove(node); }", LORA
    )
    look_at(tab, LORA)
    tell(tab, LORA, CHINESE)
    picture(tab, "chinese_report")
    shown, whole = tab.evaluate(FIELD, LORA)
    assert whole == shown > 8 * LINE  # each of the lines takes two
    assert tab.errors == []


def test_what_is_known_before_a_run_is_read_whole(tab):
    load(tab, shipped())
    look_at(tab, LORA)
    choose(tab, LORA, "lora_high", STYLE)
    choose(tab, LORA, "lora_low", "auto")
    wait_for_text(tab, LORA, "Trigger words")
    choose(tab, FIT, "aspect", "1:1")
    wait_for_text(tab, FIT, "Enlarged")
    settle(tab)
    picture(tab, "whole_lines")
    for node in (LORA, FIT, "Wan22Turbo_Sampler"):
        shown, whole = tab.evaluate(FIELD, node)
        assert shown % LINE == 0, node
        assert whole <= shown, (node, whole, shown)
    assert tab.evaluate(FIELD, LORA)[1] == 5 * LINE  # no line of a usual LoRA's facts is broken
    load(tab, shipped(HOSTED))
    look_at(tab, HOSTED_CLIP)
    choose(tab, HOSTED_CLIP, "model", "AtlasCloud: wan-2.2/image-to-video-lora")
    wait_for_text(tab, HOSTED_CLIP, "credentials set atlascloud")
    settle(tab)
    shown, whole = tab.evaluate(FIELD, HOSTED_CLIP)
    assert shown % LINE == 0
    assert whole <= shown


def test_a_picture_that_is_not_there_is_named(tab):
    graph = shipped()
    next(node for node in graph["nodes"] if node["type"] == "LoadImage")["widgets_values"][0] = "gone.png"
    load(tab, graph)
    wait_for_text(tab, FIT, "gone.png is not there")
    tab.keyboard.press("Escape")  # what ComfyUI says of it
    choose_picture(tab, "example.png")
    wait_for_text(tab, FIT, "451x300 -> ")


def test_a_load_image_without_its_list_is_no_error(tab):
    """As another pack may make it."""
    made = """widgets => { const ours = app.extensions.find(extension => extension.name === 'wan22_turbo.live');
        ours.nodeCreated({comfyClass: 'LoadImage', widgets}); return true; }"""
    assert tab.evaluate(made, None)
    assert tab.evaluate(made, [])


UNKNOWN = """() => app.graph.nodes.flatMap(node => (node.widgets ?? [])
    .filter(widget => Array.isArray(widget.options?.values) && !widget.options.values.includes(widget.value))
    .map(widget => [node.type, widget.name, widget.value]))"""


def test_no_list_of_a_shipped_graph_holds_what_it_does_not_offer(tab):
    """Nodes 2.0 frames such a list in red; the canvas draws no frame, so there its options are looked at."""
    for path in sorted(GRAPHS.glob("*.json")):
        load(tab, shipped(path.stem))
        assert tab.evaluate(UNKNOWN) == [], path.stem
        if tab.nodes_2:
            assert tab.locator("[data-node-id] [role=combobox]").count() > 5
            assert invalid(tab) == [], path.stem
    load(tab, shipped())
    set_value(tab, FIT, "tier", "no such tier")
    look_at(tab, FIT)
    assert tab.evaluate(UNKNOWN) == [[FIT, "tier", "no such tier"]]
    assert invalid(tab) or not tab.nodes_2, "the frame is not seen where it is"
