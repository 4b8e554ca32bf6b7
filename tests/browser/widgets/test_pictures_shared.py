"""PNGs that ComfyUI wrote while a graph of ours ran: on the canvas they are the graph, less what was taken out."""

import base64
import json

import numpy as np
import pytest
import share_check
import share_read
import torch
from find_browser import settle
from pack.media.preview import Loop
from pack.tests.browser.hands import LOCAL, load, set_value, shipped
from pack.tests.browser.test_playback import HANDLED
from pack.tests.browser.widgets.test_sharing import FOLDER, TOKEN
from PIL import Image

pytestmark = pytest.mark.browser

LORA, SIZE, SAMPLER = "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Sampler"
TEXT = "She turns her head in the café. 她转过头来。"  # the graph's notes have Latin letters only
PRIVATE = f"As in {FOLDER.split()[0]}/reference.png: {TEXT} {TOKEN}"
TITLE = "Anna at home"
# ComfyUI's own nodes that write PNGs, behind Fit to 720p.
WRITERS = """([writers, prefix]) => writers.map(type => {
    const size = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Resolution');
    const writer = LiteGraph.createNode(type);
    app.graph.add(writer);
    for (const widget of writer.widgets ?? []) if (widget.name === 'filename_prefix') widget.value = prefix;
    size.connect(0, writer, 0);
    return String(writer.id); })"""
RENAME = "([type, title]) => { app.graph.nodes.find(node => node.type === type).title = title; }"
# The whole graph is posted, and only what these outputs need is run.
RUN_TO = """ids => new Promise(resolve => {
    for (const kind of ['execution_success', 'execution_error'])
        app.api.addEventListener(kind, () => setTimeout(() => resolve(kind), 100), {once: true});
    app.queuePrompt(0, 1, ids);
})"""
DROP = """([name, content]) => {
    const data = new DataTransfer(), bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, {type: 'image/png'}));
    app.graph.clear();
    app.canvas.canvas.dispatchEvent(new DragEvent('drop', {
        dataTransfer: data, clientX: 900, clientY: 500, bubbles: true, cancelable: true})); }"""


def run(tab, server, tmp_path, *writers):
    """Runs the graph that is open. Returns what the frontend posted, and the PNG that each of the writers made."""
    ids = tab.evaluate(WRITERS, [writers, tmp_path.name])  # a name of its own: ComfyUI runs nothing twice
    before = set(server.base.rglob("*.png"))
    with tab.expect_request(lambda request: request.method == "POST" and request.url.endswith("/prompt")) as sent:
        assert tab.evaluate(RUN_TO, ids) == "execution_success"
    made = set(server.base.rglob("*.png")) - before
    folders = {"SaveImage": server.base / "output", "PreviewImage": server.base / "temp"}
    files = {writer: next(path for path in made if path.is_relative_to(folders[writer])) for writer in writers}
    assert len(files) == len(made)
    return sent.value.post_data_json, files


def drop(tab, file):
    """Lets go of a file over the empty canvas."""
    tab.evaluate(DROP, [file.name, base64.b64encode(file.read_bytes()).decode()])


def opened(tab, count):
    """The graph that a drop has brought, and the prompt that is posted of it."""
    tab.wait_for_function("count => app.graph.nodes.length === count", arg=count)
    settle(tab)
    found = tab.evaluate("async () => JSON.parse(JSON.stringify(await app.graphToPrompt()))")
    return found["workflow"], found["output"]


def told(graph, titles=True):
    """What a graph tells, but for the places and sizes of nodes: reports make room for themselves."""
    loose = {"pos": None, "size": None, "order": None} | ({} if titles else {"title": None})
    nodes = {node["id"]: {"widgets_values": [], **node, **loose} for node in graph["nodes"]}  # none are [] or absent
    return nodes, sorted(graph["links"]), titles and [group["title"] for group in graph["groups"]]


