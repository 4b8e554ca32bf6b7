"""Whose word an answer is: ComfyUI's own, or that of somebody between us, a proxy, a login page, a server that starts.

What is not ComfyUI's own word is asked for again, as after a broken connection, and never believed about a prompt.
"""

import json
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from .address import Address
from .errors import ClientError, RefusedError, TooMuchError, UnreachableError, UsageError
from .printable import short
from .transport import Answer

# What a proxy answers while the server behind it is away, busy or late. 520 to 530 are Cloudflare's.
AWAY = {408, 425, 429, 502, 503, 504, *range(520, 531)}
MOVED = {301, 302, 303, 307, 308}
OWN_500 = b"Server got itself in trouble"  # aiohttp's words, and so ComfyUI's
VALUES = 300_000  # in one JSON text: each takes some hundred bytes of memory, whatever it takes on the wire
LONGEST_WAIT = 30.0  # seconds that a Retry-After is heeded

OWN_CERTIFICATE = "If it is one of your own, name its file, in PEM format, in the variable SSL_CERT_FILE."
REMEDIES = {  # by OpenSSL's number of what is wrong with a certificate
    10: "It has to be renewed there.",
    62: "Name the server as its certificate does.",
    64: "Name the server as its certificate does.",
}

Json = dict[str, Any]


class ForeignError(Exception):
    """An answer that is not ComfyUI's own word.

    Args:
        error: What to tell the user if it stays so.
        away: The server behind it is said to be away, so that waiting may help even where nothing was heard before.
        wait: Seconds after which to ask again, if it says so.
    """

    def __init__(self, error: ClientError, away: bool = False, wait: float = 0.0):
        super().__init__(str(error))
        self.error = error
        self.away = away
        self.wait = wait


class ShapeError(ValueError):
    """JSON that is not of the shape in which ComfyUI answers."""


class TooManyError(ShapeError):
    """JSON of more values than memory should hold."""


def parsed(text: bytes | str) -> Any:
    """Reads JSON of a size that memory bears.

    Raises:
        ShapeError: It is no JSON, too deep, or too much of it.
    """
    counted = text if isinstance(text, bytes) else text.encode(errors="replace")
    if sum(map(counted.count, (b",", b"[", b"{"))) > VALUES:
        raise TooManyError(f"more than {VALUES} values")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # no JSON; numbers of thousands of digits; lists in lists in lists
        raise ShapeError("no JSON") from error


def own(address: Address, answer: Answer, statuses: tuple[int, ...] = (200,)) -> Json:
    """Returns the JSON object of an answer.

    Args:
        address: Whom we asked.
        answer: What came.
        statuses: With which ComfyUI itself answers.

    Raises:
        ForeignError: It is not ComfyUI's own word.
        RefusedError: ComfyUI itself failed at the request.
        TooMuchError: It says too much.
    """
    if answer.status in statuses:
        try:
            said = parsed(answer.body)
        except TooManyError as error:
            raise TooMuchError(f"{address} answers with {error}, which are not read.") from error
        except ShapeError:
            said = None
        if isinstance(said, dict):
            return said
    if answer.status == 500 and OWN_500 in answer.body:
        raise meaning(address, answer.status, answer.headers)
    raise foreign(address, answer.status, answer.headers)


def foreign(address: Address, status: int, headers: httpx.Headers) -> ForeignError:
    """Makes the error of an answer that is not ComfyUI's own word."""
    away = status in AWAY
    return ForeignError(meaning(address, status, headers), away, retry_after(headers) if away else 0.0)


def meaning(address: Address, status: int, headers: httpx.Headers) -> ClientError:
    """Returns the error that tells a user what an answer of others means."""
    if status in MOVED:
        return UnreachableError(elsewhere(address, status, headers.get("Location", "")))
    if status in (401, 403):
        return UnreachableError(
            f"{address} does not let us in (HTTP {status}). Give the token in WAN22_TURBO_TOKEN, "
            "or as the address asks for it."
        )
    if status == 413:
        return UsageError(f"{address} takes nothing so large (HTTP 413). Send a smaller picture.")
    if status == 500:
        return RefusedError(f"{address} failed at this request itself (HTTP 500). Its log says why.")
    if status in AWAY:
        return UnreachableError(
            f"No ComfyUI answers at {address} (HTTP {status}). Something before it does, and says that it is away or "
            "busy. Start it, or try again later."
        )
    return UnreachableError(f"{address} does not answer as a ComfyUI does (HTTP {status}). Check the address.")


def elsewhere(address: Address, status: int, location: str) -> str:
    """Returns where a redirect leads, without what may be secret in it, and what to do."""
    try:
        there = urlsplit(urljoin(address.base + "/", location))
        host, port = there.hostname or "", there.port
    except ValueError:
        host, port, there = "", None, urlsplit("")
    if not host:
        return f"{address} leads nowhere (HTTP {status} without an address). Check the address."
    target = f"{there.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    if there.scheme == "https" and address.base.startswith("http:") and host == urlsplit(address.base).hostname:
        base = short(address.mask(target + urlsplit(address.base).path))
        return f"{address} leads to {base} (HTTP {status}), and no redirect is followed. Name that: --server {base}"
    return (
        f"{address} leads to {short(address.mask(target + there.path))} (HTTP {status}), and no redirect is followed. "
        "If that is ComfyUI's new address, name it with --server; if it is a login, "
        "give a token that the server takes in WAN22_TURBO_TOKEN."
    )


def retry_after(headers: httpx.Headers) -> float:
    """Returns the seconds of a Retry-After, in either of its two forms, within bounds."""
    said = headers.get("Retry-After", "").strip()[:40]
    try:
        seconds = float(said) if said.isdigit() else parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)


def unreachable(address: Address, error: Exception) -> ClientError:
    """Returns the error that tells why no connection can be made, or none that lasts."""
    cause = tls_error(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UnreachableError(
            f"{address} shows a certificate that this machine does not trust ({short(cause.verify_message)}). "
            + REMEDIES.get(cause.verify_code, OWN_CERTIFICATE)
        )
    if cause is not None:
        return UnreachableError(
            f"{address} cannot be spoken to over https ({short(address.mask(str(cause)))}). "
            "If it has no certificate, its address begins with http://."
        )
    why = short(address.mask(str(error))) or type(error).__name__
    if address.base.startswith("http:") and isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError)):
        why += "; if it speaks https, its address begins with https://"
    return UnreachableError(f"No ComfyUI answers at {address} ({why}). Start it, or check the address.")


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Returns what TLS said, if that is behind an error. Asking again does not help then."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLError):
            return None if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) else error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
