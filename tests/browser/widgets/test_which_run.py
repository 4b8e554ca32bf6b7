"""Which run a node tells of: one of its own graph, and of what it stands for now, not of what it stood for once."""

import shutil
from contextlib import contextmanager

import pytest
from find_browser import settle
from pack.tests.browser.hands import TEXT, bypass, complaints, id_of, load, look_at, set_value, shipped, wait_for_text
from pack.tests.browser.widgets.test_bypass import BLUEPRINT, JOIN, NOTHING_OF_IT, SAID, held_back, read

pytestmark = pytest.mark.browser

LORA, FIT, SAMPLER, DECODE = "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Sampler", "Wan22Turbo_DecodeMp4"
REPORT, CLIP = "the plan of that run", "the clip of that run"
POST = "() => app.queuePrompt(0)"
TAB = "which => app.extensionManager.command.execute(`Workspace.${which}OpenedWorkflow`)"


def executed(node, text, prompt="held back"):
    return "executed", {"node": node, "output": {"text": [text]}, "prompt_id": prompt}


# What the server tells of the prompt that it was given, in this order.
START, EXECUTING, EXECUTED = ("execution_start", {"prompt_id": "held back"}), ("executing", "7"), executed("7", REPORT)
SUCCESS, INTERRUPTED = (("execution_" + end, {"prompt_id": "held back"}) for end in ("success", "interrupted"))
EMPTY = ("status", {"exec_info": {"queue_remaining": 0}})
TOLD = """told => { for (const [kind, detail] of told)
    app.api.dispatchEvent(new CustomEvent(kind, {detail})); }"""
# In the graph's only subgraph: a node's id in prompts, and what it shows.
INSIDE = """type => { const [outer] = app.graph.nodes.filter(node => node.subgraph);
    const inner = outer.subgraph.nodes.find(node => node.type === type);
    return [`${outer.id}:${inner.id}`, inner.widgets.find(widget => widget.name === 'wan22_turbo_report').value]; }"""
# What ComfyUI does after keys and clicks: it looks at the graph, for undo and for when its tab is opened again.
CAPTURE = """const undo = app.extensionManager.workflow.activeWorkflow.changeTracker;
    (undo.captureCanvasState ?? undo.checkState).call(undo);"""
UNDO = f"""() => {{ app.graph.nodes.find(node => node.type === 'LoadImage').title = 'Another';
    {CAPTURE}
    return undo.undo(); }}"""
# Clears the graph, as the menu does it, and builds it anew with a node of the same type and id.
CLEARED = "() => app.api.dispatchEvent(new CustomEvent('graphCleared'))"
CLEAR = f"""type => {{ const {{id}} = app.graph.nodes.find(node => node.type === type);
    app.clean(); ({CLEARED})();
    app.graph.add(Object.assign(LiteGraph.createNode(type), {{id}})); }}"""
POST_AND_CLEAR = f"async type => {{ await app.queuePrompt(0); ({CLEAR})(type); }}"
CLEAR_BEFORE_THE_ANSWER = f"""async type => {{ const {{fetchApi}} = app.api;
    app.api.fetchApi = (...asked) => (asked[0] === '/prompt' && ({CLEAR})(type), fetchApi.apply(app.api, asked));
    await app.queuePrompt(0);
    app.api.fetchApi = fetchApi; }}"""
LINK = """() => { const number = LiteGraph.createNode('PrimitiveInt'); app.graph.add(number);
    const sampler = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Sampler');
    number.widgets[0].value = 6;
    number.connect(0, sampler, sampler.findInputSlot('steps')); }"""
UNLINK = """() => { const sampler = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Sampler');
    sampler.disconnectInput(sampler.findInputSlot('steps')); }"""
NOTED = """async id => { const loaded = performance.getEntriesByType('resource').map(({name}) => name);
    return (await import(loaded.find(name => name.endsWith('/runs.js')))).notedOf(id) !== undefined; }"""


def text_of(tab, node):
    settle(tab)
    return tab.evaluate(TEXT, node)


def post(tab):
    with held_back(tab):
        tab.evaluate(POST)


def opened_and_posted(tab):
    load(tab, shipped())
    wait_for_text(tab, SAMPLER, "2 high + 2 low")
    post(tab)


def go_to(tab, which):
    """Opens the previous or the next of the frontend's tabs."""
    tab.evaluate(TAB, which)


def set_steps(tab, steps):
    set_value(tab, SAMPLER, "steps", steps)
    tab.evaluate(f"() => {{ {CAPTURE} }}")


