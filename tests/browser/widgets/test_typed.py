"""What is typed into a node is what is posted: numbers with all their decimals, names of clips with their tokens."""

import datetime
import json

import pytest
from pack.tests.browser.hands import (
    HOSTED,
    LOCAL,
    POSTED,
    ROOT,
    id_of,
    load,
    look_at,
    set_value,
    shipped,
    step_up,
    twin,
    type_number,
    value_of,
)

pytestmark = pytest.mark.browser

FPS, LORA, START, SAMPLER = "Wan22Turbo_DecodeMp4", "Wan22Turbo_Lora", "Wan22Turbo_ImageToVideo", "Wan22Turbo_Sampler"
# Every FLOAT of our nodes: graph and node, and for each widget what is typed, and what an arrow then makes of it.
NUMBERS = [
    (LOCAL, FPS, {"fps": (23.976, 24.976)}),
    (LOCAL, LORA, {"strength_high": (1.003, 1.053), "strength_low": (-0.125, -0.075)}),
    (LOCAL, START, {"seconds": (5.03, 5.28), "motion": (1.17, 1.22)}),
    (LOCAL, SAMPLER, {
        "cfg": (3.55, 3.65), "sigma_max": (80.25, 81.25), "shift": (7.55, 7.65), "boundary": (0.8755, 0.8765),
    }),
    (HOSTED, "Wan22Turbo_SaveMp4", {"fps": (29.97, 30.97)}),
    (HOSTED, "Wan22Turbo_HostedLora", {"scale": (0.333, 0.383)}),
    (None, "Wan22Turbo_ClipReport", {"fps": (23.976, 24.976)}),
    (None, "Wan22Turbo_LongClip", {
        "seconds": (5.03, 5.28), "cfg": (3.55, 3.65), "sigma_max": (80.25, 81.25), "shift": (7.55, 7.65),
        "boundary": (0.8755, 0.8765), "fps": (23.976, 24.976), "motion": (1.17, 1.22),
    }),
    (None, "Wan22Turbo_SparseAttention", {"density": (0.125, 0.135), "error_limit": (0.052, 0.062)}),
    (None, "Wan22Turbo_RcmSigmas", {"sigma_max": (80.25, 81.25)}),
    (None, "Wan22Turbo_ExpertGuider", {"cfg": (3.55, 3.65), "boundary": (0.8755, 0.8765)}),
]  # fmt: skip
# One of them is shipped bypassed, and rare numbers are folded away.
SHOW_ALL = """type => { const node = app.graph.nodes.find(node => node.type === type);
    node.mode = 0; node.showAdvanced = true; }"""
FLOATS = """() => Object.values(LiteGraph.registered_node_types).map(type => type.nodeData)
    .filter(data => data?.name.startsWith('Wan22Turbo_'))
    .flatMap(({name, input}) => Object.entries({...input.required, ...input.optional})
        .filter(([, [type]]) => type === 'FLOAT').map(([widget]) => [name, widget]))"""


def test_no_number_is_left_out_here(tab):
    tested = {(node, widget) for _, node, widgets in NUMBERS for widget in widgets}
    assert {tuple(place) for place in tab.evaluate(FLOATS)} == tested


@pytest.mark.parametrize(("graph", "node", "widgets"), NUMBERS, ids=[node for _, node, _ in NUMBERS])
def test_what_is_typed_is_what_runs(tab, graph, node, widgets):
    if graph:
        load(tab, shipped(graph))
    else:
        tab.evaluate("type => { app.graph.clear(); app.graph.add(LiteGraph.createNode(type)); }", node)
    tab.evaluate(SHOW_ALL, node)
    look_at(tab, node)
    for widget, (typed, next_one) in widgets.items():
        if tab.nodes_2:
            tab.locator(f"[data-node-id='{id_of(tab, node)}'] [aria-label='{widget}']").wait_for()
        type_number(tab, node, widget, typed)
        (posted,) = [each["inputs"] for each in tab.evaluate(POSTED).values() if each["class_type"] == node]
        assert posted[widget] == typed
        step_up(tab, node, widget)
        assert value_of(tab, node, widget) == pytest.approx(next_one, abs=1e-9)
    assert tab.errors == []


