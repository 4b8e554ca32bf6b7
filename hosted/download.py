"""Fetches a finished clip, from public https addresses only, and makes sure that it is one."""

import asyncio
import contextlib
import os
import socket
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from .address import is_public, may_be_public
from .clip_file import BrokenError, check_clip
from .errors import DownloadError
from .timing import Timing

MAX_CLIP = 256_000_000  # bytes; eight seconds at 1080p are a tenth of that
REDIRECTS = 3
_PIECE = 1 << 16


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only. The connection goes to the very address that was looked at."""

    def __init__(self) -> None:
        self.names = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a name.

        Raises:
            DownloadError: One of them is not public.
        """
        found = await self.names.resolve(host, port, family)
        if not all(is_public(entry["host"]) for entry in found):
            raise DownloadError(_NOT_PUBLIC)
        return found

    async def close(self) -> None:
        """Ends the resolver."""
        await self.names.close()


_NOT_PUBLIC = (
    "A finished clip is fetched from public https addresses only, and the provider named another one. "
    "Nothing was fetched. Run again; if it stays, download the clip from your account there."
)


def check_address(url: str, trusted: str | None) -> URL:
    """Checks an address before anything connects to it, and returns what was checked: as the connection reads it.

    It writes full-width digits as plain ones, say, so that another reading would not see the same host.

    Args:
        trusted: The one origin that may be on this machine: the operator's own server.

    Raises:
        DownloadError: It is neither public https nor that origin.
    """
    try:
        parsed = URL(url)
        ours = bool(trusted) and parsed.origin() == URL(trusted or "")
    except ValueError:
        raise DownloadError(_NOT_PUBLIC) from None
    if parsed.user or not (ours or (parsed.scheme == "https" and may_be_public(parsed.raw_host or ""))):
        raise DownloadError(_NOT_PUBLIC)
    return parsed


async def fetch(url: str, target: Path, trusted: str | None, timing: Timing) -> None:
    """Downloads a clip and puts it in place when it is complete and can be decoded.

    Raises:
        BrokenError: It failed, and may not the next time.
        DownloadError: The address or the file is not one to take.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".part", prefix=f"{target.stem}-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            await _stream(url, file, trusted, timing)
        await asyncio.to_thread(check_clip, Path(name))
        os.replace(name, target)
    finally:
        with contextlib.suppress(OSError):  # on Windows, a decoder that broke off may still hold it
            Path(name).unlink()


async def _stream(url: str, file: Any, trusted: str | None, timing: Timing) -> None:
    limits = aiohttp.ClientTimeout(total=timing.download, sock_connect=timing.connect, sock_read=timing.stall)
    resolver = PublicResolver()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
            for _ in range(REDIRECTS + 1):
                async with session.get(check_address(url, trusted), allow_redirects=False) as answer:
                    if answer.status not in (301, 302, 303, 307, 308):
                        await _take(answer, file)
                        return
                    url = urllib.parse.urljoin(url, answer.headers.get("Location", ""))
            raise BrokenError("The address of the clip leads from one to the next without an end. Run again.")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        # The library's own text would show the signed address.
        raise BrokenError(
            f"The download of the clip broke off ({type(error).__name__}). Run again: it is paid."
        ) from None
    finally:
        await resolver.close()


async def _take(answer: aiohttp.ClientResponse, file: Any) -> None:
    if answer.status != 200:
        raise BrokenError(f"The address of the clip answers {answer.status}. Run again: the clip is paid.")
    size = answer.content_length or 0
    async for piece in answer.content.iter_chunked(_PIECE):
        size = max(size, file.tell() + len(piece))
        if size > MAX_CLIP:
            break
        file.write(piece)
    if size > MAX_CLIP:
        raise DownloadError(
            f"A clip may have {MAX_CLIP / 1e6:.0f} MB, and this one has {size / 1e6:.0f} MB or more. Nothing was kept. "
            "Download it from your account at the provider."
        )