@contextmanager
def questions(tab, route):
    """The questions that panels ask the server meanwhile."""
    asked = []

    def hear(request):
        asked.extend([request.url] * (f"/wan22_turbo/{route}?" in request.url))

    settle(tab)
    tab.on("request", hear)
    yield asked
    settle(tab)
    tab.remove_listener("request", hear)


def test_a_report_is_of_the_values_that_were_posted(tab):
    opened_and_posted(tab)
    set_value(tab, SAMPLER, "steps", 6)
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])
    assert text_of(tab, SAMPLER).startswith("2 high + 4 low")
    set_value(tab, SAMPLER, "steps", 4)
    wait_for_text(tab, SAMPLER, REPORT)
    assert tab.errors == []


def test_a_report_belongs_to_the_graph_that_was_run_whichever_is_open(tab):
    opened_and_posted(tab)
    decode = id_of(tab, DECODE)
    set_steps(tab, 6)
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    load(tab, shipped())  # in a tab of its own
    wait_for_text(tab, SAMPLER, "2 high + 2 low")
    tab.evaluate(TOLD, [executed("7", "an earlier plan", "of this one")])
    wait_for_text(tab, SAMPLER, "an earlier plan")
    late = EMPTY  # it was so before that prompt was posted
    tab.evaluate(TOLD, [late, START, EXECUTING, EXECUTED, executed(decode, CLIP), SUCCESS])
    assert [text_of(tab, SAMPLER), text_of(tab, DECODE)] == ["an earlier plan", ""]
    go_to(tab, "Previous")
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    assert text_of(tab, DECODE) == CLIP
    set_steps(tab, 4)
    wait_for_text(tab, SAMPLER, REPORT)
    go_to(tab, "Next")
    # ComfyUI 0.16.3 brings outputs back only of prompts that it posted, so there it is the plan of the next run.
    assert text_of(tab, SAMPLER).startswith(("an earlier plan", "2 high + 2 low"))
    assert text_of(tab, DECODE) == ""
    # Of other steps the same words.
    set_steps(tab, 6)
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    tab.evaluate(TOLD, [executed("7", REPORT, "of this one")])
    wait_for_text(tab, SAMPLER, REPORT)
    go_to(tab, "Previous")
    wait_for_text(tab, SAMPLER, REPORT)
    assert tab.errors == []


def test_an_interrupted_run_takes_the_report_of_its_node_and_a_cleared_graph_all(tab):
    opened_and_posted(tab)
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, executed(id_of(tab, DECODE), CLIP), SUCCESS])
    wait_for_text(tab, SAMPLER, REPORT)
    post(tab)
    tab.evaluate(TOLD, [START, EXECUTING, INTERRUPTED])
    live = text_of(tab, SAMPLER)
    assert live.startswith("2 high + 2 low")
    tab.evaluate(UNDO)
    wait_for_text(tab, DECODE, CLIP)
    assert text_of(tab, SAMPLER) == live
    load(tab, shipped())
    go_to(tab, "Previous")
    wait_for_text(tab, DECODE, CLIP)
    assert text_of(tab, SAMPLER) == live
    tab.evaluate(CLEAR, DECODE)
    go_to(tab, "Next")
    go_to(tab, "Previous")
    assert text_of(tab, DECODE) == ""
    assert tab.errors == []


@pytest.mark.parametrize("script", [POST_AND_CLEAR, CLEAR_BEFORE_THE_ANSWER])
def test_a_graph_that_is_cleared_gives_the_report_of_its_run_to_no_new_node(tab, script):
    load(tab, shipped())
    decode = id_of(tab, DECODE)
    with held_back(tab):
        tab.evaluate(script, DECODE)
    tab.evaluate(TOLD, [START, executed(decode, CLIP), SUCCESS])
    assert text_of(tab, DECODE) == ""
    assert tab.errors == []


def test_what_is_cleared_in_a_subgraph_takes_no_report_of_the_rest(tab):
    opened_and_posted(tab)
    tab.evaluate(CLEARED)
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])
    wait_for_text(tab, SAMPLER, REPORT)


def test_a_node_in_a_subgraph_has_its_report_and_asks_only_while_it_is_there(tab):
    load(tab, read(BLUEPRINT))
    inner, _ = tab.evaluate(INSIDE, SAMPLER)
    post(tab)
    load(tab, shipped())
    tab.evaluate(TOLD, [START, executed(inner, REPORT), SUCCESS])
    with questions(tab, "plan") as asked:
        tab.evaluate(TOLD, [("reconnected", None)])
    assert len(asked) == 1  # of the sampler that is on the canvas
    go_to(tab, "Previous")
    tab.wait_for_function(f"([type, report]) => ({INSIDE})(type)[1] === report", arg=[SAMPLER, REPORT])
    with questions(tab, "plan") as asked:
        tab.evaluate(TOLD, [("reconnected", None)])
    assert len(asked) == 1
    assert tab.errors == []


