"""A job on its way: what its steps share, how it is asked for by its id, and how it is found where that never came."""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import (
    HostedError,
    JobFailedError,
    JobGoneError,
    JobPendingError,
    ModeratedError,
    UnavailableError,
    UnclearError,
)
from .ledger import Ledger, Row, digest_of
from .providers import PAGE, Provider
from .request import Request
from .responses import Listed, Reply, Task, shown
from .settings import Settings
from .transport import Timing, Transport

logger = logging.getLogger(__name__)

UNKNOWN = 3  # answers in a row that a job does not exist, before it is believed
EMPTY = 5  # answers in a row that a job is done and has no clip
PAGES = 25
CLOCKS_DIFFER = 300.0  # seconds that this machine's clock and the provider's may be apart


@dataclass
class Status:
    """What people see of a job while it is on its way."""

    words: str = "starting"  # what it does now
    row: Row | None = None  # of an order that may lead to a clip, as long as the clip is not here
    began: float = field(default_factory=time.monotonic)

    def after_stop(self, request: Request) -> str | None:
        """Returns what goes on at the provider when nobody waits any more; None if nothing does."""
        if self.row is None or self.row.state in ("failed", "missing"):
            return None
        title, again = request.provider.title, f"Run the same again, with seed {request.seed}, to pick it up."
        if self.row.state == "claimed":
            return f"{title}: a job was sent and may go on, and be charged. {again}"
        goes = "is done and charged" if self.row.state == "done" else "goes on and is charged"
        return f"{title}: job {self.row.job_id} {goes}. {again}"


@dataclass(frozen=True)
class Job:
    """What the steps from a request to its clip share."""

    request: Request
    status: Status
    transport: Transport
    ledger: Ledger
    clips: Path  # folder for finished clips
    settings: Settings

    @property
    def provider(self) -> Provider:
        """The provider that makes the clip."""
        return self.request.provider

    @property
    def timing(self) -> Timing:
        """How long to wait."""
        return self.transport.timing

    @property
    def again(self) -> str:
        """What to do for the same job: a seed that changes by itself would start another one."""
        return f"run the same again, with seed {self.request.seed}"

    def say(self, words: str) -> None:
        """Tells whoever watches what happens now."""
        self.status.words = words


async def poll(job: Job, row: Row) -> tuple[Row, Task]:
    """Polls until the job has ended well; HostedError if it ended badly, or waiting makes no sense any more."""
    deadline, backoff = time.monotonic() + job.timing.deadline, job.timing.backoff()
    job.status.row = row
    unknown = empty = 0
    while True:
        reply = await ask(job, row)
        task = job.provider.read_task(reply.data) if reply else Task()
        charged = row.charged if task.usd is None else task.usd  # what was said once stays said
        if task.verdict == "done" and task.outputs:
            flagged = row.flagged if task.flagged is None else task.flagged
            return note_end(job, row, state="done", flagged=flagged, charged=charged), task
        if task.verdict == "bad":
            raise failure(job, note_end(job, row, state="failed", charged=charged), task)
        empty = empty + 1 if task.verdict == "done" else 0
        if reply and not task.status:
            unknown = unknown + 1 if reply.inner_status in (400, 404) else 0
            check_reply(job, row, reply, unknown)
        if empty >= EMPTY or time.monotonic() > deadline:
            raise too_late(job, row, empty >= EMPTY)
        if task.status:
            job.say(task.status)
        await backoff.wait((reply.retry_after or 0.0) if reply else 0.0)


async def ask(job: Job, row: Row) -> Reply | None:
    """Asks for the job; None if no answer came, which says nothing about it."""
    try:
        return await job.transport.get(job.provider.poll_path(str(row.job_id)))
    except UnavailableError:
        job.say("no answer, asking again")
        return None


async def is_missing(job: Job, row: Row) -> bool:
    """Asks once more for a job that the provider did not know; UnavailableError if no answer comes."""
    reply = await job.transport.get(job.provider.poll_path(str(row.job_id)))
    return reply.inner_status in (400, 404) and not job.provider.read_task(reply.data).status


