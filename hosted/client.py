"""Makes one hosted clip: picks up an earlier job of the same inputs, or starts one; polls; downloads.

checked ─> in the ledger? ─no─> upload ─> price ─> row on disk ─> POST, once ─> id on disk ─> polled ─> downloaded
                 └─yes─────────────────────────────────────────────────────────────────────────┘

Which lock is for what stands in docs/hosted_locks.md.
"""

import asyncio
import hashlib
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from ..common.redact import mask
from . import download, polling, submission
from .errors import BrokenError, DownloadError, FlaggedError, HostedError
from .ledger import FOLDER, WAKE, Ledger, Row
from .polling import Job, Status
from .providers import Price, dollars
from .request import Request
from .responses import Task
from .settings import DAY, Settings
from .transport import Timing, Transport

SURELY_KEPT = 7 * DAY  # seconds for which nobody doubts that the provider has a job


class KeyedLock:
    """Lets one node of this process at a time work on a request; the others wait, and find what it left.

    ComfyUI runs every graph in an event loop of its own, so nothing here belongs to one.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: set[str] = set()

    @asynccontextmanager
    async def of(self, digest: str) -> AsyncIterator[None]:
        """Waits for the lock and holds it."""
        while not self._take(digest):
            await asyncio.sleep(WAKE)
        try:
            yield
        finally:
            with self.lock:
                self.held.discard(digest)

    def _take(self, digest: str) -> bool:
        with self.lock:
            if digest in self.held:
                return False
            self.held.add(digest)
            return True


class RateLimiter:
    """Jobs at a time and starts per minute of one provider, for all graphs of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy = 0
        self.starts: deque[float] = deque()

    @asynccontextmanager
    async def place(self, jobs: int, starts_per_minute: int, waiting: Callable[[], None]) -> AsyncIterator[None]:
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


# Of all graphs and nodes of this process.
_requests = KeyedLock()
_limiters: defaultdict[str, RateLimiter] = defaultdict(RateLimiter)


class Clip(NamedTuple):
    """A finished clip."""

    path: Path  # of the MP4, in a folder that ComfyUI empties when it starts
    row: Row  # of its job, with what the provider said of the clip
    resumed: bool  # it was paid in an earlier run
    seconds: float

    @property
    def usd(self) -> float | None:
        """What it cost: what the provider charged, where it says so, else its price; None where nobody names one."""
        return self.row.usd if self.row.charged is None else self.row.charged

    def report(self, request: Request) -> str:
        """Returns a few lines about the clip, without a token or a signed address."""
        price = str(Price(self.row.usd, self.row.asked))
        if self.row.charged is not None:
            price = f"{dollars(self.row.charged)} charged"
        flag = {True: "FLAGGED", False: "none", None: "not given"}[self.row.flagged]
        lines = [
            f"{request.offer} | {request.resolution}, {request.duration} s, seed {request.seed}",
            f"Job {self.row.job_id} | {'picked up again in' if self.resumed else 'took'} {self.seconds:.0f} s",
            f"Price: {price}{', paid by an earlier run' if self.resumed else ''}",
            f"Content flag of {request.provider.title}: {flag}",
        ]
        if request.loras:
            lines.append(f"LoRAs: {'; '.join(map(str, request.loras))}")
        return mask("\n".join(lines))


class Client:
    """Makes hosted clips with the key of their provider, and puts them into the folder `clips`."""

    def __init__(self, key: str, ledger: Ledger, clips: Path, settings: Settings, timing: Timing | None = None):
        self.key = key
        self.ledger = ledger
        self.clips = clips
        self.settings = settings
        self.timing = timing or Timing()

    async def run(self, request: Request, status: Status, run_id: str = "", stop_if_flagged: bool = False) -> Clip:
        """Returns the clip of a request: of an earlier job of the same inputs if there is one, else of a new one.

        Args:
            status: Is kept up to date.
            run_id: Of the graph's run, for the operator's ceiling.
            stop_if_flagged: A flagged clip is an error.

        Raises:
            HostedError: See the tree in errors.py.
        """
        try:
            return await self._run(request, status, run_id, stop_if_flagged)
        except OSError as error:
            raise HostedError(
                "A file of this ComfyUI could not be written or read "
                f"({error.strerror or type(error).__name__}). Make room on its disk, and let its user write into the "
                f"folders user/{FOLDER} and temp. Then run the same again: what is paid is picked up."
            ) from None

    async def _run(self, request: Request, status: Status, run_id: str, stop_if_flagged: bool) -> Clip:
        request.check()
        provider, began = request.provider, time.monotonic()
        self.settings.check_allowed(provider, request.model)
        base = self.settings.base(provider)
        status.words, digest = "waiting for the same job in another node", request.digest()
        async with _requests.of(digest), Transport(provider.title, base, self.key, self.timing) as transport:
            job = Job(request, status, transport, self.ledger, self.clips, self.settings)
            async with self.ledger.alone(digest, lambda: job.say("waiting for the same job in another ComfyUI")):
                row, task, resumed = await finish(job, run_id)
            if stop_if_flagged:
                stop_flagged(job, row)
            path, row = await fetch(job, row, task)
            if stop_if_flagged:  # a provider that is asked for a fresh address may say it only then
                stop_flagged(job, row)
        status.row = None  # nothing is left to pick up
        return Clip(path, row, resumed, time.monotonic() - began)


