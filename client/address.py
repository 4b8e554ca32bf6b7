"""Where the server is. What is secret in an address goes to the server and is never shown."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import httpx

from .errors import ClientError, UsageError


@dataclass(frozen=True)
class Address:
    """A ComfyUI server.

    Args:
        base: Scheme, host, port and path, without anything secret.
        query: What the user put after "?", such as a token; it goes along with every request.
        authorization: The header of that name, "" if none.
        secrets: Texts that must not be shown.
    """

    base: str
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.base

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        return {"Authorization": self.authorization} if self.authorization else {}

    def websocket(self, client_id: str) -> str:
        """Returns where the server tells this client about its runs."""
        return "ws" + self.base.removeprefix("http") + "/ws?" + urlencode([*self.query, ("clientId", client_id)])

    def mask(self, text: str) -> str:
        """Returns a text without what is secret in this address."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


@contextmanager
def masked(address: Address) -> Iterator[None]:
    """Keeps errors from telling what is secret in an address: a server may say it back to us."""
    try:
        yield
    except ClientError as error:
        error.args = (address.mask(str(error)),)
        raise


def parse(text: str, token: str = "") -> Address:
    """Reads an address as people write it: 127.0.0.1:8188, https://user:word@host/path?token=abc.

    Args:
        text: The address; without a scheme it is http.
        token: For an Authorization header, unless the address holds a user name.

    Raises:
        UsageError: It is no address of a server, or the token can stand in no header.
    """
    token = token.strip()  # of a file, often with the end of its line
    if not token.isascii() or not token.isprintable():  # the library would refuse it, and show it
        raise UsageError("The token must be of plain letters, digits and signs on one line, and is not. Copy it again.")
    whole = (
        text.strip() if re.match(r"^[a-z][a-z0-9+.-]*://", text.strip(), re.IGNORECASE) else f"http://{text.strip()}"
    )
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as the system will look it up: no empty part, none over 63 letters
        httpx.URL(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    except (ValueError, httpx.InvalidURL):
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("The server must be named as http://HOST:PORT or https://HOST/PATH, and is not.")
    shown_host = f"[{host}]" if ":" in host else host
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
    secrets = [password or user, credentials, token, *(value for _, value in query)]
    return Address(
        base=f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{parts.path.rstrip('/')}",
        query=query,
        authorization=f"Basic {credentials}" if credentials else f"Bearer {token}" if token else "",
        secrets=tuple({form for secret in secrets if secret for form in (secret, quote(secret, safe=""))}),
    )
