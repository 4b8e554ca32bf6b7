"""ComfyUI's own frontend in a headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from find_browser import ARGUMENTS, ensure_browser
from playwright.sync_api import Browser, Page, sync_playwright

READY = "() => window.app?.graph && window.app.canvas && document.querySelector('#graph-canvas, canvas')"


@pytest.fixture(scope="module")  # while Playwright runs, asyncio.run refuses to, which other rings use
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=ensure_browser(), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, server) -> Iterator[Page]:
    """A page with the frontend loaded and idle; errors in it are collected in `page_errors`."""
    yield from open_page(browser, server)


@pytest.fixture
def hosted_page(browser: Browser, comfyui) -> Iterator[Page]:
    """The same, of the ComfyUI that is led to hosted models on the loopback address."""
    yield from open_page(browser, comfyui)


def open_page(browser: Browser, server) -> Iterator[Page]:
    """Opens a page, and closes it when it is asked for the next one."""
    with frontend(browser, server) as tab:
        yield tab


@contextmanager
def frontend(browser: Browser, server) -> Iterator[Page]:
    """Opens the frontend in a page of its own."""
    server.set_setting("Comfy.TutorialCompleted", True)
    server.set_setting("Comfy.Minimap.Visible", False)  # it lies over the graph
    tab = browser.new_page(viewport={"width": 1900, "height": 1000})
    tab.page_errors = []
    tab.on("pageerror", lambda error: tab.page_errors.append(str(error)))
    tab.goto(server.address)
    tab.wait_for_function(READY, timeout=120_000)
    tab.wait_for_function("() => Object.keys(LiteGraph.registered_node_types).length > 100", timeout=60_000)
    yield tab
    tab.close()
