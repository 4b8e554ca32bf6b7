"""Hands and eyes for tests of the frontend: they click, choose and read on the canvas and in Nodes 2.0 alike."""

import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
from find_browser import settle, wait_until_ready
from PIL import Image

ROOT = Path(__file__).parents[2]
GRAPHS = ROOT / "workflows"
PICTURES = ROOT / "output" / "screenshots"
LOCAL, HOSTED = "wan22_turbo_i2v", "wan22_hosted_i2v"
# Without what a newer frontend tells the server of the packs that the nodes are from.
POSTED = """async () => Object.fromEntries(Object.entries((await app.graphToPrompt()).output)
    .map(([id, {_meta, ...node}]) => [id, {...node, _meta: {title: _meta.title}}]))"""
MISSING_MODEL = ", ".join([
    "[data-testid=missing-model-importable-rows] > div",  # 0.30
    "div:has(> div > [data-testid=missing-model-copy-url])",  # 0.26
    ".comfy-missing-models li",  # 0.16
])  # fmt: skip
TEXT = """type => app.graph.nodes.find(node => node.type === type)?.widgets
    .find(widget => widget.name === 'wan22_turbo_report')?.value ?? ''"""


JOINING = "../tests/data/graphs/0.1.0-alpha/wan22_long_clip_i2v"  # of a release; it joins two clips
# A video in the page, from the server's output folder; then a place in it, and what is shown there.
OPEN = """name => new Promise((resolve, reject) => {
    const video = window.video = document.createElement('video');
    video.muted = true;
    video.onloadeddata = () => resolve({width: video.videoWidth, height: video.videoHeight, duration: video.duration});
    video.onerror = () => reject(new Error(video.error.message));
    video.src = '/view?type=output&filename=' + encodeURIComponent(name);
    document.body.append(video);
})"""
SEEK = """time => new Promise(resolve => {
    video.onseeked = () => resolve();
    video.currentTime = time;
})"""
# What is shown there, on a canvas. All of it stays transparent while a busy Chromium has no picture to give.
DRAWN = """const drawn = async () => {
    const until = performance.now() + 60_000;
    do {
        const canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        context.drawImage(video, 0, 0);
        if (context.getImageData(0, 0, 1, 1).data[3]) return [canvas, context];
        await new Promise(requestAnimationFrame);
    } while (performance.now() < until);
    throw new Error('For a minute there was nothing to draw of the video.');
};"""
# The colours of points; and all of it as a PNG in base64, since a list of all its numbers takes a second.
COLOURS = f"""async points => {{ {DRAWN}
    const [, context] = await drawn();
    return points.map(([x, y]) => Array.from(context.getImageData(x, y, 1, 1).data).slice(0, 3));
}}"""
PICTURE = f"""async () => {{ {DRAWN}
    const [canvas] = await drawn();
    return canvas.toDataURL('image/png').split(',')[1];
}}"""


def shipped(name=LOCAL):
    return json.loads((GRAPHS / f"{name}.json").read_text(encoding="utf-8"))


