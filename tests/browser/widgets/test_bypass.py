"""Nodes that are bypassed, as artists compare with and without: what goes on in their place, and what is said."""

import copy
import json
from contextlib import contextmanager

import pytest
from pack.tests.browser.hands import (
    HOSTED,
    JOINING,
    LOCAL,
    POSTED,
    ROOT,
    bypass,
    load,
    look_at,
    picture,
    shipped,
    twin,
    wait_for_text,
)

pytestmark = pytest.mark.browser

LORA = "Wan22Turbo_Lora"
ACTIVE, MUTED, BYPASSED = 0, 2, 4
NOTHING_OF_IT = "Bypassed: no LoRA, no trigger words."
KEPT = sorted((ROOT / "tests" / "data" / "graphs").glob("*/*.json"))
GRAPHS = {path.read_bytes(): path for path in (*KEPT, *sorted((ROOT / "workflows").glob("*.json")))}.values()
WITH_LORA = [path for path in GRAPHS if LORA in path.read_text(encoding="utf-8")]
BLUEPRINT = ROOT / "subgraphs" / "Picture to clip.json"
# As rgthree's switches set it, with no event.
SET_MODE = """([ids, mode]) => { for (const node of app.graph.nodes)
    if (ids.includes(String(node.id))) node.mode = mode; }"""
MODES = """async () => { const { workflow } = await app.graphToPrompt();
    return workflow.nodes.map(node => [String(node.id), node.mode]); }"""


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def loras_in(prompt):
    return [node_id for node_id, node in prompt.items() if node["class_type"] == LORA]


def without(prompt, bypassed):
    """The prompt in which LoRA nodes are not there: whoever reads an output reads what the node got or holds."""
    rest = {node_id: copy.deepcopy(node) for node_id, node in prompt.items() if node_id not in bypassed}
    for node in rest.values():
        node["inputs"] = {name: behind(value, prompt, bypassed) for name, value in node["inputs"].items()}
    return rest


def behind(value, prompt, bypassed):
    while isinstance(value, list) and value[0] in bypassed:
        inputs = prompt[value[0]]["inputs"]
        value = [inputs["high"], inputs["low"], inputs["prompt"], "", NOTHING_OF_IT][value[1]]
    return value


def bare(prompt):
    """A prompt without what the server does not read."""
    return {node_id: {"class_type": node["class_type"], "inputs": node["inputs"]} for node_id, node in prompt.items()}


