"""The first hour of somebody who has ComfyUI and cloned this pack: by clicks, without models and without a network.

The fixtures are the stages of the way, each on top of the one before, in one page.
"""

import re
import shutil

import pytest
from comfy_server import ComfyServer, place_photograph
from find_browser import COUNT_REQUESTS, PATIENCE, settle, wait_until_ready
from pack.tests.browser.conftest import listen
from pack.tests.browser.hands import (
    GRAPHS,
    PICTURES,
    browse_templates,
    missing_models,
    open_template,
    put_away,
    shipped,
    twin,
    words_of,
)
from pack.tests.browser.test_graphs import MISSING
from pack.tests.browser.test_run import DRAFT
from playwright.sync_api import TimeoutError as NotThere

pytestmark = pytest.mark.browser

FOLDER = "wan22-turbo"  # as git names it, and as the README does
NAMES = sorted(path.stem for path in GRAPHS.glob("*.json"))
MODELS = [model for node in shipped()["nodes"] for model in node["properties"].get("models", [])]
WIDGETS = {
    value: widget for node in twin().values() for widget, value in node["inputs"].items() if isinstance(value, str)
}
FILES = "https://huggingface.co/**"
CARDS = "[role=dialog] [data-testid^=template-workflow-]"
TITLE_BAR = """type => {
    const node = app.graph.nodes.find(node => node.type === type);
    const {scale, offset} = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect();
    return [box.left + (node.pos[0] + 60 + offset[0]) * scale, box.top + (node.pos[1] - 15 + offset[1]) * scale];
}"""
# The model files of the open graph that its lists offer.
OFFERED = """() => app.graph.nodes.flatMap(node => node.widgets ?? [])
    .filter(({options, value}) => /safetensors$/.test(value) && options?.values?.includes?.(value))
    .map(widget => widget.value)"""
