"""The subgraph blueprint: in the node library, and on the canvas without a missing node."""

import json
from pathlib import Path

import pytest
from find_browser import settle
from pack.tests.browser.test_graphs import MISSING, PICTURES

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
BLUEPRINT = ROOT / "subgraphs" / "Picture to clip.json"
TWIN = ROOT / "workflows" / "api" / "wan22_lightning_i2v.json"
KEPT = sorted((ROOT / "tests" / "data" / "graphs").glob("*/subgraphs/*.json"))
TYPE = f"SubgraphBlueprint.{BLUEPRINT.stem}"

INSIDE = """() => app.graph.nodes[0].subgraph.nodes.map(node => node.type)
    .filter(type => !LiteGraph.registered_node_types[type])"""


@pytest.fixture
def library(page):
    """The page with the node library open on the blueprint."""
    search = page.locator("input[placeholder*='Search' i]:visible").first
    page.keyboard.press("n")
    search.fill(BLUEPRINT.stem)
    yield page
    page.keyboard.press("n")  # closes it again
    search.wait_for(state="hidden")


def test_the_server_offers_it(server):
    offered = server.get("/global_subgraphs").values()
    assert BLUEPRINT.stem in [entry["name"] for entry in offered if entry["source"] == "custom_node"]


def test_it_is_in_the_node_library_and_opens_without_a_missing_node(library):
    entry = library.get_by_text(BLUEPRINT.stem, exact=True).first
    entry.wait_for()
    settle(library)
    PICTURES.mkdir(parents=True, exist_ok=True)
    library.screenshot(path=PICTURES / "blueprint_in_the_library.png")
    entry.click()
    settle(library)
    if not library.evaluate("() => app.graph.nodes.length"):  # newer frontends put it down where one clicks next
        library.mouse.click(1000, 300)
    library.wait_for_function("() => app.graph.nodes.length === 1")
    settle(library)
    library.screenshot(path=PICTURES / "blueprint_on_the_canvas.png")
    assert library.evaluate("() => app.graph.nodes[0].title") == BLUEPRINT.stem
    assert [kind for kind in library.evaluate(MISSING) if "-" not in kind] == []  # a subgraph's type is its own id
    assert library.evaluate(INSIDE) == []
    assert library.page_errors == []


def test_what_it_posts_is_the_lightning_graph(page):
    """Inside are the nodes of that graph, with the same settings."""
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(BLUEPRINT.read_text(encoding="utf-8")))
    page.wait_for_function("() => app.graph.nodes.length === 1")
    settle(page)
    posted = page.evaluate("async () => (await app.graphToPrompt()).output")
    twin = json.loads(TWIN.read_text(encoding="utf-8"))
    assert {node["class_type"]: settings(node) for node in posted.values()} == {
        node["class_type"]: settings(node) for node in twin.values() if node["class_type"] != "LoadImage"
    }


def test_every_blueprint_ever_shipped_still_opens(page):
    assert KEPT
    for path in KEPT:
        page.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
        page.wait_for_function("() => app.graph.nodes.length === 1")
        assert page.evaluate(INSIDE) == [], path
    assert page.page_errors == []


def settings(node):
    return {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
