"""The steps that lead to a paid job: upload, price, one POST."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from . import history, spending, submission
from . import responses as answers
from .errors import HostedError, UnavailableError, UnclearError
from .job import Job
from .ledger import Row, marks_of
from .prices import Price, Purse, find_price
from .request import Picture
from .responses import RateLimitedError
from .transport import LostError, NotSentError, Reply, Wire

_purse = Purse()  # of all graphs and nodes of this process


async def start(job: Job, run_id: str) -> Row:
    """Uploads the pictures, asks the price, submits, and returns the row of a job that runs.

    Raises:
        PolicyError: It would cost more than the operator lets a run spend, or nobody can say what it costs.
        HostedError: See `upload` and `submit`.
    """
    request = job.request
    job.say("uploading")
    image = await upload(job, request.image)
    last_image = await upload(job, request.last_image) if request.last_image else None
    fields = request.fields(image, last_image)
    job.say("asking the price")
    price = await find_price(job.wire, job.provider, request.model, request.resolution, request.duration, fields)
    _purse.spend(run_id, price, job.settings.ceiling())
    try:
        return await submit(job, fields, price)
    except UnclearError:
        raise
    except HostedError:
        _purse.give_back(run_id, price)
        raise


async def upload(job: Job, picture: Picture) -> str:
    """Uploads a picture and returns its address. It costs nothing, so it may be repeated.

    Raises:
        RequestError: It is larger than providers take.
        AuthError, BalanceError, RefusedError: The provider does not take it.
        UnavailableError: No answer came, or one without an address.
    """
    content = await asyncio.to_thread(picture.png)
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.png"
    reply = await retrying(job, lambda: job.wire.upload(job.provider.upload, name, content))
    if not reply.fine or answers.status_of(reply) >= 400:
        raise answers.refusal(job.provider, reply, job.wire.key)
    url = answers.uploaded_url(reply.data)
    if url is None:
        raise UnavailableError(
            f"{job.provider.title} took the picture and named no address for it. Nothing was charged. Run again later."
        )
    return url


async def submit(job: Job, fields: dict[str, Any], price: Price) -> Row:
    """Sends the job. Only what surely did not start one is sent again.

    Raises:
        RateLimitedError, NotSentError: At the last attempt as well. Nothing was started.
        HostedError: See `submit_once`.
    """
    backoff = job.timing.backoff()
    for _ in range(job.timing.attempts - 1):
        try:
            return await submit_once(job, fields, price)
        except RateLimitedError as error:
            job.say("waiting: too many requests")
            await backoff.wait(job.timing.rate if error.retry_after is None else error.retry_after)
        except NotSentError:
            job.say("not reachable, trying again")
            await backoff.wait()
    return await submit_once(job, fields, price)


async def submit_once(job: Job, fields: dict[str, Any], price: Price) -> Row:
    """Writes the row, posts the job in a thread that sees it through, and looks for it if no answer comes.

    Raises:
        RateLimitedError, NotSentError: No job was started, and it may be sent again.
        PolicyError: The operator's ceiling per day is reached.
        AuthError, BalanceError, RefusedError: The provider did not take it.
        UnclearError: It may have started, or another ComfyUI is starting the same.
        UnnotedError: It runs, and its id is not on disk.
    """
    request, provider = job.request, job.provider
    row = Row(
        digest=request.digest(),
        provider=provider.name,
        model=request.model.id,
        state="claimed",
        posted=time.time(),
        marks=marks_of(fields),
        usd=price.usd,
        asked=price.asked,
    )
    if not await claim(job, row):
        raise UnclearError("Another ComfyUI of this user is starting the same job. Run again in a minute.")
    path, body = provider.submit_path(request.model), provider.submit_body(request.model, fields)

    async def post() -> Row:
        async with Wire(job.wire.title, job.wire.base, job.wire.key, job.timing) as wire:
            return await submission.post(job.ledger, row, wire, provider, path, body)

    job.say("submitting")
    job.status.posting = True
    try:
        sent = await submission.see_through(row.digest, post)
    except submission.UnnotedError:
        raise
    except UnclearError as error:
        sent = await find_sent(job, row, error)
    except HostedError:
        job.status.posting = False
        raise
    job.say("submitted", sent)
    return sent


async def claim(job: Job, row: Row) -> bool:
    """Writes the row of a job if the operator's ceiling per day leaves room for it, and says whether nobody else had.

    One process at a time looks and writes, so that all together keep the ceiling.

    Raises:
        PolicyError: The day's ceiling is reached, or nobody can say what the job costs.
    """
    limit = job.settings.daily_ceiling()
    if limit is None:
        return job.ledger.claim(row)
    async with job.ledger.alone(spending.LOCK, lambda: job.say("waiting for the order of another node")):
        await asyncio.to_thread(spending.check, job.ledger, row, limit)
        return job.ledger.claim(row)


async def find_sent(job: Job, row: Row, error: UnclearError) -> Row:
    """Looks for a job whose submission got no clear answer.

    Raises:
        UnclearError: It is not there (yet). The next run looks once more.
    """
    job.say("no clear answer, looking for the job")
    job_id = await look_up(job, row)
    if job_id is None:
        raise UnclearError(
            f"{error} The job is not in {job.provider.title}'s list of jobs, so it probably never started. "
            f"Run the same again, with seed {job.request.seed}: it looks there once more before it pays."
        )
    return job.ledger.change(row, state="sent", job_id=job_id)


async def look_up(job: Job, row: Row) -> str | None:
    """Looks for a job in the provider's list, as `history.find_job`, among those of no other request."""
    entries = await asyncio.to_thread(lambda: list(job.ledger.entries()))
    taken = {entry.row.job_id for entry in entries if entry.row and entry.row.job_id}  # the row itself has none yet
    return await history.find_job(job.wire, job.provider, row, taken)


async def retrying(job: Job, exchange: Callable[[], Awaitable[Reply]]) -> Reply:
    """Repeats what may be repeated while the trouble is of a passing kind, and returns the last answer.

    Raises:
        LostError, NotSentError: No answer came at the last attempt, either.
    """
    backoff = job.timing.backoff()
    for _ in range(job.timing.attempts - 1):
        try:
            reply = await exchange()
        except (LostError, NotSentError):
            job.say("no answer, trying again")
            await backoff.wait()
            continue
        if reply.status not in (408, 425, 429) and reply.status < 500:
            return reply
        default = job.timing.rate if reply.status == 429 else 0.0
        await backoff.wait(default if reply.retry_after is None else reply.retry_after)
    return await exchange()