COLOURS = re.compile(r"\x1b\[\d+m")
LOUD = re.compile(r"^\[(WARNING|ERROR|CRITICAL)\]|Warning:|Traceback|IMPORT FAILED")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A ComfyUI that never ran, with a clone of this pack and the picture that ComfyUI brings: no model, no user."""
    base = tmp_path_factory.mktemp("fresh")
    place_photograph(base / "input", crop=(0, 120, 451, 180))  # narrow: the run is quick
    with ComfyServer(base, folder=FOLDER, cloned=True) as running:
        yield running


@pytest.fixture(scope="module")
def page(browser, fresh):
    """The frontend at its first start. Nothing outside of this machine answers; what was asked is in `asked`."""
    context = browser.new_context(
        viewport={"width": 1900, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.add_init_script(f"({COUNT_REQUESTS})()")
    page.asked = set()

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
    try:
        page.get_by_role("dialog").wait_for(timeout=20_000)  # a new user is met with the template browser
    except NotThere:
        pass
    else:
        put_away(page)
    browse_templates(page, FOLDER)
    page.wait_for_function(f"count => document.querySelectorAll('{CARDS}').length === count", arg=len(NAMES))
    shown = {}
    for card in page.locator(CARDS).all():
        card.scroll_into_view_if_needed()  # thumbnails are fetched when they come into view
        image = card.locator("img").first.element_handle()
        page.wait_for_function("image => image.naturalWidth", arg=image)
        name = card.get_attribute("data-testid").removeprefix("template-workflow-")
        assert name in card.inner_text()
        shown[name] = image.evaluate("image => image.naturalWidth")
    page.locator(CARDS).first.scroll_into_view_if_needed()
    page.locator(CARDS).first.locator("img").first.wait_for()
    picture(page, "1_templates")
    return shown


@pytest.fixture(scope="module")
def opened(page, templates):
    """The page with the graph to start with, opened by a click on its card."""
    open_template(page)
    picture(page, "2_graph")
    return page


@pytest.fixture(scope="module")
def offers(opened):
    """What ComfyUI says of the models that are missing: a line and a link each. Closed again after that."""
    rows = missing_models(opened)
    picture(opened, "3_models")
    said, link = [], ""
    for row in rows.all():
        assert row.get_by_role("button", name="Download").is_enabled()
        row.get_by_role("button", name="Copy URL").click()
        opened.wait_for_function("async before => await navigator.clipboard.readText() !== before", arg=link)
        link = opened.evaluate("() => navigator.clipboard.readText()")
        said.append((words_of(row), link))
    opened.wait_for_function("() => !document.querySelector('.p-toast-message')")  # it says each time what it did
    put_away(opened)
    return said


@pytest.fixture
def canvas(opened, offers):
    """The page with nothing over the graph, and left like that also by a test that fails."""
    yield opened
    opened.unroute(FILES)
    put_away(opened)


def picture(page, name):
    settle(page)  # graphs and panels glide to their places
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"newcomer_{name}.png")


def log_of(server):
    return COLOURS.sub("", server.log.read_text(encoding="utf-8", errors="replace")).splitlines()


def test_a_clone_is_imported_without_a_word(fresh):
    clone = fresh.base / "custom_nodes" / FOLDER
    assert (clone / ".git").is_dir()
    assert not clone.is_symlink()
    assert not (clone / "output").exists()
    said = log_of(fresh)
    assert any("Starting server" in line for line in said)
    of_ours = [line for line in said if str(clone) in line]
    assert len(of_ours) == 1, of_ours
    assert re.search(r"\d seconds: ", of_ours[0])  # else it says (IMPORT FAILED) there
    loud = [line for line in said if LOUD.search(line)]
    assert [line for line in loud if "Torch already imported" not in line] == []  # by tools/launch.py, not by us


def test_the_template_browser_shows_every_graph_with_its_thumbnail(templates):
    assert len(templates) == 11
    assert templates == dict.fromkeys(NAMES, 800)


def test_a_click_opens_the_graph_whole(opened):
    assert opened.evaluate(MISSING) == []
    assert "Missing Node" not in opened.locator("body").inner_text()
    assert opened.page_errors == []


def test_the_missing_models_are_named_with_folder_and_link(opened, offers):
    assert len(offers) == len(MODELS) == 6
    for model in MODELS:
        page = model["url"].replace("/resolve/", "/blob/")  # what a newer frontend copies: the file's page
        (said,) = [text for text, link in offers if link in (model["url"], page)]
        assert {model["name"], model["directory"]} <= set(re.split(r"[\s/]+", said))
        assert model["url"] in opened.asked  # for the size, which nobody tells here
    assert opened.page_errors == []


def test_the_help_of_a_node_names_the_files_it_wants(canvas):
    canvas.mouse.click(*canvas.evaluate(TITLE_BAR, "Wan22Turbo_Loader"))
    canvas.get_by_test_id("info-button").click()
    content = canvas.locator(".node-help-content .markdown-content")
    content.locator("h1", has_text="Load Wan 2.2 I2V").wait_for()
    image = content.locator("img").element_handle()
    canvas.wait_for_function("image => image.complete", arg=image)
    assert image.evaluate("image => image.naturalWidth") > 100
    picture(canvas, "4_help")
    said = content.inner_text()
    wanted = [model for model in MODELS if model["directory"] != "loras"]
    assert len(wanted) == 4
    assert [model for model in wanted if model["name"] not in said or model["directory"] not in said] == []
    assert canvas.page_errors == []


def test_run_without_models_says_what_is_missing_and_where(canvas, fresh):
    with canvas.expect_response("**/prompt") as answer:
        canvas.get_by_test_id("queue-button").click()
    assert answer.value.status == 400
    asks = canvas.get_by_test_id("error-overlay-see-errors")
    asks.or_(canvas.get_by_role("dialog")).first.wait_for()
    if asks.is_visible():  # a newer frontend has a list, and the words of a node behind a button
        asks.click()
        details = canvas.get_by_role("button", name=re.compile(r"^Info for .* - "))
        details.first.wait_for()
        for each in details.all():
            each.click()
    picture(canvas, "5_run")
    shown = canvas.locator("[data-testid=properties-panel]:visible").or_(canvas.get_by_role("dialog")).last.inner_text()
    for model in MODELS:
        rule = f"'{model['name']}' is not in ComfyUI's folder '{model['directory']}'. Download it into that folder"
        assert f"{WIDGETS[model['name']]}: {rule}" in shown
    assert canvas.page_errors == []
    assert "Traceback" not in "\n".join(log_of(fresh))
    assert fresh.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_where_the_network_tells_sizes_they_are_shown(canvas):
    """ComfyUI asks at the address that the graph has for a file."""
    sizes = {model["url"]: number for number, model in enumerate(MODELS, start=1)}

    def tell(route):
        size = sizes[route.request.url] * 1024**3
        route.fulfill(headers={"access-control-allow-origin": "*", "content-length": str(size)})

    canvas.route(FILES, tell)
    browse_templates(canvas, FOLDER)
    open_template(canvas)
    rows = missing_models(canvas)
    for model in MODELS:
        rows.filter(has_text=model["name"]).filter(has_text=f"{sizes[model['url']]} GB").wait_for()
    picture(canvas, "6_sizes")


def test_with_the_files_where_it_said_and_r_pressed_it_runs(canvas, fresh, toy_models):
    shutil.copytree(toy_models, fresh.base / "models", dirs_exist_ok=True)
    assert canvas.evaluate(OFFERED) == []
    canvas.keyboard.press("r")
    canvas.wait_for_function(
        f"names => names.every(name => ({OFFERED})().includes(name))", arg=[model["name"] for model in MODELS]
    )
    canvas.evaluate(DRAFT)
    canvas.get_by_test_id("queue-button").click()
    canvas.wait_for_function("() => [...document.querySelectorAll('video')].some(clip => clip.videoWidth)")
    picture(canvas, "7_clip")
    assert not canvas.get_by_test_id("error-overlay-see-errors").is_visible()
    assert not canvas.get_by_role("dialog").is_visible()
    assert [path.suffix for path in (fresh.base / "output" / "video").iterdir()] == [".mp4"]
    assert canvas.page_errors == []


def test_nothing_of_ours_asked_the_world_outside(opened, offers):
    """ComfyUI asks for its own news, and at the addresses of missing models for their sizes."""
    asked = {url for url in opened.asked if not re.match(r"https://[a-z.]*comfy\.org/", url)}
    assert asked == {model["url"] for model in MODELS}
