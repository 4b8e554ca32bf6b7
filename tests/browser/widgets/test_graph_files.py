"""What is kept of the nodes in files and copies, and what is made of files from elsewhere."""

import copy
import json

import pytest
from find_browser import settle
from pack.tests.browser.hands import (
    HOSTED,
    LOCAL,
    POSTED,
    ROOT,
    invalid,
    load,
    open_file,
    saved,
    shipped,
    twin,
    wait_for_text,
)

pytestmark = pytest.mark.browser

SERIALIZED = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"
LIVE = ("Wan22Turbo_Sampler", "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Hosted")


def test_copies_and_subgraphs_have_the_panel_and_save_nothing_of_it(tab):
    load(tab, shipped())
    wait_for_text(tab, "Wan22Turbo_Sampler", "2 high")
    values = {node["type"]: node.get("widgets_values") for node in saved(tab).values()}
    tab.evaluate("""() => { const node = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Sampler');
        app.canvas.selectItems([node]); app.canvas.copyToClipboard(); app.canvas.pasteFromClipboard(); }""")
    tab.wait_for_function(
        """plan => { const samplers = app.graph.nodes.filter(node => node.type === 'Wan22Turbo_Sampler').map(node =>
            node.widgets.filter(widget => widget.name === 'wan22_turbo_report').map(widget => widget.value));
            return JSON.stringify(samplers) === JSON.stringify([[plan], [plan]]); }""",
        arg="2 high + 2 low | .9950 .9338 | .8529 .6090",
    )
    load(tab, shipped())
    tab.evaluate("""() => { const kinds = ['Wan22Turbo_Sampler', 'Wan22Turbo_Resolution'];
        const set = new Set(app.graph.nodes.filter(node => kinds.includes(node.type)));
        app.graph.convertToSubgraph(set); }""")
    settle(tab)
    inner = tab.evaluate("""() => [...app.graph.subgraphs.values()].flatMap(graph => graph.nodes).map(node =>
        [node.type, node.serialize().widgets_values, node.widgets.map(widget => widget.name)])""")
    assert sorted(row[0] for row in inner) == ["Wan22Turbo_Resolution", "Wan22Turbo_Sampler"]
    for kind, kept, names in inner:
        assert kept == values[kind]
        assert names.count("wan22_turbo_report") == 1
    posted = tab.evaluate(POSTED)
    inputs = {node["class_type"]: set(node["inputs"]) for node in posted.values()}
    assert inputs == {node["class_type"]: set(node["inputs"]) for node in twin().values()}
    assert tab.errors == []


@pytest.mark.parametrize("name", [LOCAL, HOSTED])
def test_a_saved_and_reloaded_graph_is_the_graph(tab, name):
    load(tab, shipped(name))
    settle(tab)
    first, kept, posted = tab.evaluate(SERIALIZED), saved(tab), tab.evaluate(POSTED)
    shipped_values = {node["id"]: node.get("widgets_values") for node in shipped(name)["nodes"]}
    for node in kept.values():
        assert node["type"] not in LIVE or node["widgets_values"] == shipped_values[node["id"]]
    load(tab, first)
    settle(tab)
    assert saved(tab) == kept
    assert tab.evaluate(POSTED) == posted
    if not tab.nodes_2:  # Nodes 2.0 moves and sizes all nodes itself
        assert tab.evaluate(SERIALIZED)["nodes"] == first["nodes"]


