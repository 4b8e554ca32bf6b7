"""Starts a job once: upload, price, one POST. Whatever becomes of the node meanwhile, the job's id reaches the disk."""

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from ..common.redact import mask
from .errors import HostedError, LostError, NotSentError, RateLimitedError, UnavailableError, UnclearError, UnnotedError
from .ledger import WAKE, Ledger, Row, marks_of
from .polling import Job, find_job
from .providers import Price, Provider
from .request import Picture
from .responses import Reply
from .settings import DAY_LOCK, SpendingLimit, check_day, counts
from .transport import Transport

logger = logging.getLogger(__name__)

TRIES = 8  # to write down the id of a job that runs
PAUSE = 0.25  # seconds between two

_limit = SpendingLimit()  # of all graphs and nodes of this process
_in_flight: dict[str, "Future[Row]"] = {}  # digest -> what its submission will leave


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
    price = await find_price(job, fields)
    _limit.spend(run_id, price, job.settings.ceiling())
    try:
        return await submit(job, fields, price)
    except UnclearError:
        raise
    except HostedError:
        _limit.settle(run_id, price.usd, 0.0)
        raise


def settle(run_id: str, row: Row | None) -> None:
    """Lets a job that has ended count towards its run's ceiling as it counts towards its day's."""
    if row is not None:
        _limit.settle(run_id, row.usd, counts(row))


async def upload(job: Job, picture: Picture) -> str:
    """Uploads a picture and returns its address. It costs nothing, so it may be repeated.

    Raises:
        RequestError: It is larger than providers take.
        AuthError, BalanceError, RefusedError: The provider does not take it.
        UnavailableError: No answer came, or one without an address.
    """
    content = await asyncio.to_thread(picture.png)
    name = f"{hashlib.sha256(content).hexdigest()[:16]}.png"
    reply = await retrying(job, lambda: job.transport.upload(job.provider.upload_path, name, content))
    if not reply.fine or reply.inner_status >= 400:
        raise job.provider.refusal(reply, job.transport.key)
    url = job.provider.read_upload(reply.data)
    if url is None:
        raise UnavailableError(
            f"{job.provider.title} took the picture and named no address for it. Nothing was charged. Run again later."
        )
    return url


async def find_price(job: Job, fields: dict[str, Any]) -> Price:
    """Asks for the price, or estimates it. Asking is free and may fail."""
    query = job.provider.price_query(job.request.model, fields)
    if query:
        try:
            reply = await job.transport.ask(query)
            usd = job.provider.read_price(reply.data) if reply.fine else None
        except UnavailableError:
            usd = None
        if usd is not None:
            return Price.quoted(usd)
    return Price(job.request.model.estimate(job.request.resolution, job.request.duration), asked=False)


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
    """Writes the row, posts the job in a thread that nothing stops, and looks for it if no answer comes.

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
    path, body = provider.submission(request.model, fields)

    async def work() -> Row:
        ours = job.transport
        async with Transport(ours.title, ours.base, ours.key, ours.timing) as transport:  # of this thread's event loop
            return await post(job.ledger, row, transport, provider, path, body)

    job.say("submitting")
    job.status.row = row
    try:
        job.status.row = await run_detached(row.digest, work)
    except UnnotedError:
        raise
    except UnclearError as error:
        job.status.row = await find_sent(job, row, error)
    except HostedError:
        job.status.row = None
        raise
    job.say("submitted")
    return job.status.row


async def claim(job: Job, row: Row) -> bool:
    """Writes the row of a job if the operator's ceiling per day leaves room for it. Returns whether nobody else had.

    One process at a time looks and writes, so that all together keep the ceiling.

    Raises:
        PolicyError: The day's ceiling is reached, or nobody can say what the job costs.
    """
    limit = job.settings.daily_ceiling()
    if limit is None:
        return job.ledger.claim(row)
    async with job.ledger.alone(DAY_LOCK, lambda: job.say("waiting for the order of another node")):
        await asyncio.to_thread(check_day, job.ledger, row, limit)
        return job.ledger.claim(row)


async def find_sent(job: Job, row: Row, error: UnclearError) -> Row:
    """Looks for a job of no clear answer; UnclearError if it is not there (yet): the next run looks once more."""
    job.say("no clear answer, looking for the job")
    job_id = await look_up(job, row)
    if job_id is None:
        raise UnclearError(
            f"{error} The job is not in {job.provider.title}'s list of jobs, so it probably never started. "
            f"{job.again[0].upper()}{job.again[1:]}: it looks there once more before it pays."
        )
    return job.ledger.change(row, state="sent", job_id=job_id)


async def look_up(job: Job, row: Row) -> str | None:
    """Looks for a job in the provider's list, as `find_job` does, among those of no other request."""
    entries = await asyncio.to_thread(lambda: list(job.ledger.entries()))
    taken = {entry.row.job_id for entry in entries if entry.row and entry.row.job_id}  # the row itself has none yet
    return await find_job(job.transport, job.provider, row, taken)