def test_what_is_typed_on_the_node_of_a_subgraph_is_what_runs(tab):
    load(tab, json.loads((ROOT / "subgraphs" / "Picture to clip.json").read_text(encoding="utf-8")))
    kind = tab.evaluate("() => app.graph.nodes[0].type")
    look_at(tab, kind)
    type_number(tab, kind, "seconds", 5.03)
    posted = {node["class_type"]: node["inputs"] for node in tab.evaluate(POSTED).values()}
    assert posted[START]["seconds"] == 5.03


def test_numbers_of_saved_graphs_stay_as_they_are(tab):
    graph = shipped()
    values = {FPS: (0, 23.97602397602398), LORA: (2, 0.30000000000000004), START: (0, 3.14159)}
    for node in graph["nodes"]:
        if node["type"] in values:
            index, value = values[node["type"]]
            node["widgets_values"][index] = value
    load(tab, graph)
    posted = {node["class_type"]: node["inputs"] for node in tab.evaluate(POSTED).values()}
    kept = [posted[FPS]["fps"], posted[LORA]["strength_high"], posted[START]["seconds"]]
    assert kept == [value for _, value in values.values()]


TOKENS = "video/%date:yyyy-MM-dd%/%Wan22Turbo_Sampler.seed%_%Fit to 720p.tier%_%year%_%width%_%Nobody.knows%"


@pytest.mark.parametrize(("name", "node", "node_id"), [(LOCAL, FPS, "9"), (HOSTED, "Wan22Turbo_SaveMp4", "9")])
def test_dates_and_widgets_are_put_into_the_name_of_a_clip(tab, name, node, node_id):
    load(tab, shipped(name))
    source = "Wan22Turbo_Hosted" if name == HOSTED else SAMPLER
    tokens = TOKENS.replace(SAMPLER, source)
    set_value(tab, node, "filename_prefix", tokens)
    before = datetime.date.today()
    posted = tab.evaluate(POSTED)[node_id]["inputs"]["filename_prefix"]
    # What ComfyUI's server replaces is left to it, and so is what names nothing.
    assert posted in {
        f"video/{day:%Y-%m-%d}/0_720p_%year%_%width%_%Nobody.knows%" for day in (before, datetime.date.today())
    }
    assert value_of(tab, node, "filename_prefix") == tokens  # on the node, and in the graph that is saved with the clip
    workflow = tab.evaluate("async () => JSON.stringify((await app.graphToPrompt()).workflow)")
    assert "%date:yyyy-MM-dd%" in workflow


def test_the_name_is_what_core_s_own_save_video_makes_of_it(tab):
    load(tab, shipped())
    tokens = "a/%date:yy-M-d%_%Wan22Turbo_Lora.prompt%_%Your picture.image%"
    set_value(tab, FPS, "filename_prefix", tokens)
    tab.evaluate(
        """tokens => { const node = LiteGraph.createNode('SaveVideo'); app.graph.add(node);
        node.widgets.find(widget => widget.name === 'filename_prefix').value = tokens; }""",
        tokens,
    )
    posted = {node["class_type"]: node["inputs"] for node in tab.evaluate(POSTED).values()}
    assert posted[FPS]["filename_prefix"] == posted["SaveVideo"]["filename_prefix"]
    assert "%" not in posted[FPS]["filename_prefix"]


def test_so_they_are_beside_a_node_of_a_pack_that_is_missing(tab):
    graph = shipped()
    graph["nodes"].append({"id": 999, "type": "OfAMissingPack", "pos": [0, 0], "size": [200, 100], "flags": {},
                           "order": 0, "mode": 0, "inputs": [], "outputs": [], "properties": {}})  # fmt: skip
    tab.evaluate(
        "graph => app.loadGraphData(graph, true, true, null, { showMissingNodesDialog: false }).then(() => null)", graph
    )
    set_value(tab, FPS, "filename_prefix", "a/%date:yyyy%")
    posted = tab.evaluate(POSTED)
    assert posted["999"].get("class_type") is None
    assert posted["9"]["inputs"]["filename_prefix"].removeprefix("a/").isdigit()


def test_a_name_without_tokens_is_posted_as_it_is(tab):
    load(tab, shipped())
    assert tab.evaluate(POSTED) == twin()