@pytest.mark.parametrize("path", WITH_LORA, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_models_and_prompt_go_past_a_bypassed_lora_as_they_came(tab, path):
    load(tab, read(path))
    whole = tab.evaluate(POSTED)
    loras = loras_in(whole)
    for bypassed in [[each] for each in loras] + [loras] * (len(loras) > 1):
        tab.evaluate(SET_MODE, [bypassed, BYPASSED])
        assert bare(tab.evaluate(POSTED)) == bare(without(whole, bypassed))
        modes = dict(tab.evaluate(MODES))  # of the graph that is saved with the clip
        assert {node_id: modes[node_id] for node_id in loras} == {
            node_id: BYPASSED if node_id in bypassed else ACTIVE for node_id in loras
        }
        tab.evaluate(SET_MODE, [bypassed, ACTIVE])
    assert bare(tab.evaluate(POSTED)) == bare(whole)
    assert tab.errors == []


def test_the_keys_for_it_take_one_of_two_loras_out_and_back_in(tab):
    load(tab, shipped("wan22_lora_i2v"))
    look_at(tab, LORA)  # the first of the two, in which the prompt is written
    bypass(tab, LORA)
    tab.wait_for_function("() => app.graph.nodes.some(node => node.mode === 4)")
    whole = twin("wan22_lora_i2v")
    posted = tab.evaluate(POSTED)
    assert bare(posted) == bare(without(whole, ["2"]))
    assert posted["8"]["inputs"]["prompt"] == whole["2"]["inputs"]["prompt"]
    tab.keyboard.press("Control+b")  # it is selected still
    tab.wait_for_function("() => app.graph.nodes.every(node => node.mode === 0)")
    assert bare(tab.evaluate(POSTED)) == bare(whole)


def test_it_is_left_out_inside_a_subgraph(tab):
    load(tab, read(BLUEPRINT))
    whole = tab.evaluate(POSTED)
    (lora,) = loras_in(whole)
    assert ":" in lora
    tab.evaluate("""() => { for (const node of app.graph.nodes[0].subgraph.nodes)
        if (node.type === 'Wan22Turbo_Lora') node.mode = 4; }""")
    posted = tab.evaluate(POSTED)
    assert bare(posted) == bare(without(whole, [lora]))
    (text,) = [node["inputs"]["text"] for node in posted.values() if node["class_type"] == "CLIPTextEncode"]
    assert text.startswith("The camera holds still")  # it is written on the subgraph's own node


def test_through_a_reroute_and_from_another_node_and_into_what_shows_texts(tab):
    load(tab, shipped())
    tab.evaluate("""() => {
        const add = type => { const node = LiteGraph.createNode(type); app.graph.add(node); return node; };
        const lora = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Lora');
        const encode = app.graph.nodes.find(node => node.type === 'CLIPTextEncode');
        const [text, reroute] = [add('PrimitiveStringMultiline'), add('Reroute')];
        text.widgets[0].value = 'Waves roll in.';
        text.connect(0, lora, lora.findInputSlot('prompt'));
        lora.connect(2, reroute, 0);
        reroute.connect(0, encode, encode.findInputSlot('text'));
        for (const slot of [3, 4]) lora.connect(slot, add('PreviewAny'), 0);
        lora.mode = 4; }""")
    posted = tab.evaluate(POSTED)
    (text,) = [node_id for node_id, node in posted.items() if node["class_type"] == "PrimitiveStringMultiline"]
    assert posted["3"]["inputs"]["text"] == [text, 0]
    assert posted["7"]["inputs"]["high"] == ["1", 0]
    shown = [node["inputs"]["source"] for node in posted.values() if node["class_type"] == "PreviewAny"]
    assert shown == ["", NOTHING_OF_IT]


def test_choices_in_the_prompt_of_a_bypassed_lora_are_made(tab):
    graph = shipped()
    (lora,) = [node for node in graph["nodes"] if node["type"] == LORA]
    lora["widgets_values"][6] = "A {calm|calm} sea."
    lora["mode"] = BYPASSED
    load(tab, graph)
    assert tab.evaluate(POSTED)["3"]["inputs"]["text"] == "A calm sea."


# What a person is told where a node is missing from the run: ComfyUI refuses, or what goes on is right, or it is said.
SAMPLER, FIT, JOIN = "Wan22Turbo_Sampler", "Wan22Turbo_Resolution", "Wan22Turbo_JoinClips"
REFUSED = [
    (LOCAL, "Wan22Turbo_Loader"),
    (LOCAL, "Wan22Turbo_ImageToVideo"),
    (LOCAL, "Wan22Turbo_DecodeMp4"),
    (HOSTED, "Wan22Turbo_Hosted"),
    (HOSTED, "Wan22Turbo_SaveMp4"),
]
GOES_ON = [  # graph, node, who reads it, and what that then reads
    (LOCAL, FIT, ("6", "start_image"), ["4", 0]),
    (LOCAL, SAMPLER, ("9", "latent"), ["6", 2]),  # which Decode to MP4 refuses, as nothing has sampled it
    (JOINING, JOIN, ("9", "video"), ["8", 0]),
    ("wan22_hosted_lora_i2v", "Wan22Turbo_HostedLora", ("7", "loras"), None),  # all of them are bypassed
]
SAID = {
    SAMPLER: "Bypassed: the latent goes on as it came",
    JOIN: "Bypassed: only the first clip goes on",
    FIT: "Bypassed: the picture goes on in its own size.",
}
BYPASS = "type => { for (const node of app.graph.nodes) if (node.type === type) node.mode = 4; }"


@pytest.mark.parametrize(("name", "node"), REFUSED)
def test_what_cannot_run_without_a_node_is_refused(tab, server, name, node):
    load(tab, shipped(name))
    tab.evaluate(BYPASS, node)
    status, answer = server.post("/prompt", {"prompt": tab.evaluate(POSTED)})
    assert status == 400
    assert answer["error"]["message"]


def test_a_muted_lora_is_refused(tab, server):
    """Muting stops what comes after; only bypassing lets it pass."""
    load(tab, shipped())
    tab.evaluate(SET_MODE, [["2"], MUTED])
    status, _ = server.post("/prompt", {"prompt": tab.evaluate(POSTED)})
    assert status == 400


@pytest.mark.parametrize(("name", "node", "reader", "value"), GOES_ON)
def test_what_goes_on_in_place_of_a_node(tab, name, node, reader, value):
    load(tab, shipped(name))
    tab.evaluate(BYPASS, node)
    assert tab.evaluate(POSTED)[reader[0]]["inputs"].get(reader[1]) == value


@contextmanager
def held_back(tab):
    """The server seems to take prompts, and runs none."""
    taken = {"prompt_id": "held back", "number": 1, "node_errors": {}}
    tab.route("**/api/prompt", lambda route: route.fulfill(json=taken))
    yield
    tab.unroute("**/api/prompt")


@pytest.mark.parametrize(("name", "node"), [(LOCAL, SAMPLER), (LOCAL, FIT), (JOINING, JOIN)])
def test_a_bypassed_node_says_what_the_run_is_without_it(tab, name, node):
    load(tab, shipped(name))
    tab.evaluate(BYPASS, node)
    with held_back(tab):
        tab.evaluate("() => app.queuePrompt(0)")
        wait_for_text(tab, node, SAID[node])
        look_at(tab, node)
        picture(tab, f"bypassed_{node}")
        tab.evaluate("type => { for (const node of app.graph.nodes) if (node.type === type) node.mode = 0; }", node)
        tab.evaluate("() => app.queuePrompt(0)")
        tab.wait_for_function(
            """type => !app.graph.nodes.find(node => node.type === type).widgets
            .find(widget => widget.name === 'wan22_turbo_report').value.startsWith('Bypassed')""",
            arg=node,
        )