async def finish(job: Job, run_id: str) -> tuple[Row, Task, bool]:
    """Returns a job that has ended well, and whether an earlier run started it."""
    row = await find_earlier(job)
    if row is not None:
        job.say("picking up the earlier job")
        if is_here(job, row):
            return row, Task(), True
        return *await polling.poll(job, row), True
    provider, settings = job.provider, job.settings
    limits = settings.jobs(provider), settings.starts_per_minute(provider)
    async with _limiters[provider.name].place(*limits, lambda: job.say("waiting for a free place")):
        row = await submission.start(job, run_id)
        try:
            return *await polling.poll(job, row), False
        finally:
            submission.settle(run_id, job.status.row)


async def find_earlier(job: Job) -> Row | None:
    """Returns the row of an earlier job of the same inputs that may lead to a clip."""
    digest = job.request.digest()
    job.status.row = job.ledger.find(digest)
    await submission.await_earlier(digest)
    row = job.status.row = job.ledger.find(digest)
    if row is None:
        return None
    if row.state == "claimed":
        job.say("looking for an earlier job")
        job_id = await submission.look_up(job, row)
        if job_id:
            job.status.row = job.ledger.change(row, state="sent", job_id=job_id)
            return job.status.row
    elif row.state != "failed" and (is_here(job, row) or not await is_gone(job, row)):
        return row
    if row.state == "claimed":
        job.ledger.remove(row)  # it never arrived, and cost nothing
    else:
        job.ledger.retire(row)
    job.status.row = None
    return None


async def is_gone(job: Job, row: Row) -> bool:
    """Returns whether the provider has deleted a job: by its own word, for this machine's clock may be wrong."""
    old = time.time() - row.posted > SURELY_KEPT
    return (old or row.state == "missing") and await polling.is_missing(job, row)


def stop_flagged(job: Job, row: Row) -> None:
    """Raises FlaggedError if the clip is flagged."""
    if row.flagged:
        job.status.row = None
        raise FlaggedError(
            f"{job.provider.title} flagged the content of job {row.job_id}, and if_flagged is set to stop. The clip "
            "was not saved. Change picture or prompt; or set if_flagged to keep, which costs nothing more."
        )


def place_of(job: Job, row: Row) -> Path:
    """Returns where the clip of a job is kept; the name tells neither request nor job."""
    return job.clips / f"wan22-turbo-{hashlib.sha256(f'{row.digest} {row.job_id}'.encode()).hexdigest()[:24]}.mp4"


def is_here(job: Job, row: Row) -> bool:
    """Returns whether the clip of a job is on disk, so that nobody need be asked; a damaged one is removed."""
    path = place_of(job, row)
    if row.state != "done" or not path.is_file():
        return False
    if not download.is_sound(path):
        path.unlink()
        return False
    return True


async def fetch(job: Job, row: Row, task: Task) -> tuple[Path, Row]:
    """Downloads the clip, unless it is here already, and returns where it is and what is known of its job by then.

    Raises:
        DownloadError: It could not be fetched, or is none to take.
        HostedError: As in `polling.poll`, for the address was asked for once more.
    """
    path = place_of(job, row)
    trusted, backoff = job.settings.trusted_origin(job.provider), job.timing.backoff()
    for attempt in range(job.timing.attempts):
        if path.is_file():
            break
        job.say("downloading")
        try:
            await download.fetch(task.outputs[0], path, trusted, job.timing)
        except BrokenError as error:
            if attempt + 1 == job.timing.attempts:
                raise DownloadError(str(error)) from None
            await backoff.wait()
            row, task = await polling.poll(job, row)  # for a fresh address: they expire
    return path, row
