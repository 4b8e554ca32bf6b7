"""The report of a study in a real browser, from the disk: it plays in step, sorts, filters, and asks nobody else."""

import pytest
from find_browser import PATIENCE
from pack.client.report import command
from pack.tests.browser.hands import PICTURES
from pack.tests.toy.reports import FPS, HOSTILE, looked_at, many

pytestmark = pytest.mark.browser

SHOWN = "() => [...document.querySelectorAll('video[src]')].filter(video => video.readyState >= 2)"
TIMES = f"() => ({SHOWN})().map(video => [video.currentTime, video.duration, video.paused])"
ALL_THERE = "() => [...document.querySelectorAll('video[src]')].every(video => video.readyState >= 2)"
# At work, all that have not ended within two frames of each other, and more than a few frames from the start.
IN_STEP = f"""() => {{
    const times = ({SHOWN})().filter(video => !video.paused && !video.ended).map(video => video.currentTime);
    return times.length >= 6 && Math.min(...times) > 0.25 && Math.max(...times) - Math.min(...times) < 2 / {FPS};
}}"""
# Of many, each that is in view and no other plays, none of them off the clock by more than the page lets it.
AS_ONE = """() => {
    const inside = video => {
        const { top, bottom } = video.getBoundingClientRect();
        return bottom > 0 && top < innerHeight;
    };
    const players = [...document.querySelectorAll('video[src]')], at = Number(document.getElementById('time').value);
    const times = players.filter(inside).map(video => video.currentTime);
    return times.length >= 40 && players.every(video => video.paused || inside(video)) && at > 0.4
        && Math.max(...times) - Math.min(...times) < 0.4 && times.every(time => Math.abs(time - at) < 0.4);
}"""
BEYOND = """() => [...document.querySelectorAll('video[src]')].filter(video => {
    const { top } = video.getBoundingClientRect();
    return top >= innerHeight && video.readyState >= 2 && video.paused;
}).length > 0"""
# From its first standstill on, a player that is not let play: how often it was waited for anew, and the clips over.
STAND = """video => {
    video.play = () => Promise.reject(new Error('It is not let.'));
    Object.defineProperty(video, 'ended', { value: true });  // which a seek into the last frame makes it at times
    window.anew = window.over = 0;
    let stood = false, last = 0;
    const look = () => {
        const stands = now.playing && stuck(video);
        if (stood) window.anew += !stands, window.over += at() < last;
        [stood, last] = [stood || stands, at()];
        requestAnimationFrame(look);
    };
    look();
}"""
STOPPED = f"() => ({ALL_THERE})() && ({SHOWN})().every(video => video.paused && !video.seeking)"
LOADED = "() => document.querySelectorAll('video[src]').length"
OUTLINED = "() => getComputedStyle(document.activeElement).outlineStyle !== 'none'"