def test_a_report_of_a_number_from_another_node_is_not_that_of_the_widget(tab):
    load(tab, shipped())
    tab.evaluate(LINK)
    wait_for_text(tab, SAMPLER, "Known when it runs: steps from another node.")
    post(tab)
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])
    wait_for_text(tab, SAMPLER, REPORT)
    tab.evaluate(UNLINK)
    wait_for_text(tab, SAMPLER, "2 high + 2 low")
    post(tab)
    tab.evaluate(LINK)
    wait_for_text(tab, SAMPLER, REPORT)  # of a number from another node
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])  # of the widget
    assert text_of(tab, SAMPLER).startswith("Known when it runs")
    assert tab.errors == []


def test_notes_stop_no_post_and_go_with_their_prompt(tab):
    opened_and_posted(tab)
    assert tab.evaluate(NOTED, "held back")
    tab.evaluate(TOLD, [SUCCESS])
    assert not tab.evaluate(NOTED, "held back")
    post(tab)  # of which no end will be heard, as its end came before the answer to the post
    tab.evaluate(TOLD, [EMPTY])  # which may be told of the time before
    assert tab.evaluate(NOTED, "held back")
    tab.evaluate(TOLD, [("status", None), EMPTY])
    assert not tab.evaluate(NOTED, "held back")
    with held_back(tab):  # a prompt as another pack may post it
        assert tab.evaluate("async () => (await app.api.queuePrompt(0, {workflow: {}})).prompt_id") == "held back"
    (said,) = complaints(tab)
    assert "nothing was noted of a prompt" in said
    tab.said.remove(said)
    assert tab.errors == []


def test_a_node_says_that_it_is_bypassed_as_long_as_it_is(tab):
    load(tab, shipped())
    wait_for_text(tab, LORA, "Trigger words")
    look_at(tab, LORA)
    bypass(tab, LORA)
    wait_for_text(tab, LORA, NOTHING_OF_IT)
    tab.keyboard.press("Control+b")  # it is selected still
    wait_for_text(tab, LORA, "Trigger words")
    # Also if that changes while a prompt is made, which then is not posted.
    for mode, told in ((4, NOTHING_OF_IT), (0, "Trigger words")):
        tab.evaluate(
            """async ([type, mode]) => { const made = app.graphToPrompt();
            app.graph.nodes.find(node => node.type === type).mode = mode;
            await made; }""",
            [LORA, mode],
        )
        wait_for_text(tab, LORA, told)
    # And one that says nothing before a run.
    tab.evaluate("type => { app.graph.add(LiteGraph.createNode(type)); }", JOIN)
    look_at(tab, JOIN)
    bypass(tab, JOIN)
    wait_for_text(tab, JOIN, SAID[JOIN])
    assert tab.errors == []


def test_a_picture_that_is_bypassed_is_not_taken_for_the_one_that_runs(tab):
    load(tab, shipped())
    wait_for_text(tab, FIT, "451x300 -> ")
    look_at(tab, "LoadImage")
    bypass(tab, "LoadImage")
    wait_for_text(tab, FIT, "the picture is not from Load Image")
    tab.keyboard.press("Control+b")  # it is selected still
    wait_for_text(tab, FIT, "451x300 -> ")
    with questions(tab, "fit") as asked:  # no mode is changed: other packs set them all the time
        tab.evaluate("() => { for (const node of app.graph.nodes) node.mode = node.mode; }")
        settle(tab)  # in which a picture may be looked at
    assert asked == []
    assert tab.errors == []


def test_what_was_missing_is_found_after_r_is_pressed(tab, server):
    graph = shipped()
    for node in graph["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "comes later.png"
    load(tab, graph)
    wait_for_text(tab, FIT, "comes later.png is not there")
    tab.keyboard.press("Escape")  # what ComfyUI says of it
    later = server.base / "input" / "comes later.png"
    shutil.copy(later.with_name("example.png"), later)
    try:
        tab.keyboard.press("r")
        wait_for_text(tab, FIT, "451x300 -> ")
    finally:
        later.unlink()
    assert tab.errors == []


def test_what_was_not_answered_is_asked_again_once_comfyui_is_back(tab):
    load(tab, shipped())
    wait_for_text(tab, SAMPLER, "2 high + 2 low")
    tab.route("**/wan22_turbo/plan*", lambda route: route.abort())
    set_value(tab, SAMPLER, "steps", 6)
    wait_for_text(tab, SAMPLER, "The server does not answer. Is")
    tab.unroute("**/wan22_turbo/plan*")
    tab.evaluate(TOLD, [("reconnected", None)])
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
