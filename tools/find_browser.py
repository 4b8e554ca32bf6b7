"""Finds a Chromium for the browser tests, or installs one the way this machine allows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
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
    """
    browser = installed_browser()
    if browser:
        return browser
    if may_use_apt():
        sys.stderr.write("Installing Debian's chromium for the browser tests\n")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "chromium"]):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if installed_browser():
            return installed_browser()
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(playwright, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        raise RuntimeError(
            "The browser tests need Chromium or Chrome, and none could be installed. "
            "Install one, or name it: make test CHROMIUM=/path/to/chrome"
        )
    return None


def may_use_apt() -> bool:
    """Says whether this process may install Debian packages."""
    return shutil.which("apt-get") is not None and hasattr(os, "geteuid") and os.geteuid() == 0
