"""ComfyUI's own frontend in a headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from find_browser import ARGUMENTS, PATIENCE, ensure_browser, frontend, settle
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="module")  # while Playwright runs, asyncio.run refuses to, which other rings use
def browser() -> Iterator[Browser]:
    with launched() as chromium:
        yield chromium


@contextmanager
def launched() -> Iterator[Browser]:
    """Starts a Chromium, and ends it after the block."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=ensure_browser(), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")  # opening one takes as long as most of what is done in it
def shared_page(browser: Browser, server) -> Iterator[Page]:
    """A page with the frontend loaded, for all tests of a file."""
    with frontend(browser, server, listen) as tab:
        yield tab


@pytest.fixture
def page(shared_page: Page) -> Page:
    """The same with an empty graph; errors in it are collected in `page_errors`."""
    return emptied(shared_page)


@pytest.fixture(scope="module")
def shared_hosted_page(browser: Browser, comfyui) -> Iterator[Page]:
    """A page of the ComfyUI that is led to hosted models on the loopback address, for all tests of a file."""
    with frontend(browser, comfyui, listen) as tab:
        yield tab


@pytest.fixture
def hosted_page(shared_hosted_page: Page) -> Page:
    """The same with an empty graph."""
    return emptied(shared_hosted_page)


@pytest.fixture
def tab(browser: Browser, server) -> Iterator[Page]:
    """An empty page of the server, where its files may be looked at pixel by pixel."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.address + "/queue")
    yield page
    page.close()


def emptied(tab: Page) -> Page:
    """Takes away what an earlier test left."""
    settle(tab)  # at first the frontend brings back a graph from before
    tab.keyboard.press("Escape")
    tab.evaluate("() => app.graph.clear()")
    tab.page_errors.clear()
    return tab


def listen(tab: Page) -> None:
    """Collects a page's errors in its `page_errors`."""
    tab.page_errors = []
    tab.on("pageerror", lambda error: tab.page_errors.append(str(error)))


@contextmanager
def in_language(browser, server, locale):
    server.set_setting("Comfy.Locale", locale)
    server.set_setting("Comfy.NodeBadge.NodeSourceBadgeMode", "None")  # it would show the folder's name for the test
    try:
        with frontend(browser, server, listen) as tab:
            tab.locale = locale
            yield tab
    finally:
        server.set_setting("Comfy.Locale", "en")
