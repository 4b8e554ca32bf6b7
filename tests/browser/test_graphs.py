"""Every shipped graph, opened in ComfyUI's own frontend: classic, and in Nodes 2.0 where nodes are web pages."""

import itertools
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from find_browser import frontend, settle
from pack.tests.browser.conftest import listen
from pack.tests.browser.hands import POSTED

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
PICTURES = ROOT / "output" / "screenshots"
TITLE_HEIGHT = 30
TOP, LEFT, MARGIN = 120, 100, 60  # of the screenshots: below the menu, beside the side bar

USUAL = {"width": 1900, "height": 1000}

NODES = """() => app.graph.nodes.map(node => ({
    id: Number(node.id), type: node.type, title: node.title,
    x: node.pos[0], y: node.pos[1], width: node.size[0], height: node.size[1],
}))"""
# What a person sees in Nodes 2.0 is the element, however large the graph says the node is.
ELEMENTS = """height => app.graph.nodes.map(node => {
    const box = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    const [left, top] = app.canvas.ds.offset, scale = app.canvas.ds.scale;
    return {id: Number(node.id), type: node.type, title: node.title,
        x: box.x / scale - left, y: box.y / scale - top + height,
        width: box.width / scale, height: box.height / scale - height};
})"""
GROUPS = """() => app.graph.groups.map(group => ({
    title: group.title, x: group.pos[0], y: group.pos[1], width: group.size[0], height: group.size[1],
}))"""
FULL_SIZE = """([left, top]) => {
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset[0] = left;
    app.canvas.ds.offset[1] = top;
    app.canvas.setDirty(true, true);
}"""
MISSING = "() => app.graph.nodes.map(node => node.type).filter(type => !LiteGraph.registered_node_types[type])"


@dataclass
class Opened:
    """A graph as the frontend shows it."""

    path: Path
    missing: list[str]
    errors: list[str]
    posted: dict[str, Any]
    nodes: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    said: str
    saved: dict[str, Any] = field(default_factory=dict)


def open_graph(page, path):
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(nodes_in(path)))
    settle(page)  # the frontend lays widgets out after loading


def nodes_in(path):
    return json.loads(path.read_text(encoding="utf-8"))["nodes"]


MODES = ("classic", "nodes_2")


@pytest.fixture(scope="module")
def tabs(browser, server):
    """The frontend in its two ways to draw nodes, in pages that stay open; where it has only one, twice that."""
    pages = {}
    with ExitStack() as open_pages:
        for mode in MODES:
            server.set_setting("Comfy.VueNodes.Enabled", mode == "nodes_2")  # read when a page is opened
            pages[mode] = open_pages.enter_context(frontend(browser, server, listen))
            pages[mode].mode = mode
        server.set_setting("Comfy.VueNodes.Enabled", False)
        yield pages


@pytest.fixture(scope="module", params=MODES)
def tab(request, tabs):
    """One of them, in front of the other."""
    tabs[request.param].bring_to_front()
    return tabs[request.param]


@pytest.fixture(scope="module", params=GRAPHS, ids=lambda path: path.stem)
def opened(request, tab):
    """What the frontend makes of a graph; leaves a picture of all of it, at full size, under output/screenshots."""
    tab.page_errors.clear()
    open_graph(tab, request.param)
    look_at_all(tab)
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=PICTURES / f"{request.param.stem}_{tab.mode}.png")
    drawn = tab.evaluate("() => Boolean(LiteGraph.vueNodesMode)")
    found = Opened(
        path=request.param,
        missing=tab.evaluate(MISSING),
        errors=list(tab.page_errors),
        posted=tab.evaluate(POSTED),
        nodes=tab.evaluate(ELEMENTS, TITLE_HEIGHT) if drawn else tab.evaluate(NODES),
        groups=tab.evaluate(GROUPS),
        said=tab.locator("body").inner_text(),
        saved=tab.evaluate("() => app.graph.serialize()"),
    )
    tab.set_viewport_size(USUAL)  # a large one takes long to draw, again and again
    return found


def look_at_all(page):
    """Makes the window as large as the graph, and shows the graph at 100 %."""
    groups = page.evaluate(GROUPS)
    left, top = min(group["x"] for group in groups), min(group["y"] for group in groups)
    right, bottom = (max(group[at] + group[size] for group in groups) for at, size in (("x", "width"), ("y", "height")))
    page.set_viewport_size({"width": round(right - left) + LEFT + MARGIN, "height": round(bottom - top) + TOP + MARGIN})
    page.evaluate(FULL_SIZE, [LEFT - left, TOP - top])
    settle(page)


def test_there_are_graphs():
    assert len(GRAPHS) == 11
    assert "wan22_turbo_i2v" in [path.stem for path in GRAPHS]


def test_opens_without_a_missing_node_or_a_page_error(opened):
    assert opened.missing == []
    assert opened.errors == []
    assert "Missing Node" not in opened.said


