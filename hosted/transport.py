"""One exchange with a provider: bounded in time and size, never repeated and never redirected by itself."""

import asyncio
import random
import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp

from ..common.text import read_json
from .errors import LostError, NotSentError
from .providers import Query
from .responses import Reply

MAX_ANSWER = 4_000_000  # bytes


class Timing(NamedTuple):
    """Seconds, and counts of attempts."""

    connect: float = 15.0  # until a connection stands
    request: float = 30.0  # for one small exchange
    submit: float = 60.0  # for the one that starts a job
    upload: float = 120.0  # for a picture
    download: float = 600.0  # for a clip
    stall: float = 30.0  # without a byte of a clip
    first_poll: float = 1.0  # until the first poll; later ones come more slowly, up to `longest_poll`
    longest_poll: float = 5.0
    deadline: float = 1800.0  # for a job; it goes on when the node stops waiting
    grace: float = 30.0  # for so long a new job may be unknown to a provider's own servers
    settle: float = 30.0  # until a job that did arrive is in the provider's history
    rate: float = 5.0  # for a provider that says "too many requests" without saying how long
    attempts: int = 4  # for what may be repeated

    @property
    def until_listed(self) -> float:
        """Seconds from the moment before an order leaves until its job must be in the provider's list."""
        return self.connect + self.submit + self.settle

    def backoff(self) -> "Backoff":
        """Returns waits that grow by half each time, a fifth shorter or longer at random."""
        return Backoff(self.first_poll, self.longest_poll)


@dataclass
class Backoff:
    """Waits that grow."""

    current: float
    longest: float

    async def wait(self, at_least: float = 0.0) -> None:
        """Waits once; longer where somebody asked for it."""
        await asyncio.sleep(max(at_least, self.current * random.uniform(0.8, 1.2)))
        self.current = min(self.longest, self.current * 1.5)


class Transport:
    """A connection to one provider, open within an `async with` block. Its key goes to `base` and nowhere else."""

    def __init__(self, title: str, base: str, key: str, timing: Timing):
        self.title = title
        self.base = base
        self.key = key
        self.timing = timing
        self.session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Transport":
        self.session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.key}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.session:
            await self.session.close()

    async def get(self, path: str, params: dict[str, str] | None = None) -> Reply:
        """Reads something."""
        return await self._exchange("GET", path, self.timing.request, params=params)

    async def post(self, path: str, body: dict[str, Any], seconds: float | None = None) -> Reply:
        """Posts JSON, once."""
        return await self._exchange("POST", path, seconds or self.timing.request, json=body)

    async def ask(self, query: Query) -> Reply:
        """Sends a question that costs nothing."""
        if query.body is None:
            return await self.get(query.path, dict(query.params or {}))
        return await self.post(query.path, dict(query.body))

    async def upload(self, path: str, name: str, content: bytes) -> Reply:
        """Posts a PNG as the form field `file`."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type="image/png")
        return await self._exchange("POST", path, self.timing.upload, data=form)

    async def _exchange(self, method: str, path: str, seconds: float, **what: Any) -> Reply:
        if self.session is None:
            raise RuntimeError("A transport carries something only within its `async with` block.")
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=self.timing.connect)
        try:
            # A redirect would carry the key, or a paid order, to somewhere else.
            async with self.session.request(
                method, self.base + path, timeout=limits, allow_redirects=False, **what
            ) as answer:
                return Reply(answer.status, read_json(await _read(answer)), _seconds(answer.headers.get("Retry-After")))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSentError(
                f"{self.title} could not be reached ({_kind(error)}). Check the network connection and try again."
            ) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise LostError(
                f"The connection to {self.title} broke off ({_kind(error)}). Try again in a moment."
            ) from None


def _kind(error: BaseException) -> str:
    return type(error).__name__.removesuffix("Error")  # the library's own text would show addresses


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_chunked(65_536):
        body += piece
        if len(body) > MAX_ANSWER:
            raise ValueError("the answer is too large")
    return bytes(body)


def _seconds(header: str | None) -> float | None:
    if header is None or not re.fullmatch(r"\d+(\.\d+)?", header.strip()):
        return None  # a date, which no provider is known to send
    return min(float(header), 120.0)
