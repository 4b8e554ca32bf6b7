"""Starts a job once. Whatever becomes of the node meanwhile, the job's id reaches the disk."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from ..common.redact import mask
from .errors import HostedError, UnclearError
from .ledger import Ledger, Row
from .providers import Provider
from .responses import read_submission
from .timing import WAKE
from .transport import LostError, Wire

logger = logging.getLogger(__name__)

TRIES = 8  # to write down the id of a job that runs
PAUSE = 0.25  # seconds between two

_in_flight: dict[str, "Future[Row]"] = {}  # digest -> what its submission will leave


class UnnotedError(UnclearError):
    """A job runs, and its id could not be written down."""


async def post(ledger: Ledger, row: Row, wire: Wire, provider: Provider, path: str, body: dict[str, Any]) -> Row:
    """Posts a job whose row is on disk, once, and writes down its id.

    Raises:
        RateLimitedError, HostedError: It was refused, or never left this machine. The row is removed.
        UnclearError: It may have arrived. The row stays as it is.
        UnnotedError: It runs. The row stays as it is, too.
    """
    try:
        reply = await wire.post(path, body, wire.timing.submit)
        job_id = read_submission(provider, reply, wire.key)
    except (LostError, UnclearError) as error:
        raise UnclearError(str(error)) from None
    except HostedError:
        ledger.remove(row)
        raise
    return await note(ledger, row, provider, job_id, wire.key)


async def note(ledger: Ledger, row: Row, provider: Provider, job_id: str, key: str) -> Row:
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


async def see_through(digest: str, work: Callable[[], Coroutine[Any, Any, Row]]) -> Row:
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


def is_under_way(digest: str) -> bool:
    """Says whether an interrupted node left a submission behind that still waits for its answer."""
    return digest in _in_flight


async def await_earlier(digest: str) -> None:
    """Waits for a submission that an interrupted node left behind; what came of it is in the ledger."""
    future = _in_flight.get(digest)
    while future is not None and not future.done():
        await asyncio.sleep(WAKE)
