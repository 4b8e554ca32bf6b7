"""ComfyUI's own frontend in a headless Chromium."""

from collections.abc import Iterator

import pytest
from find_browser import ARGUMENTS, ensure_browser, frontend
from playwright.sync_api import Browser, Page, sync_playwright


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
    with frontend(browser, server, listen) as tab:
        yield tab


def listen(tab: Page) -> None:
    """Collects a page's errors in its `page_errors`."""
    tab.page_errors = []
    tab.on("pageerror", lambda error: tab.page_errors.append(str(error)))
