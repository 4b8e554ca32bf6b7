"""Which run a node tells of: one of its own graph, and of what it stands for now, not of what it stood for once."""

import shutil

import pytest
from find_browser import settle
from pack.tests.browser.hands import TEXT, bypass, load, look_at, set_value, shipped, wait_for_text
from pack.tests.browser.widgets.test_bypass import NOTHING_OF_IT, held_back

pytestmark = pytest.mark.browser

LORA, FIT, SAMPLER = "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Sampler"
REPORT = "the plan of that run"
POST = "() => app.queuePrompt(0)"
# What the server tells of the prompt that it was given, in this order.
START, EXECUTING = ("execution_start", {"prompt_id": "held back"}), ("executing", "7")
EXECUTED = ("executed", {"node": "7", "output": {"text": [REPORT]}, "prompt_id": "held back"})
SUCCESS = ("execution_success", {"prompt_id": "held back"})
TOLD = """told => { for (const [kind, detail] of told)
    app.api.dispatchEvent(new CustomEvent(kind, {detail})); }"""


def text_of(tab, node):
    settle(tab)
    return tab.evaluate(TEXT, node)


def opened_and_posted(tab):
    load(tab, shipped())
    wait_for_text(tab, SAMPLER, "2 high + 2 low")
    with held_back(tab):
        tab.evaluate(POST)


def test_a_report_is_of_the_values_that_were_posted(tab):
    opened_and_posted(tab)
    set_value(tab, SAMPLER, "steps", 6)
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])
    assert text_of(tab, SAMPLER).startswith("2 high + 4 low")
    set_value(tab, SAMPLER, "steps", 4)
    wait_for_text(tab, SAMPLER, REPORT)
    assert tab.errors == []


def test_a_run_of_a_graph_in_another_tab_changes_no_report_here(tab):
    opened_and_posted(tab)
    load(tab, shipped())  # in a tab of its own
    set_value(tab, SAMPLER, "steps", 6)
    wait_for_text(tab, SAMPLER, "2 high + 4 low")
    tab.evaluate(TOLD, [("executed", {"node": "7", "output": {"text": ["an earlier plan"]}})])
    wait_for_text(tab, SAMPLER, "an earlier plan")
    tab.evaluate(TOLD, [START, EXECUTING, EXECUTED, SUCCESS])
    assert text_of(tab, SAMPLER) == "an earlier plan"
    tab.evaluate("() => app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    wait_for_text(tab, SAMPLER, REPORT)  # of the four steps that were posted there
    assert tab.errors == []


def test_a_node_says_that_it_is_bypassed_as_long_as_it_is(tab):
    load(tab, shipped())
    wait_for_text(tab, LORA, "Trigger words")
    look_at(tab, LORA)
    bypass(tab, LORA)
    wait_for_text(tab, LORA, NOTHING_OF_IT)
    tab.keyboard.press("Control+b")  # it is selected still
    wait_for_text(tab, LORA, "Trigger words")
    assert tab.errors == []


def test_a_picture_that_is_bypassed_is_not_taken_for_the_one_that_runs(tab):
    load(tab, shipped())
    wait_for_text(tab, FIT, "451x300 -> ")
    look_at(tab, "LoadImage")
    bypass(tab, "LoadImage")
    wait_for_text(tab, FIT, "the picture is not from Load Image")
    tab.keyboard.press("Control+b")  # it is selected still
    wait_for_text(tab, FIT, "451x300 -> ")
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