async def retrying(job: Job, exchange: Callable[[], Awaitable[Reply]]) -> Reply:
    """Repeats what may be repeated while the trouble passes; LostError or NotSentError if no answer comes at last."""
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


async def post(
    ledger: Ledger, row: Row, transport: Transport, provider: Provider, path: str, body: dict[str, Any]
) -> Row:
    """Posts a job whose row is on disk, once, and writes down its id.

    Raises:
        RateLimitedError, HostedError: It was refused, or never left this machine. The row is removed.
        UnclearError: It may have arrived. The row stays as it is.
        UnnotedError: It runs. The row stays as it is, too.
    """
    try:
        reply = await transport.post(path, body, transport.timing.submit)
        job_id = provider.read_submission(reply, transport.key)
    except (LostError, UnclearError) as error:
        raise UnclearError(str(error)) from None
    except HostedError:
        ledger.remove(row)
        raise
    return await note_id(ledger, row, provider, job_id, transport.key)


async def note_id(ledger: Ledger, row: Row, provider: Provider, job_id: str, key: str) -> Row:
    """Writes down the id of a job that runs: it is paid, so a disk that is full for a moment must not lose it.

    Raises:
        UnnotedError: It could not be written. The error and the log name the id.
    """
    reason = ""
    for _ in range(TRIES):
        try:
            return ledger.change(row, state="sent", job_id=job_id)
        except OSError as error:
            reason = error.strerror or type(error).__name__
        await asyncio.sleep(PAUSE)
    words = mask(
        f"Job {job_id} at {provider.title} runs and is charged, and could not be written down ({reason}). "
        "Make room in ComfyUI's user folder, then run the same again: it looks for the job before it pays. "
        "If it finds none, the clip is in your account there.",
        key,
    )
    logger.error(words)
    raise UnnotedError(words)


async def run_detached(digest: str, work: Callable[[], Coroutine[Any, Any, Row]]) -> Row:
    """Runs a submission in a thread of its own, which neither an interrupt nor the end of the graph stops."""
    future: Future[Row] = Future()
    future.set_running_or_notify_cancel()  # from now on, nobody can cancel it
    _in_flight[digest] = future

    def run() -> None:
        try:
            row = asyncio.run(work())
        except BaseException as error:  # noqa: BLE001  # handed on to whoever waits
            _in_flight.pop(digest, None)
            future.set_exception(error)
        else:
            _in_flight.pop(digest, None)
            future.set_result(row)

    try:
        threading.Thread(target=run, name="wan22-turbo submission").start()
    except BaseException:  # no thread to be had: nothing was sent, and nobody must wait for it
        _in_flight.pop(digest, None)
        raise
    return await asyncio.wrap_future(future)


async def await_earlier(digest: str) -> None:
    """Waits for a submission that an interrupted node left behind; what came of it is in the ledger."""
    future = _in_flight.get(digest)
    while future is not None and not future.done():
        await asyncio.sleep(WAKE)