def twin(name=LOCAL):
    return json.loads((GRAPHS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def shown_at(tab, seconds):
    """Seeks in the page's video; returns what it shows there, as uint8[H, W, 3]."""
    tab.evaluate(SEEK, seconds)
    return np.array(Image.open(BytesIO(b64decode(tab.evaluate(PICTURE)))).convert("RGB"))


def reload(page):
    """Opens the frontend anew, as after a setting was changed."""
    page.reload()
    wait_until_ready(page)
    settle(page)  # it brings the graph from before back first


def load(tab, graph):
    tab.evaluate("async graph => { await app.loadGraphData(graph); }", graph)
    settle(tab)


def wait_for_text(tab, node, part):
    tab.wait_for_function(f"([type, part]) => ({TEXT})(type).includes(part)", arg=[node, part])


def look_at(tab, node, above=0):
    """Shows a node, so many pixels of which lie above the window's upper edge."""
    tab.evaluate(
        """([type, above]) => { const node = app.graph.nodes.find(node => node.type === type);
        app.canvas.ds.scale = 1; app.canvas.ds.offset = [300 - node.pos[0], 150 - above - node.pos[1]];
        app.canvas.setDirty(true, true); }""",
        [node, above],
    )
    settle(tab)


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


def type_number(tab, node, widget, value):
    """Clicks on a number and types another: in the canvas's dialog, or in Nodes 2.0, which folds rare ones away."""
    if tab.nodes_2:
        box = tab.locator(f"[data-node-id='{id_of(tab, node)}']")
        row = box.locator(f"[aria-label='{widget}']")
        if not row.count():
            box.get_by_role("button", name="Show advanced inputs").click()
        row.get_by_role("spinbutton").locator("xpath=following-sibling::div").click()  # what is dragged lies over it
    else:
        click_canvas(tab, node, widget, 0.5)
        tab.locator(".graphdialog input").wait_for()
    tab.keyboard.press("Control+a")
    tab.keyboard.type(str(value))
    tab.keyboard.press("Enter")


def choose_picture(tab, name):
    """Chooses the picture of Load Image with the mouse: from the canvas's list, or among Nodes 2.0's thumbnails."""
    look_at(tab, "LoadImage")
    if tab.nodes_2:
        tab.locator(f"[data-node-id='{id_of(tab, 'LoadImage')}'] .lg-node-widgets button").first.click()
        tab.locator(f"img[alt='{name}'][draggable=false]").click()
    else:
        choose(tab, "LoadImage", "image", name)


def bypass(tab, node):
    """Clicks on a node's title and presses the keys that take it out of the run, or back in."""
    tab.mouse.click(*at(tab, node, 80, -15))
    tab.keyboard.press("Control+b")


def copied(tab, field):
    """Marks the first line of a text with the mouse, and returns what Ctrl+C takes of it."""
    tab.context.grant_permissions(["clipboard-read"])
    box = field.bounding_box()
    left, right, line = box["x"] + 7, box["x"] + box["width"] - 4, box["y"] + 12
    tab.mouse.move(left, line)
    tab.mouse.down()
    tab.mouse.move(right, line, steps=5)
    tab.mouse.up()
    tab.keyboard.press("Control+c")
    return tab.evaluate("() => navigator.clipboard.readText()")


def open_file(tab, file):
    """Opens a graph as ComfyUI's dialog for it does, once a file is chosen.

    The dialog itself belongs to the browser, which shows none if the page is busy for five seconds after the keys.
    """
    before = tab.evaluate_handle("() => app.graph.nodes[0]")
    tab.locator("#comfy-file-input").set_input_files(file)
    tab.wait_for_function("before => app.graph.nodes.length && app.graph.nodes[0] !== before", arg=before)
    settle(tab)


def run(tab):
    """Presses the Run button above the graph; returns how the run ended."""
    tab.evaluate("""() => { window.ended = '';
        for (const kind of ['execution_success', 'execution_error'])
            app.api.addEventListener(kind, () => setTimeout(() => window.ended = kind, 100), {once: true}); }""")
    tab.locator("[data-testid=queue-button], .comfyui-queue-button [aria-label=Run]").first.click()
    return tab.wait_for_function("() => window.ended").json_value()


def click_canvas(tab, node, widget, across):
    width, top = tab.evaluate(
        """([type, name]) => { const node = app.graph.nodes.find(node => node.type === type);
        return [node.size[0], node.widgets.find(widget => widget.name === name).y]; }""",
        [node, widget],
    )
    tab.mouse.click(*at(tab, node, width - 25 if across == 1 else width * across, top + 10))
    settle(tab)


def at(tab, node, x, y):
    """The place on the screen that is so many of the graph's pixels right of and below a node's corner."""
    return tab.evaluate(
        """([type, x, y]) => { const node = app.graph.nodes.find(node => node.type === type);
        const {scale, offset} = app.canvas.ds, {left, top} = app.canvas.canvas.getBoundingClientRect();
        return [left + (node.pos[0] + x + offset[0]) * scale, top + (node.pos[1] + y + offset[1]) * scale]; }""",
        [node, x, y],
    )


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
    before = page.evaluate_handle("() => app.graph.nodes[0]")  # the dialog closes before the graph is loaded
    page.get_by_test_id(f"template-workflow-{name}").click()
    page.get_by_test_id("template-workflows-content").wait_for(state="hidden")
    page.wait_for_function(
        "([before, count]) => app.graph.nodes.length === count && app.graph.nodes[0] !== before",
        arg=[before, len(shipped(name)["nodes"])],
    )


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
    """Closes the dialog that lies over the graph, else the panel beside it, if there is one."""
    dialog = page.get_by_role("dialog")
    panel = page.locator("[data-testid=properties-panel]:visible")
    if dialog.is_visible():
        dialog.get_by_role("button", name="Close").first.click()
        dialog.wait_for(state="hidden")
    elif panel.count():
        page.get_by_role("button", name="Toggle properties panel").first.click()
        panel.wait_for(state="hidden")
