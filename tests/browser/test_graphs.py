"""Every shipped graph, opened in ComfyUI's own frontend."""

import itertools
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
PICTURES = ROOT / "output" / "screenshots"
TITLE_HEIGHT = 30

NODES = """() => app.graph.nodes.map(node => ({
    id: Number(node.id), type: node.type, title: node.title,
    x: node.pos[0], y: node.pos[1], width: node.size[0], height: node.size[1],
}))"""
GROUPS = """() => app.graph.groups.map(group => ({
    title: group.title, x: group.pos[0], y: group.pos[1], width: group.size[0], height: group.size[1],
}))"""

each_graph = pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)


def open_graph(page, path):
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(nodes_in(path)))
    page.wait_for_timeout(500)  # the frontend lays widgets out after loading


def nodes_in(path):
    return json.loads(path.read_text(encoding="utf-8"))["nodes"]


def test_there_are_graphs():
    assert "wan22_turbo_i2v" in [path.stem for path in GRAPHS]


@each_graph
def test_opens_without_a_missing_node_or_a_page_error(page, graph):
    open_graph(page, graph)
    missing = page.evaluate("() => app.graph.nodes.map(n => n.type).filter(t => !LiteGraph.registered_node_types[t])")
    assert missing == []
    assert page.page_errors == []
    assert page.locator("text=Missing Node Types").count() == 0


@each_graph
def test_what_the_frontend_posts_is_the_shipped_api_prompt(page, graph):
    open_graph(page, graph)
    posted = page.evaluate("async () => (await app.graphToPrompt()).output")
    assert posted == json.loads((graph.parent / "api" / graph.name).read_text(encoding="utf-8"))


@each_graph
def test_nodes_do_not_overlap_and_each_lies_in_a_group_with_a_note(page, graph):
    open_graph(page, graph)
    nodes, groups = page.evaluate(NODES), page.evaluate(GROUPS)
    overlaps = [(a["title"], b["title"]) for a, b in itertools.combinations(nodes, 2) if overlap(a, b)]
    assert overlaps == []
    inside = {group["title"]: [node["type"] for node in nodes if contains(group, node)] for group in groups}
    assert sum(map(len, inside.values())) == len(nodes)
    assert all(types.count("MarkdownNote") == 1 for types in inside.values())
    assert [group["title"][0] for group in sorted(groups, key=lambda group: group["x"])] == list("12345")[: len(groups)]


def overlap(a, b):
    return (
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] - TITLE_HEIGHT < b["y"] + b["height"]
        and b["y"] - TITLE_HEIGHT < a["y"] + a["height"]
    )


def contains(group, node):
    return (
        group["x"] <= node["x"]
        and node["x"] + node["width"] <= group["x"] + group["width"]
        and group["y"] <= node["y"] - TITLE_HEIGHT
        and node["y"] + node["height"] <= group["y"] + group["height"]
    )


@each_graph
def test_links_run_from_left_to_right(page, graph):
    open_graph(page, graph)
    nodes = {node["id"]: node for node in page.evaluate(NODES)}
    links = json.loads(graph.read_text(encoding="utf-8"))["links"]
    assert [link for link in links if nodes[link[3]]["x"] < nodes[link[1]]["x"]] == []


@each_graph
def test_picture_of_the_graph(page, graph):
    """Leaves a screenshot of the whole graph under output/screenshots, for people to look at."""
    open_graph(page, graph)
    page.evaluate("""() => { const scale = 0.7; app.canvas.ds.scale = scale;
        app.canvas.ds.offset[0] = 100; app.canvas.ds.offset[1] = 130; app.canvas.setDirty(true, true); }""")
    page.wait_for_timeout(1000)
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = page.screenshot(path=PICTURES / f"{graph.stem}.png")
    assert len(picture) > 50_000  # an empty canvas is a tenth of that


def test_models_named_in_the_graphs_can_be_downloaded_from_where_they_say():
    for path in GRAPHS:
        for node in nodes_in(path):
            offered = {model["name"] for model in node["properties"].get("models", [])}
            named = {value for value in node["widgets_values"] if str(value).endswith(".safetensors")}
            assert named == offered, (path.name, node["type"])
            for model in node["properties"].get("models", []):
                assert model["url"].startswith("https://huggingface.co/")
                assert model["url"].endswith("/" + model["name"])
                assert model["directory"] in ("diffusion_models", "text_encoders", "vae", "loras")
