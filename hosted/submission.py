"""Starts a job once. Whatever becomes of the node meanwhile, the job's id reaches the disk."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

from . import history
from .answers import read_submission
from .errors import HostedError, UnclearError
from .ledger import Ledger, Row
from .providers import Provider
from .timing import WAKE
from .wire import LostError, Wire

_in_flight: dict[str, "Future[Row]"] = {}  # digest -> what its submission will leave


def marks_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """Returns a digest of each parameter of a job: enough to find it, and nothing to read."""
    return {name: history.digest_of(value) for name, value in fields.items()}


async def post(ledger: Ledger, row: Row, wire: Wire, provider: Provider, path: str, body: dict[str, Any]) -> Row:
    """Posts a job whose row is on disk, once, and writes down its id.

    Raises:
        RateLimitedError, HostedError: It was refused, or never left this machine. The row is removed.
        UnclearError: It may have arrived. The row stays as it is.
    """
    try:
        reply = await wire.post(path, body, wire.timing.submit)
        job_id = read_submission(provider, reply, wire.key)
    except (LostError, UnclearError) as error:
        raise UnclearError(str(error)) from None
    except HostedError:
        ledger.remove(row)
        raise
    return ledger.change(row, state="sent", job_id=job_id)


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

    threading.Thread(target=run, name="wan22-turbo submission").start()
    return await asyncio.wrap_future(future)


async def await_earlier(digest: str) -> None:
    """Waits for a submission that an interrupted node left behind; what came of it is in the ledger."""
    future = _in_flight.get(digest)
    while future is not None and not future.done():
        await asyncio.sleep(WAKE)
