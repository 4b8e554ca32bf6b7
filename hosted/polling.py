"""The steps that turn a running job into a clip on disk: poll, verdict, download. All of them may be repeated."""

import hashlib
import logging
import time
import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import clip_file, download
from . import responses as answers
from .errors import (
    DownloadError,
    HostedError,
    JobFailedError,
    JobGoneError,
    JobPendingError,
    ModeratedError,
    UnavailableError,
)
from .job import Job
from .ledger import Row
from .responses import Task
from .transport import Reply

logger = logging.getLogger(__name__)

UNKNOWN = 3  # answers in a row that a job does not exist, before it is believed
EMPTY = 5  # answers in a row that a job is done and has no clip


async def wait(job: Job, row: Row) -> tuple[Row, Task]:
    """Polls until the job has ended well.

    Raises:
        HostedError: It ended badly, or waiting makes no sense any more.
    """
    deadline, backoff = time.monotonic() + job.timing.deadline, job.timing.backoff()
    unknown = empty = 0
    while True:
        reply = await poll(job, row)
        task = answers.read_task(reply.data) if reply else Task()
        if task.state == "done" and task.outputs:
            flagged = row.flagged if task.flagged is None else task.flagged  # what was said once stays said
            charged = row.charged if task.usd is None else task.usd
            return noted(job, row, state="done", flagged=flagged, charged=charged), task
        if task.state == "bad":
            raise failure(job, row, task)
        empty = empty + 1 if task.state == "done" else 0
        if reply and not task.status:
            unknown = unknown + 1 if answers.status_of(reply) in (400, 404) else 0
            check_reply(job, row, reply, unknown)
        if empty >= EMPTY or time.monotonic() > deadline:
            raise too_late(job, row, empty >= EMPTY)
        if task.status:
            job.say(task.status, row)
        await backoff.wait((reply.retry_after or 0.0) if reply else 0.0)


def noted(job: Job, row: Row, **changes: Any) -> Row:
    """Writes down what became of a job. Where that fails, the next run asks the provider again, and nothing is lost."""
    try:
        return job.ledger.change(row, **changes)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        logger.warning(f"What became of job {row.job_id} could not be written down ({reason}); it is asked for again.")
        return replace(row, **changes)


async def poll(job: Job, row: Row) -> Reply | None:
    """Asks for the job; None if no answer came, which says nothing about it."""
    job.status.job_id = row.job_id
    try:
        return await job.wire.get(path_of(job, row))
    except UnavailableError:
        job.say("no answer, asking again")
        return None


async def is_missing(job: Job, row: Row) -> bool:
    """Asks once more for a job that the provider did not know.

    Raises:
        UnavailableError: No answer came.
    """
    reply = await job.wire.get(path_of(job, row))
    return answers.status_of(reply) in (400, 404) and not answers.read_task(reply.data).status


def path_of(job: Job, row: Row) -> str:
    """Returns where a job is polled: on the base address, whatever address the provider names."""
    return job.provider.poll.format(urllib.parse.quote(str(row.job_id), safe=""))


def check_reply(job: Job, row: Row, reply: Reply, unknown: int) -> None:
    """Looks at an answer that says nothing of the job: most mean nothing, some mean the end of waiting.

    Raises:
        AuthError, BalanceError: The key is not good any more.
        JobGoneError: The provider does not know the job, and it is too old to be on its way.
    """
    if answers.status_of(reply) in (401, 402, 403):
        error = answers.refusal(job.provider, reply, job.wire.key)
        raise type(error)(f"{error} Job {row.job_id} goes on and is charged. Then {again(job)} to pick it up.")
    if unknown >= UNKNOWN and time.time() - row.posted > job.timing.grace:
        noted(job, row, state="missing")
        raise JobGoneError(
            f"{job.provider.title} does not know job {row.job_id} (any more): it deleted it, or the key is another "
            f"account's. Look at your account there, then {again(job)}: it asks once more before it starts a new job."
        )


def again(job: Job) -> str:
    """Says what to do for the same job: a seed that changes by itself would start another one."""
    return f"run the same again, with seed {job.request.seed}"


def too_late(job: Job, row: Row, empty: bool) -> HostedError:
    """Says why waiting ends although the job did not."""
    title = job.provider.title
    if empty:
        return JobPendingError(
            f"{title} says that job {row.job_id} is done, and names no clip. To ask again, {again(job)}, "
            "which costs nothing; for a new job change the seed."
        )
    return JobPendingError(
        f"Job {row.job_id} at {title} is not done after {job.timing.deadline:.0f} s. "
        f"It goes on and is charged. To pick it up, {again(job)}."
    )


def failure(job: Job, row: Row, task: Task) -> HostedError:
    """Puts the verdict on a job into words, and lets the next run start a new one."""
    noted(job, row, state="failed")
    job.status.ended = True
    title = job.provider.title
    words = answers.shown(task.error, job.wire.key) or f"it says {task.status}, and nothing more"
    if task.moderated:
        return ModeratedError(
            f"The content filter of {title} refused job {row.job_id}: {words}. Change picture or prompt."
        )
    charged = "It charges no failed jobs." if job.provider.failed_free else "Look there whether it was charged."
    return JobFailedError(f"{title} gave job {row.job_id} up: {words}. {charged} Run again for a new one.")


def place_of(job: Job, row: Row) -> Path:
    """Returns where the clip of a job is kept; the name tells neither request nor job."""
    return job.clips / f"wan22-turbo-{hashlib.sha256(f'{row.digest} {row.job_id}'.encode()).hexdigest()[:24]}.mp4"


def is_kept(job: Job, row: Row) -> bool:
    """Says whether the clip of a job is on disk. One that something else has damaged or exchanged is removed."""
    path = place_of(job, row)
    if not path.is_file():
        return False
    if not clip_file.is_sound(path):
        path.unlink()
        return False
    return True


async def fetch(job: Job, row: Row, task: Task) -> Path:
    """Downloads the clip, unless it is here already.

    Raises:
        DownloadError: It could not be fetched, or is none to take.
        HostedError: As in `wait`, for the address was asked for once more.
    """
    path = place_of(job, row)
    trusted, backoff = job.settings.trusted_origin(job.provider), job.timing.backoff()
    for attempt in range(job.timing.attempts):
        if path.is_file():
            break
        job.say("downloading", row)
        try:
            await download.fetch(task.outputs[0], path, trusted, job.timing)
        except clip_file.BrokenError as error:
            if attempt + 1 == job.timing.attempts:
                raise DownloadError(str(error)) from None
            await backoff.wait()
            _, task = await wait(job, row)  # for a fresh address: they expire
    return path