def test_names_of_another_machine_are_matched_before_they_are_missed(tab, tmp_path):
    graph = shipped()
    tab.evaluate("() => app.graph.clear()")
    loader, lora = (next(n for n in graph["nodes"] if n["type"] == f"Wan22Turbo_{kind}") for kind in ("Loader", "Lora"))
    foreign = copy.deepcopy(graph)
    for node in foreign["nodes"]:
        if node["id"] == loader["id"]:
            node["widgets_values"][0] = "Wan\\2.2\\" + node["widgets_values"][0]
            node["widgets_values"][3] = "other/" + node["widgets_values"][3].upper()
        if node["id"] == lora["id"]:
            node["widgets_values"][0] = "loras/" + node["widgets_values"][0]
    file = tmp_path / "foreign.json"
    file.write_text(json.dumps(foreign), encoding="utf-8")
    open_file(tab, file)
    tab.wait_for_function("count => app.graph.nodes.length === count", arg=len(graph["nodes"]))
    settle(tab)
    assert tab.evaluate(POSTED) == twin()
    assert tab.get_by_text("Missing Models").count() == 0
    # The other expert is never taken, and a name that fits nothing stays as it is.
    high = loader["widgets_values"][0]
    foreign = copy.deepcopy(graph)
    for node in foreign["nodes"]:
        if node["id"] == loader["id"]:
            node["widgets_values"][:2] = [
                "old/" + high.replace("high", "absent_high"),
                "a/" + high.replace("14B", "15B"),
            ]
    load(tab, foreign)
    tab.keyboard.press("Escape")
    posted = tab.evaluate(POSTED)["1"]["inputs"]
    assert [posted["high_noise"], posted["low_noise"]] == [
        "old/" + high.replace("high", "absent_high"),
        "a/" + high.replace("14B", "15B"),
    ]


BLUEPRINT = ROOT / "subgraphs" / "Picture to clip.json"


def foreign(name):
    """A model's name as a machine with other folders writes it."""
    return f"Wan\\2.2\\{name}" if str(name).endswith(".safetensors") else name


def posted_models(tab):
    posted = tab.evaluate(POSTED).values()
    return {
        name: value for node in posted for name, value in node["inputs"].items() if str(value).endswith(".safetensors")
    }


def test_names_of_another_machine_are_matched_on_the_node_of_a_subgraph(tab):
    """Its widgets stand for those inside, and are what counts: as shipped, and as this frontend saves it."""
    graph = json.loads(BLUEPRINT.read_text(encoding="utf-8"))
    load(tab, graph)
    models = posted_models(tab)
    assert sorted(models) == ["high_noise", "lora_high", "lora_low", "low_noise", "text_encoder", "vae"]
    for spelled in (graph, tab.evaluate(SERIALIZED)):
        (outer,) = spelled["nodes"]
        outer["widgets_values"] = [foreign(value) for value in outer["widgets_values"]]
        assert sum("Wan\\2.2\\" in str(value) for value in outer["widgets_values"]) == len(models)
        load(tab, spelled)
        settle(tab)
        assert posted_models(tab) == models
        assert tab.get_by_text("Missing Models").count() == 0
        assert invalid(tab) == []
    assert tab.errors == []


def test_names_are_matched_through_a_subgraph_in_a_subgraph(tab):
    graph = json.loads(BLUEPRINT.read_text(encoding="utf-8"))
    load(tab, graph)
    models = posted_models(tab)
    wrap(graph, "high_noise")
    load(tab, graph)
    settle(tab)
    assert posted_models(tab) == models
    assert tab.errors == []


def wrap(graph, name):
    """Puts the blueprint's node into a subgraph, and one of its models on the outside, as another machine names it."""
    (node,) = graph["nodes"]
    slot = next(index for index, entry in enumerate(node["inputs"]) if entry["name"] == name)
    value = next(value for value in node["widgets_values"] if name in str(value))
    node["inputs"][slot]["link"] = 1
    (inner,) = graph["definitions"]["subgraphs"]
    ends = {
        "inputNode": {"id": -10, "bounding": [0, 0, 100, 60]},
        "outputNode": {"id": -20, "bounding": [900, 0, 100, 60]},
    }
    link = {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": node["id"], "target_slot": slot, "type": "COMBO"}
    outer = {
        **inner, **ends, "id": "9a1f6b0e-58b0-4d0c-8f0e-5f0b1d7c2a11", "name": "Around it", "outputs": [], "groups": [],
        "inputs": [{"id": "0d9c1d53-37a5-4c1a-9c55-1f5a5c0c3b22", "name": "model", "type": "COMBO", "linkIds": [1]}],
        "nodes": [node], "links": [link], "state": {**inner["state"], "lastNodeId": 1, "lastLinkId": 1},
    }  # fmt: skip
    shown = {"name": "model", "type": "COMBO", "widget": {"name": "model"}, "link": None}
    graph["definitions"]["subgraphs"].append(outer)
    graph["nodes"] = [
        {**node, "type": outer["id"], "inputs": [shown], "outputs": [], "widgets_values": [foreign(value)],
         "properties": {"proxyWidgets": [["-1", "model"]]}}
    ]  # fmt: skip