def test_a_picture_brings_back_the_graph_that_was_posted(tab, server, tmp_path):
    load(tab, shipped(LOCAL))
    set_value(tab, LORA, "prompt", TEXT)
    set_value(tab, SIZE, "tier", "480p" if tab.nodes_2 else "240p")
    set_value(tab, SAMPLER, "seed", 2**50 + 1)
    posted, files = run(tab, server, tmp_path, "SaveImage", "PreviewImage")
    graph = posted["extra_data"]["extra_pnginfo"]["workflow"]
    assert len(graph["nodes"]) == len(shipped(LOCAL)["nodes"]) + 2
    for file in files.values():
        load(tab, shipped(LOCAL))  # another graph, with another seed and prompt
        drop(tab, file)
        found, prompt = opened(tab, len(graph["nodes"]))
        assert prompt == posted["prompt"], file.name
        assert told(found) == told(graph), file.name
    assert TEXT in json.dumps(prompt, ensure_ascii=False)
    assert tab.errors == []


def without_text(file, folder):
    with Image.open(file) as picture:
        picture.info = {}
        picture.save(folder / "bare.png")
    return folder / "bare.png"


def preview(_, folder):
    """The animated picture of a clip in the making, as ComfyUI's channel carries it to the browser."""
    with (folder / "preview.png").open("wb") as file:
        Loop(torch.arange(2 * 40 * 64 * 3).reshape(2, 40, 64, 3).to(torch.uint8)).save(file, "PNG")
    return folder / "preview.png"


@pytest.mark.parametrize("make", [without_text, preview])
def test_a_picture_without_a_graph_brings_none(tab, server, tmp_path, make):
    load(tab, shipped(LOCAL))
    set_value(tab, LORA, "prompt", TEXT)
    _, files = run(tab, server, tmp_path, "SaveImage")
    file = make(files["SaveImage"], tmp_path)
    assert share_read.read(file) == {}
    tab.evaluate(HANDLED)
    drop(tab, file)
    tab.wait_for_function("() => window.handled")
    settle(tab)
    types = tab.evaluate("() => app.graph.nodes.map(node => node.type)")
    assert set(types) <= {"LoadImage"}  # the picture itself, or nothing, as the frontend has it
    assert TEXT not in json.dumps(tab.evaluate("() => app.graph.serialize()"), ensure_ascii=False)
    assert tab.errors == []


def without_private(value, prompts):
    """What was posted, as the share check is to leave it, but for titles."""
    text = json.dumps(value, ensure_ascii=False)
    assert PRIVATE in text
    return json.loads(text.replace(PRIVATE, "" if prompts else f"As in reference.png: {TEXT} ***"))


def untitled(prompt):
    return {name: (node["class_type"], node["inputs"]) for name, node in prompt.items()}


@pytest.mark.parametrize("prompts", [False, True], ids=["paths and keys", "prompts, too"])
def test_a_copy_of_the_share_check_is_the_graph_without_what_is_private(tab, server, tmp_path, prompts):
    load(tab, shipped(LOCAL))
    set_value(tab, LORA, "prompt", PRIVATE)
    tab.evaluate(RENAME, [SIZE, TITLE])
    posted, files = run(tab, server, tmp_path, "SaveImage")
    file, copy = files["SaveImage"], tmp_path / "shared" / files["SaveImage"].name
    found = {finding.kind for finding in share_check.check(file, prompts, copy.parent)}
    assert found >= ({"prompt"} if prompts else {"key", "path"})
    assert share_check.check(copy, prompts, None) == []
    content = copy.read_bytes()
    assert not [word for word in (TOKEN, FOLDER.split()[0], str(server.base)) if word.encode() in content]
    assert (b"Anna" in content) == (not prompts)
    with Image.open(file) as one, Image.open(copy) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
    graph = posted["extra_data"]["extra_pnginfo"]["workflow"]
    drop(tab, copy)
    shown, prompt = opened(tab, len(graph["nodes"]))
    titles = {node["class_type"]: node["_meta"]["title"] for node in prompt.values()}
    assert titles[SIZE] == ("Fit to 720p" if prompts else TITLE)
    assert untitled(prompt) == untitled(without_private(posted["prompt"], prompts))
    assert told(shown, titles=False) == told(without_private(graph, prompts), titles=False)
    assert tab.errors == []
