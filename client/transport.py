"""One exchange with the server over HTTP, bounded in bytes and in time, and decoded where a proxy compressed it."""

import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from .address import Address
from .errors import TooMuchError

TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds for each step; a server that loads models may answer late
LATE = 120.0  # seconds for an answer as a whole, however often a byte of it comes
SLOWEST = 1000.0  # bytes a second, below which an upload or a download counts as broken
MOST = 12_000_000  # bytes of an answer that is no file
PIECE = 1 << 16  # bytes
EMPTY = 1_000_000  # bytes of a compressed answer that may unfold to nothing
COOKIES = 50  # a balancer sets one or two


class BrokenError(Exception):
    """An answer that came too slowly, or is in an encoding that cannot be read here."""


@dataclass(frozen=True)
class Answer:
    """An answer that is no file.

    Args:
        status: Of HTTP.
        headers: By name, whatever the case.
        body: Decoded.
    """

    status: int
    headers: httpx.Headers
    body: bytes


class Transport:
    """Speaks to the one server that the user named: no redirect is followed, no proxy asked.

    Args:
        address: Where it is.
    """

    def __init__(self, address: Address):
        self.base = address.base
        self.query = address.query
        self.tls = trust() if address.base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.socket: socket.socket | None = None
        self.http = httpx.Client(
            headers={**address.headers, "Accept-Encoding": "identity", "Cache-Control": "no-cache"},
            timeout=TIMEOUT, verify=self.tls, trust_env=False, follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=1),  # so that the socket seen last is the one in use
        )  # fmt: skip

    def close(self) -> None:
        """Ends the connection."""
        self.http.close()

    def ask(self, method: str, path: str, size: int = 0, **content: Any) -> Answer:
        """Sends a request and returns the whole answer.

        Args:
            method: GET or POST.
            path: Below the server's address.
            size: Of what is sent, in bytes.
            content: What httpx sends: files, content, headers.

        Raises:
            httpx.TransportError: The connection cannot be made, or broke.
            BrokenError: The answer cannot be read.
            TooMuchError: It is too large.
        """
        body = bytearray()
        with self.open(method, path, size, **content) as response:
            for piece in decoded(response):
                body += piece
                if len(body) > MOST:
                    raise TooMuchError(f"{self.base} answers with more than {MOST / 1e6:.0f} MB, which is not read.")
        return Answer(response.status_code, response.headers, bytes(body))

    @contextmanager
    def open(self, method: str, path: str, size: int = 0, **content: Any) -> Iterator[httpx.Response]:
        """Sends a request and gives the answer before its body is read. As for `ask`."""
        if len(self.http.cookies.jar) > COOKIES:
            self.http.cookies.clear()
        url = httpx.URL(self.base + path).copy_merge_params(self.query)  # `params` would replace what is in the path
        request = self.http.build_request(method, url, extensions={"trace": self.watch}, **content)
        with self.cut_after(LATE + size / SLOWEST):
            response = self.http.send(request, stream=True)
        try:
            yield response
        finally:
            response.close()

    def watch(self, event: str, info: dict[str, Any]) -> None:
        """Remembers the socket of each new connection, as httpcore tells of it."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self.socket = info["return_value"].get_extra_info("socket")

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cuts the connection if what is inside takes longer: httpx limits each step, not all of them together."""
        late = threading.Event()

        def cut() -> None:
            late.set()
            if self.socket is not None:
                shut(self.socket)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except httpx.TransportError as error:
            if late.is_set():
                raise BrokenError(f"no whole answer in {seconds:.0f} seconds") from error
            raise
        finally:
            timer.cancel()


def trust() -> ssl.SSLContext:
    """Returns whom this machine trusts: the system, or SSL_CERT_FILE and SSL_CERT_DIR. Reading it takes a while."""
    return ssl.create_default_context()


def shut(open_socket: socket.socket) -> None:
    """Wakes whoever reads from a socket or writes to it, in another thread."""
    try:
        socket.socket.shutdown(open_socket, socket.SHUT_RDWR)  # not the method of a TLS socket, which forgets its keys
    except OSError:
        return  # it is closed already


def decoded(response: httpx.Response) -> Iterator[bytes]:
    """Reads a body piece by piece, decoded: some proxies compress what nobody asked them to.

    Raises:
        httpx.TransportError: The connection broke.
        BrokenError: It came too slowly, ended too early, or cannot be decoded.
    """
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        yield from paced(response)
    elif coding in ("gzip", "x-gzip", "deflate"):
        yield from inflated(paced(response))
    else:
        raise BrokenError(f"an answer in the encoding '{coding}', which was not asked for")


def paced(response: httpx.Response) -> Iterator[bytes]:
    """Reads a body as it is, as long as it comes fast enough."""
    began = time.monotonic()
    for piece in response.iter_raw():
        yield piece
        seconds = time.monotonic() - began
        if seconds > LATE and response.num_bytes_downloaded < SLOWEST * seconds:
            raise BrokenError(f"only {response.num_bytes_downloaded} bytes came in {seconds:.0f} seconds")


def inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Decompresses gzip or deflate, never more than a piece at a time, whatever it unfolds to."""
    inflate = zlib.decompressobj(47)  # 32 + 15: either of them
    came = made = 0
    try:
        for given in pieces:
            left, piece = given, b""
            came += len(given)
            while left or len(piece) == PIECE:  # a full piece: there may be more of it within
                piece = inflate.decompress(left, PIECE)
                made += len(piece)
                yield piece
                left = inflate.unconsumed_tail
                if inflate.eof and inflate.unused_data:  # gzip files may stand one behind the other
                    left, inflate = inflate.unused_data, zlib.decompressobj(47)
            if came > 2 * made + EMPTY:  # limits on what comes out would never be reached
                raise BrokenError("a compressed answer with next to nothing in it")
    except zlib.error as error:
        raise BrokenError("an answer that is said to be compressed and is not") from error
    if not inflate.eof:
        raise BrokenError("a compressed answer without its end")
