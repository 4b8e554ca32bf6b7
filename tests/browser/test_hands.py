"""The hands themselves: they wait for what they asked for, not for what was there before."""

import pytest
from pack.tests.browser.hands import browse_templates, open_template, put_away

pytestmark = pytest.mark.browser

FOLDER = "another-name"
SLOWLY = """() => {
    const load = app.loadGraphData;
    app.loadGraphData = async function (...parameters) {
        await new Promise(resolve => setTimeout(resolve, 1500));
        return load.apply(this, parameters);
    };
    window.before = app.graph.nodes[0];
}"""


def test_a_template_is_waited_for_also_where_the_same_graph_is_open(page):
    browse_templates(page, FOLDER)
    open_template(page)
    put_away(page)
    page.evaluate(SLOWLY)
    browse_templates(page, FOLDER)
    open_template(page)
    assert page.evaluate("() => app.graph.nodes[0] !== window.before")


def test_with_nothing_open_there_is_nothing_to_put_away(page):
    put_away(page)
    put_away(page)
    assert not page.get_by_test_id("properties-panel").is_visible()