def note_end(job: Job, row: Row, **changes: Any) -> Row:
    """Writes down what became of a job. Where that fails, the next run asks the provider again, and nothing is lost."""
    try:
        job.status.row = job.ledger.change(row, **changes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        logger.warning(f"What became of job {row.job_id} could not be written down ({reason}); it is asked for again.")
        job.status.row = replace(row, **changes)
    return job.status.row


def check_reply(job: Job, row: Row, reply: Reply, unknown: int) -> None:
    """Checks an answer that says nothing of the job: most mean nothing, some mean the end of waiting.

    Raises:
        AuthError, BalanceError: The key is not good any more.
        JobGoneError: The provider does not know the job, and it is too old to be on its way.
    """
    if reply.inner_status in (401, 402, 403):
        error = job.provider.refusal(reply, job.transport.key)
        raise type(error)(f"{error} Job {row.job_id} goes on and is charged. Then {job.again} to pick it up.")
    if unknown >= UNKNOWN and time.time() - row.posted > job.timing.grace:
        note_end(job, row, state="missing")
        raise JobGoneError(
            f"{job.provider.title} does not know job {row.job_id} (any more): it deleted it, or the key is another "
            f"account's. Look at your account there, then {job.again}: it asks once more before it starts a new job."
        )


def too_late(job: Job, row: Row, empty: bool) -> HostedError:
    """Returns the error that ends the waiting although the job did not end."""
    title = job.provider.title
    if empty:
        return JobPendingError(
            f"{title} says that job {row.job_id} is done, and names no clip. To ask again, {job.again}, "
            "which costs nothing; for a new job change the seed."
        )
    return JobPendingError(
        f"Job {row.job_id} at {title} is not done after {job.timing.deadline:.0f} s. "
        f"It goes on and is charged. To pick it up, {job.again}."
    )


def failure(job: Job, row: Row, task: Task) -> HostedError:
    """Returns the error that the verdict on a job means; the next run starts a new one."""
    title = job.provider.title
    words = shown(task.error, job.transport.key) or f"it says {task.status}, and nothing more"
    if task.moderated:
        return ModeratedError(
            f"The content filter of {title} refused job {row.job_id}: {words}. Change picture or prompt."
        )
    paid = job.provider.charges_failed_jobs
    charged = "Look there whether it was charged." if paid else "It charges no failed jobs."
    return JobFailedError(f"{title} gave job {row.job_id} up: {words}. {charged} Run again for a new one.")


async def find_job(transport: Transport, provider: Provider, row: Row, taken: Collection[str] = ()) -> str | None:
    """Looks up a job whose id never arrived in the provider's own list of jobs.

    Args:
        taken: Ids that belong to other requests.

    Returns:
        Its id; None if the provider has no such job, even after the time that it may take to arrive and to appear.

    Raises:
        UnclearError: The provider has no list of jobs, it cannot be read, or it does not tell jobs apart.
    """
    if provider.history_query(row.model, 1) is None:
        raise UnclearError(
            f"A job was sent to {provider.title}, and no answer came, so it may have started and may be charged. "
            f"{provider.title} has no list of jobs that could be asked. Look at your account there: if nothing was "
            "charged, start a new job by changing the seed."
        )
    longest = transport.timing.until_listed
    backoff, deadline = transport.timing.backoff(), time.monotonic() + longest
    while True:
        # The second clock is for a row from the future: the first one was set back.
        late = time.time() > row.posted + longest or time.monotonic() > deadline
        try:
            found = await _search(transport, provider, row, taken)
        except UnavailableError as error:
            if late:
                raise UnclearError(
                    f"A job was sent to {provider.title}, no answer came, and its list of jobs cannot be read now: "
                    f"{error} Run the same again later: it looks there before it pays."
                ) from None
        else:
            if found or late:
                return found
        await backoff.wait()


async def _search(transport: Transport, provider: Provider, row: Row, taken: Collection[str]) -> str | None:
    found: list[tuple[float, str]] = []
    unclear = False
    for page in range(1, PAGES + 1):
        items = await _page(transport, provider, row.model, page)
        for item in items:
            if item.id in taken or _is_earlier(item.created, row):
                continue
            if item.id and _fits(item, row):
                found.append((item.created or 0.0, item.id))
            else:
                unclear |= item.id is None or item.inputs is None or not row.marks or _is_near(item.inputs, row)
        if len(items) < PAGE:
            break
    else:
        unclear = True  # it goes on
    if unclear and not found:
        raise UnclearError(
            f"A job was sent to {provider.title}, no answer came, and its list of jobs does not tell which one it is. "
            "Look at your account there: if nothing was charged, start a new job by changing the seed."
        )
    return max(found, key=lambda each: each[0])[1] if found else None


def _fits(item: Listed, row: Row) -> bool:
    marks, inputs = row.marks, item.inputs
    return bool(inputs and marks) and all(digest_of((inputs or {}).get(name)) == mark for name, mark in marks.items())


def _is_earlier(created: float | None, row: Row) -> bool:
    # While this machine's clock is behind the row, nothing can be said about ages.
    return created is not None and time.time() >= row.posted and created < row.posted - CLOCKS_DIFFER


def _is_near(inputs: dict[str, Any], row: Row) -> bool:
    """Returns whether a job may be that of the row, rewritten by the provider; another seed is another job."""
    if digest_of(inputs.get("prompt")) != row.marks.get("prompt"):
        return False
    return "seed" not in inputs or digest_of(inputs["seed"]) == row.marks.get("seed")


async def _page(transport: Transport, provider: Provider, model: str, page: int) -> list[Listed]:
    query = provider.history_query(model, page)
    reply = await transport.ask(query) if query else Reply(404, None)
    items = provider.read_history(reply.data)
    if not reply.fine or reply.inner_status >= 400 or items is None:
        raise UnavailableError(f"{provider.title} answered {reply.inner_status}.")
    return items
