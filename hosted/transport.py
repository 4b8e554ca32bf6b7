"""One exchange with a provider: bounded in time and size, never repeated and never redirected by itself."""

import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

from ..common.text import read_json
from .errors import UnavailableError
from .timing import Timing

MAX_ANSWER = 4_000_000  # bytes


class NotSentError(UnavailableError):
    """No connection stood, so nothing left this machine."""


class LostError(UnavailableError):
    """The exchange broke off. The request may have arrived."""


@dataclass(frozen=True)
class Reply:
    """A provider's answer.

    Attributes:
        data: Its JSON; None where it is none.
        retry_after: Seconds to wait, where the provider says so.
    """

    status: int
    data: Any
    retry_after: float | None = None

    @property
    def fine(self) -> bool:
        """Says whether the status tells of success."""
        return 200 <= self.status < 300


class Wire:
    """A connection to one provider, open within an `async with` block.

    Args:
        title: The provider's, for messages.
        base: Address that the paths are below.
        key: Goes to that address and nowhere else.
    """

    def __init__(self, title: str, base: str, key: str, timing: Timing):
        self.title = title
        self.base = base
        self.key = key
        self.timing = timing
        self.session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Wire":
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

    async def upload(self, path: str, name: str, content: bytes) -> Reply:
        """Posts a PNG as the form field `file`."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type="image/png")
        return await self._exchange("POST", path, self.timing.upload, data=form)

    async def _exchange(self, method: str, path: str, seconds: float, **what: Any) -> Reply:
        if self.session is None:
            raise RuntimeError("A wire carries something only within its `async with` block.")
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
