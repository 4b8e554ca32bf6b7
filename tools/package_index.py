"""The package index that pip is configured for: the wheels of a package, and what one of them asks for."""

import io
import os
import re
import ssl
import subprocess
import sys
import zipfile
from collections import defaultdict
from contextlib import suppress
from email.parser import Parser
from functools import cache
from typing import Any

import httpx
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version


def setting(name: str) -> str:
    """Returns a setting of pip, from its variables or its files; "" where it has none."""
    named = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if named:
        return named
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def index_url() -> str:
    """Returns the address of the package index, with no slash at its end."""
    from pip._internal.models.index import PyPI

    return (setting("index-url") or PyPI.simple_url).rstrip("/")


class Index:
    """The package index: the wheels of a package, and what one of them asks for."""

    def __init__(self) -> None:
        context = ssl.create_default_context(cafile=setting("cert") or None)
        self.http = httpx.Client(verify=context, timeout=60, follow_redirects=True)
        self.address = index_url()

    @cache  # noqa: B019  # one object lives as long as the program
    def wheels(self, name: str) -> dict[Version, list[dict[str, Any]]]:
        """Returns the wheels by version, without those that were taken back."""
        asks = {"Accept": "application/vnd.pypi.simple.v1+json"}
        found = defaultdict(list)
        for file in self.http.get(f"{self.address}/{name}/", headers=asks).raise_for_status().json()["files"]:
            with suppress(InvalidWheelFilename):  # what is no wheel, and wheels of old with odd names
                if not file["yanked"]:
                    found[parse_wheel_filename(file["filename"])[1]].append(file)
        return found

    @cache  # noqa: B019
    def requirements(self, url: str) -> list[Requirement]:
        """Returns what a wheel asks for; only the end of a large file is fetched."""
        with zipfile.ZipFile(io.BufferedReader(Remote(self.http, url), 1 << 16)) as wheel:
            (name,) = (name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            lines = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist", [])
        return [Requirement(line) for line in lines]


class Remote(io.RawIOBase):
    """A file on a server, read in parts."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self.http, self.url, self.at = http, url, 0
        self.size = int(http.head(url).raise_for_status().headers["Content-Length"])

    def seekable(self) -> bool:
        """Returns whether it can be read from anywhere, which it can."""
        return True

    def readable(self) -> bool:
        """Returns whether it can be read, which it can."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place, as files do."""
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fetches the bytes at the place."""
        last = min(self.at + len(buffer), self.size) - 1
        if last < self.at:
            return 0
        part = self.http.get(self.url, headers={"Range": f"bytes={self.at}-{last}"}).raise_for_status().content
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)
