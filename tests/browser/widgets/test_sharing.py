"""What a graph tells of its author, once it was edited in the frontend: the share check finds it, and takes it out."""

import json

import pytest
import share_check
import share_read
from pack.tests.browser.hands import POSTED, load, set_value, shipped
from pack.tests.browser.widgets.test_graph_files import SERIALIZED
from pack.tests.browser.widgets.test_runs import RUN

pytestmark = pytest.mark.browser

GRAPH = "wan22_hosted_lora_i2v"
LORA, CLIP, SAVE = "Wan22Turbo_HostedLora", "Wan22Turbo_Hosted", "Wan22Turbo_SaveMp4"
FOLDER, TOKEN = "/home/anna/clips of 2026", "hf_abcdefghij0123456789"
PROMPT = f"In the style of {FOLDER.replace(' ', '_')}/reference.png, she turns her head."
ADDRESS = f"https://example.com/orbit.safetensors?token={TOKEN}"
# The hosted clip costs money: the picture, some frames long, goes into the file instead. Nothing else runs.
SHORT = """() => {
    const find = type => app.graph.nodes.find(node => node.type === type);
    const repeat = LiteGraph.createNode('RepeatImageBatch');
    app.graph.add(repeat);
    repeat.widgets.find(widget => widget.name === 'amount').value = 5;
    find('LoadImage').connect(0, repeat, 0);
    repeat.connect(0, find('Wan22Turbo_SaveMp4'), 0); }"""
MOVE = """type => { const node = app.graph.nodes.find(node => node.type === type);
    node.pos = [node.pos[0] + 37, node.pos[1] + 11]; return Array.from(node.pos); }"""


def exported(tab, folder):
    """Writes what the frontend saves and posts, and returns the two files."""
    files = []
    for name, script in (("graph", SERIALIZED), ("prompt", POSTED)):
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(tab.evaluate(script)), encoding="utf-8")
    return files


def saved_clip(tab, server, name):
    """Runs the graph and returns the file that it saved, under a name of its own: ComfyUI runs nothing twice."""
    set_value(tab, SAVE, "filename_prefix", f"video/{name}")
    before = set((server.base / "output").rglob("*.mp4"))
    assert tab.evaluate(RUN) == "execution_success"
    (clip,) = set((server.base / "output").rglob("*.mp4")) - before
    return clip


def kinds(file, folder=None):
    return sorted({finding.kind for finding in share_check.check(file, False, folder)})


def test_what_was_put_in_is_found_and_taken_out(tab, server, tmp_path):
    load(tab, shipped(GRAPH))
    tab.evaluate(SHORT)
    tab.evaluate(MOVE, LORA)
    for file in [*exported(tab, tmp_path), saved_clip(tab, server, f"{tmp_path.name} shipped")]:
        assert kinds(file) == [], file.name

    moved = tab.evaluate(MOVE, LORA)
    set_value(tab, CLIP, "prompt", PROMPT)
    set_value(tab, LORA, "url", ADDRESS)
    graph, prompt = exported(tab, tmp_path)
    assert moved in [node["pos"] for node in json.loads(graph.read_text(encoding="utf-8"))["nodes"]]
    clip = saved_clip(tab, server, f"{tmp_path.name} edited")
    assert kinds(graph) == kinds(prompt) == ["key", "path"]
    assert kinds(clip) == ["path"]  # Save MP4 writes no token in the first place
    for file in (graph, prompt, clip):
        kinds(file, tmp_path / "shared")
        copy = tmp_path / "shared" / file.name
        assert kinds(copy) == [], file.name
        told = json.dumps(share_read.read(copy))
        assert TOKEN not in told
        assert "anna" not in told
        assert "she turns her head" in told  # what was not private stays
    assert tab.errors == []
