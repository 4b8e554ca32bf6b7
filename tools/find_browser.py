"""Finds a Chromium, or installs one the way this machine allows, and opens ComfyUI's own frontend in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from setup_cache import lock

if TYPE_CHECKING:
    from comfy_server import ComfyServer
    from playwright.sync_api import Browser, Page

# First the one without windows: it opens a page with a quarter less processor time than one that only hides them.
HEADLESS = "chromium-headless-shell"
NAMES = (HEADLESS, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
# Without these a Chromium on a closed network tries, and fails, to reach its maker all the time.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Counts the answers that a page waits for.
COUNT_REQUESTS = """() => {
    const fetch = window.fetch;
    window.awaited = 0;
    window.fetch = (...asked) => { window.awaited++; return fetch(...asked).finally(() => window.awaited--); };
}"""
# What lies where on the canvas, or in Nodes 2.0 as elements, and every animation that has an end: settled when it has
# been the same in so many drawn pictures, which a busy machine draws more slowly, and no answer is awaited.
SETTLED = """([pictures, patience]) => new Promise((resolve, reject) => {
    const box = element => Object.values(element.getBoundingClientRect().toJSON());
    const seen = () => JSON.stringify([
        app.canvas.ds.scale, [...app.canvas.ds.offset], document.querySelectorAll('*').length,
        app.graph.nodes.map(node => [node.id, [...node.pos], [...node.size], (node.widgets ?? []).map(each => each.y)]),
        [...document.querySelectorAll('[data-node-id], [role=dialog], textarea')].map(box),
        document.getAnimations().filter(each =>
            each.playState === 'running' && each.effect?.getComputedTiming().endTime !== Infinity).length]);
    let before = '', alike = 0;
    const look = () => {
        const now = seen();
        alike = now === before && !window.awaited ? alike + 1 : 0;
        before = now;
        if (alike >= pictures) resolve(); else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
    setTimeout(() => reject(new Error(`It moves on and on, ${window.awaited} answers awaited: ${before}`)), patience);
})"""
PICTURES = 12  # a fifth of a second, longer than the panel waits before it asks anew
PATIENCE = 120_000  # milliseconds, for whatever a page is waited for: a busy machine takes its time
READY = """() => window.app?.graph && window.app.canvas && document.querySelector('canvas')
    && LiteGraph.registered_node_types['Wan22Turbo_Sampler'] && LiteGraph.registered_node_types['Wan22Turbo_Lora']"""


def installed_browser() -> str | None:
    """Returns the path of a Chromium or Chrome; CHROMIUM names one."""
    if os.environ.get("CHROMIUM"):
        return os.environ["CHROMIUM"]
    found = (shutil.which(name) for name in NAMES)
    return next(filter(None, found), None) or next((place for place in PLACES if Path(place).is_file()), None)


def ensure_browser() -> str | None:
    """Returns the path of a browser, installing one if there is none; None for Playwright's own.

    Raises:
        RuntimeError: None can be had. The text says what to do.
        SetupError: The set-up's cache folder, which holds its lock, cannot be written.
    """
    with lock(_say):  # what another process is installing is not whole yet
        return installed_browser() or _install()


def _install() -> str | None:
    if may_use_apt():
        _say(f"Installing Debian's {HEADLESS} for the browser tests")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", HEADLESS]):
            apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *command]  # seconds: others may be installing
            subprocess.run(apt, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if installed_browser():
            return installed_browser()
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(playwright, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise RuntimeError(
            "The browser tests need Chromium or Chrome, and none could be installed. "
            "Install one, or name it: make test CHROMIUM=/path/to/chrome"
        )
    return None


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def may_use_apt() -> bool:
    """Returns whether this process may install Debian packages."""
    return shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def frontend(
    browser: "Browser", server: "ComfyServer", listen: Callable[["Page"], object] = lambda page: None
) -> Iterator["Page"]:
    """Opens the frontend in a page of its own, with nothing lying over the graph, and closes it after the block.

    Args:
        browser: Playwright's.
        server: A ComfyUI with this pack.
        listen: Called with the page while it is empty, to hear all that happens in it.
    """
    server.set_setting("Comfy.TutorialCompleted", True)
    server.set_setting("Comfy.Minimap.Visible", False)
    page = browser.new_page(viewport={"width": 1900, "height": 1000})
    page.add_init_script(f"({COUNT_REQUESTS})()")
    page.set_default_timeout(PATIENCE)
    listen(page)
    page.goto(server.address)
    wait_until_ready(page)
    yield page
    page.close()


def wait_until_ready(page: "Page") -> None:
    """Waits until the frontend has its canvas and knows this pack's nodes."""
    page.wait_for_function(READY, timeout=PATIENCE)


def settle(page: "Page") -> None:
    """Waits until the frontend has nothing more to move, to draw or to hear."""
    page.evaluate(SETTLED, [PICTURES, PATIENCE])