@pytest.fixture
def open_report(browser):
    """Opens the report of a study from the disk, and sees to it at the end that all stayed on the disk."""
    pages = []

    def opened(folder, width=1300, height=900, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
        pages.append(page)
        page.goto((folder / "report.html").as_uri())
        page.wait_for_function(ALL_THERE)
        return page

    yield opened
    for page in pages:
        assert page.errors == []
        assert [url for url in page.asked if not url.startswith(("file:///", "data:"))] == []
        page.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four rows of three variants, one of which has clips twice as long."""
    folder = many(tmp_path_factory.mktemp("a study 小"), 4, 3, frames=(17, 33, 17))
    command.make(folder)
    return folder


def times(page):
    return page.evaluate(TIMES)


def order(page):
    return page.locator("tbody th").evaluate_all("cells => cells.map(cell => cell.firstChild.textContent)")


def seen(page, selector):
    return page.locator(f"{selector}:visible").count()


def test_it_plays_in_step_and_by_keys(open_report, study):
    page = open_report(study)
    assert page.title() == "a study: report"
    page.keyboard.press("Space")
    page.wait_for_function(IN_STEP)
    page.wait_for_function("() => Number(document.getElementById('time').value) > 1.3")  # the short ones have ended
    page.wait_for_function("() => Number(document.getElementById('time').value) < 0.5")  # and begin again with the long
    page.wait_for_function(IN_STEP)
    page.keyboard.press("Space")
    page.wait_for_function(STOPPED)
    one, two = 1 / FPS, 2 / FPS
    for key, place in (("End", 33 / FPS), ("Home", 0), ("ArrowRight", one), ("ArrowRight", two), ("ArrowLeft", one)):
        page.keyboard.press(key)
        page.wait_for_function(STOPPED)
        for now, duration, _ in times(page):
            assert now == pytest.approx(min(place, duration - 0.5 / FPS), abs=1e-3), key
    page.locator("#time").fill("0.5")
    page.wait_for_function(STOPPED)
    assert {round(now, 3) for now, *_ in times(page)} == {0.5}


def test_it_sorts_and_filters(open_report, study):
    page = open_report(study)
    assert order(page) == ["variant 0", "variant 1", "variant 2"]
    head = page.get_by_role("button", name="Latency p50, s")
    for expected in (["variant 2", "variant 1", "variant 0"], ["variant 0", "variant 1", "variant 2"]):
        head.click()
        assert order(page) == expected
    assert page.locator("th[aria-sort=descending]").count() == 1
    filter_ = page.get_by_role("searchbox")
    asked = {"picture 1.png": (2, 3), "2 variant": (4, 1), "seed bold": (1, 3), "no such": (0, 3), "": (4, 3)}
    for words, (rows, columns) in asked.items():
        filter_.fill(words)
        assert (seen(page, "article.row"), seen(page, "tbody tr")) == (rows, columns), words
        assert seen(page, "#none") == (rows == 0)
    page.get_by_text("Variants", exact=True).click()
    page.get_by_role("checkbox", name="variant 1").uncheck()
    assert (seen(page, "tbody tr"), seen(page, "video")) == (2, 8)
    page.get_by_text("Columns", exact=True).click()
    before = seen(page, "thead th")
    page.get_by_role("checkbox", name="Likeness of the first frame").uncheck()
    assert seen(page, "thead th") == before - 1


def test_it_is_used_by_keys_alone(open_report, study):
    page = open_report(study)
    for _ in range(6):
        page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "play"
    assert page.evaluate(OUTLINED)
    page.keyboard.press("Space")  # of the button, so once
    assert page.locator("#play").inner_text() == "Stop"
    page.keyboard.press("Space")
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Row 2"
    assert page.evaluate(OUTLINED)
    page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Row 1"


def test_of_500_clips_those_in_view_are_loaded_and_play_as_one_and_a_missing_one_is_told(open_report, tmp_path):
    folder = many(tmp_path / "many", 50, 10)
    command.make(folder)
    missing = sorted((folder / "clips").glob("* 500 *"))
    missing[0].unlink()
    page = open_report(folder, 1900, 1800)
    page.locator("#size").fill("9")
    page.wait_for_function("() => document.querySelectorAll('video[src]').length === 60")  # of more that are in view
    page.wait_for_function(ALL_THERE)
    page.set_viewport_size({"width": 1900, "height": 700})
    page.locator("#play").click()
    page.wait_for_function(AS_ONE)
    page.wait_for_function(BEYOND)  # what is to come is there, and waits
    page.locator("article.row").nth(20).evaluate("row => row.scrollIntoView()")
    page.wait_for_function(AS_ONE)
    page.locator("#time").fill("0.5")
    page.locator("article.row").last.evaluate("row => row.scrollIntoView()")
    page.get_by_text("The clip cannot be played").wait_for()
    page.wait_for_function("() => document.querySelector('article.row:last-of-type video').currentTime === 0.5")
    assert page.evaluate(LOADED) <= 60
    assert page.locator("video").count() == 499
    assert page.locator("video").first.get_attribute("src") is None
    page.errors[:] = [error for error in page.errors if "ERR_FILE_NOT_FOUND" not in error]


def test_a_player_that_never_moves_holds_the_others_up_but_once(open_report, tmp_path):
    folder = many(tmp_path / "long", 1, 2, frames=(49,))
    command.make(folder)
    page = open_report(folder)
    page.locator("video").first.evaluate(STAND)
    page.locator("#play").click()
    page.wait_for_function("() => window.over > 1")
    assert page.evaluate("() => window.anew") == 0


@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (1300, "dark"), (390, "light")])
def test_it_is_looked_at_and_nothing_is_wider_than_the_page(open_report, tmp_path_factory, width, scheme):
    folder = tmp_path_factory.getbasetemp() / "report that is looked at"
    if not folder.exists():
        command.make(looked_at(folder))
    page = open_report(folder, width, 900, scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert page.get_by_text(HOSTILE, exact=True).count() > 0
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"report_{width}_{scheme}.png")
    page.screenshot(path=PICTURES / f"report_{width}_{scheme}_whole.png", full_page=True)
