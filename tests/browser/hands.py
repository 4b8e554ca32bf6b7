"""Hands and eyes for tests of the frontend: they click, choose and read on the canvas and in Nodes 2.0 alike."""

import json
from pathlib import Path

from find_browser import wait_until_ready

ROOT = Path(__file__).parents[2]
GRAPHS = ROOT / "workflows"
PICTURES = ROOT / "output" / "screenshots"
LOCAL, HOSTED = "wan22_turbo_i2v", "wan22_hosted_i2v"
POSTED = "async () => (await app.graphToPrompt()).output"
MISSING_MODEL = ", ".join([
    "[data-testid=missing-model-importable-rows] > div",  # 0.30
    "div:has(> div > [data-testid=missing-model-copy-url])",  # 0.26
    ".comfy-missing-models li",  # 0.16
])  # fmt: skip
TEXT = """type => app.graph.nodes.find(node => node.type === type)?.widgets
    .find(widget => widget.name === 'wan22_turbo_report')?.value ?? ''"""


def shipped(name=LOCAL):
    return json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))


def twin(name=LOCAL):
    return json.loads((GRAPHS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def reload(page):
    """Opens the frontend anew, as after a setting was changed."""
    page.reload()
    wait_until_ready(page)
    page.wait_for_timeout(1000)  # it brings the graph from before back first


def load(tab, graph):
    tab.evaluate("async graph => { await app.loadGraphData(graph); }", graph)
    tab.wait_for_timeout(400)


def wait_for_text(tab, node, part):
    tab.wait_for_function(f"([type, part]) => ({TEXT})(type).includes(part)", arg=[node, part], timeout=10_000)


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


def choose(tab, node, widget, value):
    """Chooses from a list with the mouse."""
    if tab.nodes_2:
        tab.locator(f"[data-node-id='{id_of(tab, node)}'] [aria-label='{widget}']").first.click()
        tab.get_by_role("option", name=value, exact=True).click()
    else:
        click_canvas(tab, node, widget, 0.5)
        tab.locator(".litecontextmenu .litemenu-entry", has_text=value).first.click()


def step_up(tab, node, widget):
    """Clicks on the arrow, or the plus, at the right end of a number."""
    if tab.nodes_2:
        row = tab.locator(f"[data-node-id='{id_of(tab, node)}'] [aria-label='{widget}']")
        row.locator("button[data-testid=increment]").click()
    else:
        click_canvas(tab, node, widget, 1.0)


def click_canvas(tab, node, widget, across):
    x, y = tab.evaluate(
        """([type, name, across]) => {
        const node = app.graph.nodes.find(node => node.type === type);
        const widget = node.widgets.find(widget => widget.name === name);
        const {scale, offset} = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect();
        const inside = across === 1 ? node.size[0] - 25 : node.size[0] * across;
        return [box.left + (node.pos[0] + inside + offset[0]) * scale,
                box.top + (node.pos[1] + widget.y + 10 + offset[1]) * scale]; }""",
        [node, widget, across],
    )
    tab.mouse.click(x, y)
    tab.wait_for_timeout(100)


def id_of(tab, node):
    return tab.evaluate("type => String(app.graph.nodes.find(node => node.type === type).id)", node)


def set_value(tab, node, widget, value):
    """Sets a widget as its own code does."""
    tab.evaluate(
        """([type, name, value]) => {
        const node = app.graph.nodes.find(node => node.type === type);
        const widget = node.widgets.find(widget => widget.name === name);
        widget.value = value; widget.callback?.(value, app.canvas, node); }""",
        [node, widget, value],
    )


def value_of(tab, node, widget):
    return tab.evaluate(
        """([type, name]) => app.graph.nodes.find(node => node.type === type).widgets
        .find(widget => widget.name === name).value""",
        [node, widget],
    )


def complaints(tab):
    """What the console was told of this pack, and of modules that the frontend will take away."""
    return [text for text in tab.said if "internal module" in text or "inputEl" in text or "wan22" in text.lower()]


def saved(tab):
    """What would be saved of each node, but for its place: reports make room for themselves, a run sorts the nodes."""
    nodes = tab.evaluate("() => JSON.parse(JSON.stringify(app.graph.serialize().nodes))")
    return {node["id"]: {**node, "pos": None, "size": None, "order": None} for node in nodes}


def invalid(tab):
    """The lists that Nodes 2.0 frames in red, as their value is none of theirs: node and widget."""
    return tab.evaluate("""() => [...document.querySelectorAll('[data-node-id] :is([aria-invalid="true"], .p-invalid)')]
        .map(list => [list.closest('[data-node-id]').dataset.nodeId, list.ariaLabel])""")


def browse_templates(page, folder):
    """Opens the template browser at the pack in a folder, by clicks."""
    page.get_by_role("button", name="Templates").first.click()
    page.get_by_role("dialog").get_by_text(folder, exact=True).first.click()


def open_template(page, name=LOCAL):
    """Clicks on a graph of the template browser, and waits until it is on the canvas."""
    page.get_by_test_id(f"template-workflow-{name}").click()
    page.get_by_test_id("template-workflows-content").wait_for(state="hidden")
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(shipped(name)["nodes"]))


def missing_models(page):
    """The lines of ComfyUI's list: in a panel behind a button; once in a dialog that opened by itself."""
    asks = page.get_by_test_id("error-overlay-see-errors")
    asks.or_(page.locator(".comfy-missing-models")).first.wait_for()
    if asks.is_visible():
        asks.click()
    rows = page.locator(MISSING_MODEL)
    rows.first.wait_for()
    return rows


def words_of(row):
    """What such a line says, with the heading above it, where the frontend of ComfyUI 0.26 has the folder."""
    heading = row.locator("xpath=self::*[.//*[@data-testid='missing-model-copy-url']]/../../div[1]")
    return " ".join([*heading.all_inner_texts(), row.inner_text()])


def put_away(page):
    """Closes the dialog that lies over the graph, else the panel beside it."""
    dialog = page.get_by_role("dialog")
    if dialog.is_visible():
        dialog.get_by_role("button", name="Close").first.click()
        dialog.wait_for(state="hidden")
    else:
        page.get_by_role("button", name="Toggle properties panel").first.click()
        page.get_by_test_id("properties-panel").wait_for(state="hidden")
