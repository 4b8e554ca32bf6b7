"""The hosted graph, run from ComfyUI's own frontend: what a person sees meanwhile, afterwards, and of an error."""

import json

import pytest
from find_browser import settle
from pack.tests.toy.faults import says
from pack.tests.toy.hosted_prompt import GRAPH_FILE, HOSTED

from .test_run import PICTURES, WATCH

pytestmark = pytest.mark.browser


def run(page, seed):
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(GRAPH_FILE.read_text(encoding="utf-8")))
    page.evaluate(
        "seed => { app.graph.nodes.find(n => n.type === 'Wan22Turbo_Hosted')"
        ".widgets.find(w => w.name === 'seed').value = seed; }",
        seed,
    )
    page.evaluate(WATCH)
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function("() => window.seen.ended !== null")
    settle(page)
    return page.evaluate("() => window.seen")


def test_a_run_shows_provider_state_and_time_and_then_the_clip(hosted_page, running):
    running.providers[0].seconds = 4.0
    seen = run(hosted_page, 501)
    assert seen["ended"].startswith("execution_success"), seen["ended"]
    texts = [text for node, text in seen["texts"] if node == HOSTED]
    assert any(text.startswith("WaveSpeed: processing, ") and text.endswith(" s") for text in texts), texts
    (job,) = running.providers[0].jobs
    assert f"\nJob {job} | took " in texts[-1], texts  # the report, which stays
    hosted_page.wait_for_function(
        "() => [...document.querySelectorAll('video')].some(v => v.src.includes('wan22-turbo'))"
    )
    assert hosted_page.page_errors == []
    PICTURES.mkdir(parents=True, exist_ok=True)
    hosted_page.screenshot(path=PICTURES / "hosted_after_a_run.png")


def test_an_error_says_what_to_do(hosted_page, running):
    running.providers[0].break_next("submit", says(402, "Payment Required")(running.providers[0]))
    seen = run(hosted_page, 502)
    assert "The account at WaveSpeed has no credit left (402: Payment Required). Top it up there." in seen["ended"]
    hosted_page.screenshot(path=PICTURES / "hosted_error.png")
