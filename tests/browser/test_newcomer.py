"""The first quarter of an hour of somebody who has ComfyUI and cloned this pack: by clicks, without models or network.

The fixtures are the stages of the way, each on top of the one before, in one page.
"""

import re

import pytest
from comfy_server import ComfyServer
from find_browser import wait_until_ready
from pack.tests.browser.conftest import listen
from pack.tests.browser.hands import GRAPHS, LOCAL, PICTURES, ROOT, shipped, twin
from pack.tests.browser.test_graphs import MISSING
from playwright.sync_api import TimeoutError as NotThere

pytestmark = pytest.mark.browser

FOLDER = "wan22-turbo"  # as git names it, and as the README does
NAMES = sorted(path.stem for path in GRAPHS.glob("*.json"))
MODELS = [model for node in shipped()["nodes"] for model in node["properties"].get("models", [])]
WIDGETS = {  # file -> id of the node and name of the widget that asks for it
    value: (node, widget)
    for node, posted in twin().items()
    for widget, value in posted["inputs"].items()
    if str(value).endswith(".safetensors")
}
TITLES = "() => Object.fromEntries(app.graph.nodes.map(node => [node.id, node.title]))"
TITLE_BAR = """type => {
    const node = app.graph.nodes.find(node => node.type === type);
    const {scale, offset} = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect();
    return [box.left + (node.pos[0] + 60 + offset[0]) * scale, box.top + (node.pos[1] - 15 + offset[1]) * scale];
}"""
COLOURS = re.compile(r"\x1b\[\d+m")
LOUD = re.compile(r"^\[(WARNING|ERROR|CRITICAL)\]|Warning:|Traceback|IMPORT FAILED")
OLD_DIALOG = ".comfy-missing-models"  # before the panel, the list was in a dialog that opened by itself


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A ComfyUI that never ran, with a clone of this pack and nothing else: no model, no picture, no user."""
    base = tmp_path_factory.mktemp("fresh")
    with ComfyServer(base, folder=FOLDER, cloned=True) as running:
        yield running


@pytest.fixture(scope="module")
def page(browser, fresh):
    """The frontend at its first start. Nothing outside of this machine answers."""
    context = browser.new_context(
        viewport={"width": 1900, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.asked = set()  # of the world outside

    def keep_inside(route):
        if route.request.url.startswith(fresh.address):
            route.continue_()
        else:
            page.asked.add(route.request.url)
            route.abort()

    context.route("**/*", keep_inside)
    listen(page)
    page.goto(fresh.address)
    wait_until_ready(page)
    yield page
    context.close()


@pytest.fixture(scope="module")
def templates(page):
    """The cards of this pack in the template browser: name -> width of the thumbnail."""
    dialog = page.get_by_role("dialog")
    try:  # a new user is met with the template browser
        dialog.wait_for(timeout=10_000)
        dialog.get_by_role("button", name="Close").first.click()
        dialog.wait_for(state="hidden")
    except NotThere:
        pass
    page.get_by_role("button", name="Templates").first.click()
    dialog.get_by_text(FOLDER, exact=True).first.click()
    cards = dialog.locator("[data-testid^=template-workflow-]")
    page.wait_for_function("([cards, count]) => document.querySelectorAll(cards).length === count",
        arg=["[role=dialog] [data-testid^=template-workflow-]", len(NAMES)])  # fmt: skip
    shown = {}
    for card in cards.all():
        card.scroll_into_view_if_needed()  # thumbnails are fetched when they come into view
        page.wait_for_function("image => image?.naturalWidth", arg=card.locator("img").first.element_handle())
        name = card.get_attribute("data-testid").removeprefix("template-workflow-")
        shown[name] = card.locator("img").first.evaluate("image => image.naturalWidth")
        assert name in card.inner_text()
    cards.first.scroll_into_view_if_needed()
    picture(page, "1_templates")
    return shown


@pytest.fixture(scope="module")
def opened(page, templates):
    """The page with the first graph, opened by a click on its card."""
    page.get_by_test_id(f"template-workflow-{LOCAL}").click()
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(shipped()["nodes"]))
    page.locator(f"[data-testid=error-overlay-see-errors], {OLD_DIALOG}").first.wait_for(timeout=20_000)
    page.wait_for_timeout(1000)  # the frontend moves the graph into view
    picture(page, "2_graph")
    return page


@pytest.fixture(scope="module")
def offers(opened):
    """What ComfyUI says of the models that are missing: a line and a link each. Closed again after that."""
    rows = list_of_errors(opened)
    picture(opened, "3_models")
    said = []
    for row in rows.all():
        assert row.get_by_role("button", name="Download").is_enabled()
        row.get_by_role("button", name="Copy URL").click()
        opened.wait_for_timeout(200)
        said.append((row.inner_text(), opened.evaluate("() => navigator.clipboard.readText()")))
    put_away(opened)
    return said


def list_of_errors(page):
    """Opens the list where it does not open by itself; returns the rows of the missing models."""
    if page.get_by_test_id("error-overlay-see-errors").is_visible():
        page.get_by_test_id("error-overlay-see-errors").click()
    rows = page.locator(f"[data-testid=missing-model-importable-rows] > div, {OLD_DIALOG} li")
    rows.first.wait_for()
    return rows


def put_away(page):
    """Closes the dialog, or the panel at the side."""
    if page.get_by_role("dialog").is_visible():
        page.get_by_role("dialog").get_by_role("button", name="Close").first.click()
        page.get_by_role("dialog").wait_for(state="hidden")
    else:
        page.get_by_role("button", name="Toggle properties panel").first.click()
        page.get_by_test_id("properties-panel").wait_for(state="hidden")


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"newcomer_{name}.png")


def log_of(server):
    return COLOURS.sub("", server.log.read_text(encoding="utf-8", errors="replace")).splitlines()


def test_a_clone_is_imported_without_a_word(fresh):
    clone = fresh.base / "custom_nodes" / FOLDER
    assert (clone / ".git").is_dir()
    assert not clone.is_symlink()
    assert (clone / "pyproject.toml").read_bytes() == (ROOT / "pyproject.toml").read_bytes()
    said = log_of(fresh)
    assert any("Starting server" in line for line in said)
    of_ours = [line for line in said if str(clone) in line]
    assert len(of_ours) == 1, of_ours
    assert re.search(r"\d seconds: ", of_ours[0])  # else it says (IMPORT FAILED) there
    loud = [line for line in said if LOUD.search(line)]
    assert [line for line in loud if "Torch already imported" not in line] == []  # tools/launch.py has it before


def test_the_template_browser_shows_every_graph_with_its_thumbnail(templates):
    assert sorted(templates) == NAMES
    assert len(templates) == 9
    assert set(templates.values()) == {800}


def test_a_click_opens_the_graph_whole(opened):
    assert opened.evaluate(MISSING) == []
    assert "Missing Node" not in opened.locator("body").inner_text()
    assert opened.locator(".comfy-missing-nodes").count() == 0
    assert opened.page_errors == []


def test_the_missing_models_are_named_with_folder_and_link(opened, offers):
    assert len(MODELS) == 6
    assert len(offers) == 6
    for model in MODELS:
        page = model["url"].replace("/resolve/", "/blob/")  # what a newer frontend copies: the file's page
        (said,) = [text for text, link in offers if link in (model["url"], page)]
        assert {model["name"], model["directory"]} <= set(re.split(r"[\s/]+", said))
        assert model["url"] in opened.asked  # for the size, which nobody tells here
    assert opened.page_errors == []


def test_the_help_of_a_node_names_the_files_it_wants(opened, offers):
    opened.mouse.click(*opened.evaluate(TITLE_BAR, "Wan22Turbo_Loader"))
    opened.get_by_test_id("info-button").click()
    content = opened.locator(".node-help-content .markdown-content")
    content.locator("h1", has_text="Load Wan 2.2 I2V").wait_for()
    image = content.locator("img")
    opened.wait_for_function("image => image.complete", arg=image.element_handle())
    assert image.evaluate("image => image.naturalWidth") > 100
    picture(opened, "4_help")
    said = content.inner_text()
    wanted = [model for model in MODELS if model["directory"] != "loras"]
    assert len(wanted) == 4
    assert [model for model in wanted if model["name"] not in said or model["directory"] not in said] == []
    assert opened.page_errors == []
    put_away(opened)


def test_run_without_models_says_what_is_missing_and_where(opened, offers, fresh):
    with opened.expect_response("**/prompt") as answer:
        opened.get_by_test_id("queue-button").click()
    assert answer.value.status == 400
    told = "\n".join(
        error["details"] for node in answer.value.json()["node_errors"].values() for error in node["errors"]
    )
    opened.locator("[data-testid=error-overlay-see-errors], [role=dialog]").first.wait_for()
    if opened.get_by_test_id("error-overlay-see-errors").is_visible():
        list_of_errors(opened)
    opened.wait_for_timeout(500)
    picture(opened, "5_run")
    shown = opened.locator("[data-testid=properties-panel]:visible, [role=dialog]").last.inner_text()
    titles = opened.evaluate(TITLES)
    for model in MODELS:
        node, widget = WIDGETS[model["name"]]
        rule = f"{widget}: '{model['name']}' is not in ComfyUI's folder '{model['directory']}'."
        assert rule in told
        # A newer frontend lists the widgets and, with their folders, the files; an older one has the server's words.
        assert rule in shown or (f"{titles[node]} - {widget}" in shown and model["name"] in shown), shown
    assert opened.page_errors == []
    assert "Traceback" not in "\n".join(log_of(fresh))
    assert fresh.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_nothing_of_ours_asks_the_world_outside(opened, offers):
    """ComfyUI asks for its own news, and the addresses of the missing models for their sizes."""
    asked = {url for url in opened.asked if not re.match(r"https://[a-z.]*comfy\.org/", url)}
    assert asked <= {model["url"] for model in MODELS}
