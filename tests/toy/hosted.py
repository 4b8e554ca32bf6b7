"""A hosted request and a client for it, with waits that suit a test."""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...hosted.client import Client, Clip
from ...hosted.errors import HostedError
from ...hosted.ledger import Ledger, Row
from ...hosted.polling import Status
from ...hosted.providers import BY_NAME
from ...hosted.request import Picture, Request
from ...hosted.settings import Settings
from ...hosted.transport import Timing
from .faults import Fault
from .loopback import KEY, Provider, Running

QUICK = Timing(
    connect=0.5,
    request=5.0,
    submit=2.0,
    upload=5.0,
    download=10.0,
    stall=5.0,
    first_poll=0.01,
    longest_poll=0.05,
    deadline=20.0,
    grace=0.1,
    settle=0.2,
    rate=0.05,
)
BRIEF = QUICK._replace(connect=0.2, submit=0.5, settle=0.05)
WAVESPEED, ATLASCLOUD, API302 = (BY_NAME[name] for name in ("wavespeed", "atlascloud", "api302"))
OFFER = {
    "wavespeed": "WaveSpeed: wan-2.2/image-to-video",
    "atlascloud": "AtlasCloud: wan-2.2-turbo/image-to-video",
    "api302": "302.AI: wan-2.2/image-to-video",
}
PROMPT = "The subject turns its head towards the light."


def picture(level: int = 90) -> Picture:
    """A small picture, another one for each level."""
    return Picture(np.full((48, 64, 3), level, np.uint8))


def request(provider: str, **changes: Any) -> Request:
    """A request that every provider takes."""
    return replace(Request(OFFER[provider], PROMPT, picture(), seed=7), **changes)


def client(folder: Path, running: Running, timing: Timing = QUICK, key: str = KEY, **variables: str) -> Client:
    """A client as a freshly started ComfyUI would have it: only what is on disk is known to it."""
    settings = Settings({**running.environment(), "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0", **variables})
    return Client(key, Ledger(folder / "jobs"), folder / "clips", settings, timing)


@dataclass
class Outcome:
    """What came of a run."""

    name: str
    text: str
    clip: Clip | None = None


def rows_of(ledger: Ledger) -> list[Row]:
    """Returns all rows that can be read, one for each request."""
    return [entry.row for entry in ledger.entries() if entry.row and not entry.retired]


def outcome(client: Client, request: Request, **options: Any) -> Outcome:
    """Runs a request to a clip or an error."""
    try:
        clip = asyncio.run(client.run(request, Status(), **options))
    except HostedError as error:
        return Outcome(type(error).__name__, str(error))
    return Outcome("clip", clip.report(request), clip)


@dataclass
class Trial:
    """A fault, then the same inputs with the provider in good health."""

    first: Outcome
    again: Outcome
    posts: int
    twice: int  # jobs that were submitted although one of the same inputs was good
    lost: int  # paid jobs without a clip


def try_fault(fault: Fault, provider: Provider, running: Running, folder: Path) -> Trial:
    """Lets a fault happen to one request."""
    provider.break_next(fault.phase, *(make(provider) for make in fault.effects), forever=fault.stays)
    asked = request(provider.name)
    first = outcome(client(folder, running, QUICK._replace(**fault.timing)), asked)
    posts = provider.posts
    provider.heal()
    again = outcome(client(folder, running), asked)
    charged = len(provider.charged)
    got = int("clip" in (first.name, again.name))
    inputs = Counter(str(sorted((name, str(value)) for name, value in job.inputs.items())) for job in provider.charged)
    return Trial(first, again, posts, sum(inputs.values()) - len(inputs) + max(0, charged - 1), max(0, charged - got))


def expected(fault: Fault, provider: Provider) -> tuple[str, str]:
    """Returns what a fault comes to at a provider: in the run where it happens, and in the next one."""
    return (fault.first, fault.again) if provider.lists_jobs or fault.unlisted is None else fault.unlisted


def is_plain(text: str) -> bool:
    return len(text) < 1200 and all(letter.isprintable() or letter == "\n" for letter in text)


def check_that_it_is_paid_once(provider: Provider, running: Running, folder: Path) -> None:
    """Runs the request of a job once more: it is picked up, and neither paid nor posted again."""
    again = outcome(client(folder, running), request(provider.name))
    assert again.name == "clip", again.text
    assert is_plain(again.text)
    assert len(provider.charged) == provider.posts == 1
    for path in folder.rglob("*.json"):
        assert is_plain(path.read_text())
