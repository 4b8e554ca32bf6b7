# ruff: noqa: E501  # the table reads best by its lines
"""Everything that the providers are made to do wrong, and what must come of it."""

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from .clip import clip, counting
from .loopback import Effect, Handler, Provider

HTML = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
DIGITS = "9" * 401
DEEP = "[" * 100_000 + "]" * 100_000
HUGE = json.dumps("word " * 200_000)
ODD = "\x1b]0;owned\x07\x1b[2J\u202e\x00evil\r\nSet-Cookie: a\ud800"  # what steers terminals, and what ends lines
Phase = Literal["upload", "price", "submit", "history", "poll", "download"]


def says(status: int, message: str = "internal error", **headers: str) -> Callable[[Provider], Effect]:
    """A refusal in the provider's own shape, before anything happens."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            await request.read()
            answer = provider.refuse(status, message)
            answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
            return answer

        return effect

    return make


def raw(status: int, text: str, arrived: bool = False, **headers: str) -> Callable[[Provider], Effect]:
    """An answer that is none of the provider's. `arrived`: what was asked has been done all the same."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            await (go_on(request) if arrived else request.read())
            return web.Response(status=status, text=text, content_type="text/html", headers=headers)

        return effect

    return make


def cut(arrived: bool) -> Callable[[Provider], Effect]:
    """The connection is reset: before the body was read, or after everything was done."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            if arrived:
                await go_on(request)
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError

        return effect

    return make


def drip(provider: Provider) -> Effect:
    """The answer comes a byte at a time, too slowly to wait for; what was asked has been done."""

    async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
        await go_on(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(20):
            await response.write(b" ")
            await asyncio.sleep(0.2)
        return response

    return effect


def job_says(**verdict: Any) -> Callable[[Provider], Effect]:
    """The job has failed, in so many words."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            provider.jobs[request.match_info["id"]].verdict = verdict
            return await go_on(request)

        return effect

    return make


def polled(**changes: Any) -> Callable[[Provider], Effect]:
    """The answer to a poll, with something else in it."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            answer = provider.envelope(provider.jobs[request.match_info["id"]])
            return web.json_response({**answer, "data": {**answer["data"], **changes}})

        return effect

    return make


def reworded(changes: Callable[[str], str]) -> Callable[[Provider], Effect]:
    """The answer of a provider in good health, with its text changed: to what no library would write as JSON."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            answer = await go_on(request)
            assert isinstance(answer, web.Response)
            return web.Response(text=changes(str(answer.text)), content_type="application/json")

        return effect

    return make


def inserted(name: str, value: str) -> Callable[[str], str]:
    """Puts a value into what is said of a job, in place of a part of the same name."""

    def change(text: str) -> str:
        assert f'"{name}": ' in text or name == "price"
        text = re.sub(rf'"{name}": (\[[^\]]*\]|"[^"]*"|[^,}}\]]+),? ?', "", text, count=1)
        return text.replace('"model": ', f'"{name}": {value}, "model": ', 1).replace(", }", "}")

    return change


def quoting(price: str) -> Callable[[Provider], Effect]:
    """A price quote with another price in it."""
    return reworded(lambda text: re.sub(r'"price": [\d.]+', f'"price": {price}', text))


def sends(content: Callable[[], bytes], promised: int = 0) -> Callable[[Provider], Effect]:
    """A file instead of the clip. `promised`: more bytes than come."""

    def make(provider: Provider) -> Effect:
        async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
            body = content()
            response = web.StreamResponse(headers={"Content-Length": str(len(body) + promised)})
            await response.prepare(request)
            await response.write(body)
            if promised and request.transport is not None:
                request.transport.close()
            return response

        return effect

    return make