def test_what_the_frontend_posts_is_the_shipped_api_prompt(opened):
    twin = opened.path.parent / "api" / opened.path.name
    assert opened.posted == json.loads(twin.read_text(encoding="utf-8"))


def test_nodes_do_not_overlap_and_each_lies_in_a_group_with_a_note(opened):
    nodes, groups = opened.nodes, opened.groups
    overlaps = [(a["title"], b["title"]) for a, b in itertools.combinations(nodes, 2) if overlap(a, b)]
    assert overlaps == []
    inside = {group["title"]: [node["type"] for node in nodes if contains(group, node)] for group in groups}
    assert sum(map(len, inside.values())) == len(nodes), [
        node for node in nodes if not any(contains(group, node) for group in groups)
    ]
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


def test_links_run_from_left_to_right(opened):
    nodes = {node["id"]: node for node in opened.nodes}
    links = json.loads(opened.path.read_text(encoding="utf-8"))["links"]
    assert [link for link in links if nodes[link[3]]["x"] < nodes[link[1]]["x"]] == []


def test_picture_of_the_graph(opened, tab):
    picture = PICTURES / f"{opened.path.stem}_{tab.mode}.png"
    assert picture.stat().st_size > 100_000  # an empty canvas is a tenth of that


def test_what_the_frontend_saves_again_names_no_place_and_no_secret(opened):
    """The share check finds nothing in a graph that was opened, moved about and exported."""
    from share_check import findings

    assert findings(opened.saved) == []


def test_each_graph_has_a_thumbnail_and_a_twin():
    for path in GRAPHS:
        assert path.with_suffix(".jpg").read_bytes()[:2] == b"\xff\xd8"
        assert (path.parent / "api" / path.name).is_file()


def test_notes_are_short_and_without_code():
    for path in GRAPHS:
        notes = [node["widgets_values"][0] for node in nodes_in(path) if node["type"] == "MarkdownNote"]
        assert all("`" not in note and len(note) < 520 for note in notes), (
            path.name
        )  # code is hard to read in Nodes 2.0


def test_nodes_say_which_pack_they_are_from():
    for path in GRAPHS:
        for node in nodes_in(path):
            own = node["type"].startswith("Wan22Turbo_")
            if node["type"] != "MarkdownNote":
                assert node["properties"]["cnr_id"] == ("wan22-turbo" if own else "comfy-core"), (path.name, node["id"])


def test_models_named_in_the_graphs_can_be_downloaded_from_where_they_say():
    for path in GRAPHS:
        for node in nodes_in(path):
            if node["type"] == "Wan22Turbo_HostedLora":
                continue  # its address is what the provider downloads
            offered = {model["name"] for model in node["properties"].get("models", [])}
            named = {value for value in node["widgets_values"] if str(value).endswith((".safetensors", ".pth"))}
            if path.stem == "wan22_lightwan_i2v":  # where its experts can be had is not known
                named = {value for value in named if "nvfp4" not in value}
            assert named == offered, (path.name, node["type"])
            for model in node["properties"].get("models", []):
                assert model["url"].startswith("https://huggingface.co/")
                assert model["url"].endswith("/" + model["name"])
                assert model["directory"] in ("diffusion_models", "text_encoders", "vae", "loras")


SHIPPED_ONCE = sorted((ROOT / "tests" / "data" / "graphs").glob("*/*.json"))


def test_every_graph_ever_shipped_still_opens_and_posts_what_it_posted(tab):
    for path in SHIPPED_ONCE:
        tab.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
        tab.wait_for_function("count => app.graph.nodes.length === count", arg=len(nodes_in(path)))
        assert tab.evaluate(MISSING) == [], path
        posted = tab.evaluate(POSTED)
        then = json.loads((path.parent / "api" / path.name).read_text(encoding="utf-8"))
        assert {node: posted[node]["inputs"] | then[node]["inputs"] for node in then} == {
            node: posted[node]["inputs"] for node in then
        }, path  # what has been added since may be more


def test_what_is_shipped_is_kept_byte_for_byte_as_of_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    kept = ROOT / "tests" / "data" / "graphs" / version
    shipped = {path.relative_to(ROOT / "workflows"): path for path in (ROOT / "workflows").rglob("*.json")}
    shipped |= {path.relative_to(ROOT): path for path in (ROOT / "subgraphs").glob("*.json")}
    assert {path.relative_to(kept) for path in kept.rglob("*.json")} == set(shipped)
    differing = [name for name, path in shipped.items() if path.read_bytes() != (kept / name).read_bytes()]
    assert differing == [], f"Copy what is shipped, twins and blueprints too, into {kept.relative_to(ROOT)}."


def test_a_hosted_seed_stays_as_it_is():
    """Another seed is another job, which is paid."""
    hosted = [node for path in GRAPHS for node in nodes_in(path) if node["type"] == "Wan22Turbo_Hosted"]
    assert len(hosted) == 3
    assert all("fixed" in node["widgets_values"] for node in hosted)
