"""How long the client waits for what, and how many jobs it lets run at a time."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

WAKE = 0.1  # seconds between two looks at what other threads and event loops do


@dataclass(frozen=True)
class Timing:
    """Seconds, and counts of attempts.

    Attributes:
        connect: Until a connection stands.
        request: For one small exchange.
        submit: For the one that starts a job.
        upload: For a picture.
        download: For a clip.
        stall: Without a byte of a clip.
        first_poll: Until the first poll; later ones come more slowly, up to `longest_poll`.
        deadline: For a job; it goes on when the node stops waiting.
        grace: A new job may be unknown to a provider's own servers for so long.
        settle: Until a job that did arrive is in the provider's history.
        rate: For a provider that says "too many requests" without saying how long.
        attempts: For what may be repeated.
    """

    connect: float = 15.0
    request: float = 30.0
    submit: float = 60.0
    upload: float = 120.0
    download: float = 600.0
    stall: float = 30.0
    first_poll: float = 1.0
    longest_poll: float = 5.0
    deadline: float = 1800.0
    grace: float = 30.0
    settle: float = 30.0
    rate: float = 5.0
    attempts: int = 4

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


class Slots:
    """Jobs at a time and starts per minute of one provider, for all graphs of this process.

    ComfyUI runs every graph in an event loop of its own, so nothing here belongs to one.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.starts: deque[float] = deque()

    @asynccontextmanager
    async def taken(self, jobs: int, starts_per_minute: int, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Waits for a free place and keeps it."""
        while not self._take(jobs, starts_per_minute):
            waiting()
            await asyncio.sleep(WAKE)
        try:
            yield
        finally:
            with self.lock:
                self.busy -= 1

    def _take(self, jobs: int, starts_per_minute: int) -> bool:
        now = time.monotonic()
        with self.lock:
            while self.starts and now - self.starts[0] > 60:
                self.starts.popleft()
            if self.busy >= jobs or (starts_per_minute and len(self.starts) >= starts_per_minute):
                return False
            self.busy += 1
            self.starts.append(now)
            return True


class Turns:
    """Lets one at a time work on the same request; the others wait, and find what it left."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken: set[str] = set()

    @asynccontextmanager
    async def of(self, digest: str) -> AsyncIterator[None]:
        """Waits for the turn."""
        while not self._take(digest):
            await asyncio.sleep(WAKE)
        try:
            yield
        finally:
            with self.lock:
                self.taken.discard(digest)

    def _take(self, digest: str) -> bool:
        with self.lock:
            if digest in self.taken:
                return False
            self.taken.add(digest)
            return True