def leads_to(url: str) -> Callable[[Provider], Effect]:
    """A redirect."""
    return raw(302, "", Location=url)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        text: For people.
        effects: On the first requests of the phase; the last one on all later ones too if `stays`.
        first: What the run comes to: a clip, or the name of the error.
        again: What the same inputs come to when the provider is well again.
        unlisted: The same two where the provider has no list of jobs.
        timing: Waits that differ from the usual ones.
    """

    text: str
    phase: Phase
    effects: tuple[Callable[[Provider], Effect], ...]
    first: str = "clip"
    again: str = "clip"
    stays: bool = False
    unlisted: tuple[str, str] | None = None
    timing: dict[str, float] = field(default_factory=dict)
    arrived: bool = False  # a job was started although no clear answer came


UNCLEAR = ("UnclearError", "UnclearError")
LOST = {"unlisted": UNCLEAR}
SHORT = {"submit": 0.5, "request": 0.5, "stall": 0.3, "download": 1.0}

FAULTS = (
    Fault("upload: 401, the key is refused", "upload", (says(401, "invalid key"),), "AuthError"),
    Fault("upload: 413, too large", "upload", (says(413, "file too large"),), "RefusedError"),
    Fault("upload: 500, twice", "upload", (says(500), says(500))),
    Fault("upload: names no address", "upload", (raw(200, "{}"),), "UnavailableError"),
    Fault("upload: reset", "upload", (cut(arrived=True),)),
    Fault("price: 500", "price", (says(500),)),
    Fault("price: 1e400", "price", (quoting("1e400"),)),
    Fault("price: NaN", "price", (quoting("NaN"),)),
    Fault("submit: 400, a parameter is refused", "submit", (says(400, "invalid parameter seed"),), "RefusedError"),
    Fault("submit: 401, the key is refused", "submit", (says(401, "invalid key"),), "AuthError"),
    Fault("submit: 402, no credit", "submit", (says(402, "Payment Required"),), "BalanceError"),
    Fault("submit: 400 that says the balance is insufficient", "submit", (says(400, "Insufficient balance"),), "BalanceError"),
    Fault("submit: 403, the account is blocked", "submit", (says(403, "account disabled"),), "AuthError"),
    Fault("submit: 404, no such model", "submit", (says(404, "model not found"),), "RefusedError"),
    Fault("submit: 422, validation", "submit", (says(422, "duration must be 5 or 8"),), "RefusedError"),
    Fault("submit: 429 with Retry-After", "submit", (says(429, "slow down", Retry_After="0.1"),)),
    Fault("submit: 429 without Retry-After", "submit", (says(429, "slow down"), says(429, "slow down"))),
    Fault("submit: 429 for good", "submit", (says(429, "slow down"),), "RateLimitedError", stays=True),
    Fault("submit: 500, no job began", "submit", (says(500),), "UnclearError", **LOST),
    Fault("submit: 500 for a model without a price", "submit", (says(500, "failed to evaluate price: expression"),), "RefusedError"),
    Fault("submit: HTML 502, no job began", "submit", (raw(502, HTML),), "UnclearError", **LOST),
    Fault("submit: HTML 502, a job began", "submit", (raw(502, HTML, arrived=True),), arrived=True, **LOST),
    Fault("submit: reset before the body was read", "submit", (cut(arrived=False),), "UnclearError", **LOST),
    Fault("submit: reset after the body, a job began", "submit", (cut(arrived=True),), arrived=True, **LOST),
    Fault("submit: slow drip, a job began", "submit", (drip,), timing=SHORT, arrived=True, **LOST),
    Fault("submit: wrong JSON, a job began", "submit", (raw(200, "{\"code\": 2", arrived=True),), arrived=True, **LOST),
    Fault("submit: 200 without an id, a job began", "submit", (raw(200, "{}", arrived=True),), arrived=True, **LOST),
    Fault("submit: JSON that is 100000 deep, a job began", "submit", (raw(200, DEEP, arrived=True),), arrived=True, **LOST),
    Fault("submit: an id of escape sequences, a job began", "submit", (reworded(inserted("id", json.dumps(ODD))),), arrived=True, **LOST),
    Fault("submit: redirected", "submit", (raw(307, "", Location="https://elsewhere.example/"),), "RefusedError"),
    Fault("poll: 404 while the job is fresh", "poll", (says(404, "not found"),) * 4, timing={"grace": 5.0}),
    Fault("poll: 404 after that, the job comes back", "poll", (says(404, "not found"),), "JobGoneError", stays=True),
    Fault("poll: 401, the key was withdrawn", "poll", (says(401, "invalid key"),), "AuthError"),
    Fault("poll: 402", "poll", (says(402, "Payment Required"),), "BalanceError"),
    Fault("poll: 403", "poll", (says(403, "forbidden"),), "AuthError"),
    Fault("poll: 429 with Retry-After", "poll", (says(429, "slow down", Retry_After="0.1"),)),
    Fault("poll: 429 without Retry-After", "poll", (says(429, "slow down"),) * 3),
    Fault("poll: 500 that is no verdict", "poll", (says(500),) * 3),
    Fault("poll: the verdict is failed (a 500 at AtlasCloud)", "poll", (job_says(status="failed", error="out of memory"),), "JobFailedError"),
    Fault("poll: the verdict is a moderation refusal", "poll", (job_says(status="failed", error="content moderation", code=1200),), "ModeratedError"),
    Fault("poll: the verdict is failed, in escape sequences", "poll", (job_says(status="failed", error=ODD),), "JobFailedError"),
    Fault("poll: cancelled by the provider", "poll", (job_says(status="cancelled", error=""),), "JobFailedError"),
    Fault("poll: the provider's own time-out", "poll", (job_says(status="timeout", error="", code=5004),), "JobFailedError"),
    Fault("poll: HTML 502", "poll", (raw(502, HTML),) * 3),
    Fault("poll: reset", "poll", (cut(arrived=False), cut(arrived=True))),
    Fault("poll: slow drip", "poll", (drip,), timing=SHORT),
    Fault("poll: wrong JSON", "poll", (raw(200, "{\"code\": 2"), raw(200, "[]"), raw(200, "null"))),
    Fault("poll: JSON that is 100000 deep", "poll", (raw(200, DEEP),) * 3),
    Fault("poll: a charge of 401 digits", "poll", (reworded(inserted("price", DIGITS)),) * 3),
    Fault("poll: an id of 1 MB", "poll", (reworded(inserted("id", HUGE)),) * 3),
    Fault("poll: a million outputs", "poll", (reworded(inserted("outputs", json.dumps(["x"] * 1_000_000))),) * 3),
    Fault("poll: a status that nobody documented", "poll", (polled(status="warming_up", outputs=[]),) * 2),
    Fault("poll: done, without outputs, for a moment", "poll", (polled(status="completed", outputs=[]),) * 2),
    Fault("poll: done, without outputs, for good", "poll", (polled(status="completed", outputs=[]),), "JobPendingError", stays=True),
    Fault("poll: never done", "poll", (polled(status="processing", outputs=[]),), "JobPendingError", stays=True, timing={"deadline": 0.3}),
    Fault("download: broken off, twice", "download", (sends(lambda: clip()[:2000], 3000), sends(lambda: clip()[:999], 3000))),
    Fault("download: truncated MP4 of the promised length", "download", (sends(lambda: clip()[:-2000]),), "DownloadError", stays=True),
    Fault("download: a web page instead of an MP4", "download", (sends(lambda: HTML.encode()),), "DownloadError", stays=True),
    Fault("download: too large", "download", (sends(lambda: clip() + bytes(64), 10**9),), "DownloadError", stays=True),
    Fault("download: a clip of 4096x4096", "download", (sends(lambda: clip(4096, 4096, 1)),), "DownloadError", stays=True),
    Fault("download: an index that counts 40 million frames", "download", (sends(lambda: counting(40_000_000)),), "DownloadError", stays=True),
    Fault("download: redirect to http", "download", (leads_to("http://example.com/clip.mp4"),), "DownloadError", stays=True),
    Fault("download: redirect to a private address", "download", (leads_to("https://10.0.0.1/clip.mp4"),), "DownloadError", stays=True),
    Fault("download: redirect to a private address within one of IPv6", "download", (leads_to("https://[64:ff9b::a00:1]/clip.mp4"),), "DownloadError", stays=True),
    Fault("download: redirect to a name of this machine", "download", (leads_to("https://localhost:9/clip.mp4"),), "DownloadError", stays=True),
    Fault("download: the address has expired", "download", (raw(403, "expired"),)),
    Fault("download: 404 for good", "download", (raw(404, "gone"),), "DownloadError", stays=True),
    Fault("download: stalls", "download", (drip,), timing=SHORT),
)  # fmt: skip


def held(
    reached: threading.Event, arrived: bool, seconds: float = 5.0, answered: threading.Event | None = None
) -> Effect:
    """Tells that a request has come, and when it is answered at last. `arrived`: what was asked has been done."""

    async def effect(request: web.Request, go_on: Handler) -> web.StreamResponse:
        answer = await go_on(request) if arrived else None
        reached.set()
        await asyncio.sleep(seconds)
        if answered:
            answered.set()
        return answer or web.Response(status=503)

    return effect
