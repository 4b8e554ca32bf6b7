"""Finds a job whose id never arrived in the provider's own list of jobs."""

import time
from collections.abc import Collection
from datetime import datetime, timezone
from typing import Any

from ..common import text as foreign
from .errors import UnavailableError, UnclearError
from .ledger import Row, digest_of
from .providers import Provider
from .responses import status_of
from .timing import Timing
from .transport import Wire

PAGE = 20  # with their inputs, items may be large
PAGES = 25
CLOCKS_DIFFER = 300.0  # seconds that this machine's clock and the provider's may be apart


async def find_job(wire: Wire, provider: Provider, row: Row, taken: Collection[str] = ()) -> str | None:
    """Looks a job up whose id never arrived.

    Args:
        taken: Ids that belong to other requests.

    Returns:
        Its id; None if the provider has no such job, even after the time that it may take to arrive and to appear.

    Raises:
        UnclearError: The provider has no list of jobs, it cannot be read, or it does not tell jobs apart.
    """
    if provider.history is None:
        raise UnclearError(
            f"A job was sent to {provider.title}, and no answer came, so it may have started and may be charged. "
            f"{provider.title} has no list of jobs that could be asked. Look at your account there: if nothing was "
            "charged, start a new job by changing the seed."
        )
    backoff, deadline = wire.timing.backoff(), time.monotonic() + longest(wire.timing)
    while True:
        # The second clock is for a row from the future: the first one was set back.
        late = time.time() > row.posted + longest(wire.timing) or time.monotonic() > deadline
        try:
            found = await _search(wire, provider, row, taken)
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


def longest(timing: Timing) -> float:
    """Returns the seconds from the moment before an order leaves until its job must be in the list."""
    return timing.connect + timing.submit + timing.settle


async def _search(wire: Wire, provider: Provider, row: Row, taken: Collection[str]) -> str | None:
    found: list[tuple[float, str]] = []
    unreadable = False
    for page in range(1, PAGES + 1):
        items = await _page(wire, provider, row.model, page)
        for item in items:
            job_id, created = _id(item), _created(item)
            if job_id in taken or _is_earlier(created, row):
                continue
            inputs = _inputs(item)
            if (
                job_id
                and inputs
                and row.marks
                and all(digest_of(inputs.get(name)) == mark for name, mark in row.marks.items())
            ):
                found.append((created or 0.0, job_id))
            else:
                unreadable |= job_id is None or inputs is None or not row.marks or _is_near(inputs, row)
        if len(items) < PAGE:
            break
    else:
        unreadable = True  # it goes on
    if found:
        return max(found, key=lambda each: each[0])[1]
    if unreadable:
        raise UnclearError(
            f"A job was sent to {provider.title}, no answer came, and its list of jobs does not tell which one it is. "
            "Look at your account there: if nothing was charged, start a new job by changing the seed."
        )
    return None


def _is_earlier(created: float | None, row: Row) -> bool:
    # While this machine's clock is behind the row, nothing can be said about ages.
    return created is not None and time.time() >= row.posted and created < row.posted - CLOCKS_DIFFER


def _is_near(inputs: dict[str, Any], row: Row) -> bool:
    """Says whether a job may be that of the row, rewritten by the provider; another seed is another job."""
    if digest_of(inputs.get("prompt")) != row.marks.get("prompt"):
        return False
    return "seed" not in inputs or digest_of(inputs["seed"]) == row.marks.get("seed")


async def _page(wire: Wire, provider: Provider, model: str, page: int) -> list[dict[str, Any]]:
    path = str(provider.history)
    if provider.history_by_post:
        asked = {"page": page, "page_size": PAGE, "model": model, "include_inputs": True}
        reply = await wire.post(path, asked)
    else:
        reply = await wire.get(path, {"no": str(page), "size": str(PAGE), "model": model})
    items = _first_list(reply.data)
    if not reply.fine or status_of(reply) >= 400 or items is None:
        raise UnavailableError(f"{provider.title} answered {status_of(reply)}.")
    return [item if isinstance(item, dict) else {} for item in items]


def _first_list(data: Any) -> list[Any] | None:
    # {"data": [...]} or {"data": {"items": [...]}}: the name of the list is not documented.
    inner = data.get("data") if isinstance(data, dict) else None
    if isinstance(inner, dict) and "items" in inner and inner["items"] is None:
        return []
    places = [inner, *(inner.values() if isinstance(inner, dict) else [])]
    return next((place for place in places if isinstance(place, list)), None)


def _id(item: dict[str, Any]) -> str | None:
    return foreign.job_id(item.get("id") or item.get("ID"))


def _created(item: dict[str, Any]) -> float | None:
    """Returns seconds since 1970; None where the provider does not say, or not in a known form."""
    value = item.get("created_at") or item.get("createdAt")
    since = foreign.number(value, 1e14)
    if since is not None:
        return since / 1000 if since > 1e11 else since
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _inputs(item: dict[str, Any]) -> dict[str, Any] | None:
    inputs = next((item[name] for name in ("inputs", "input", "requestBody", "request") if item.get(name)), None)
    if isinstance(inputs, str):
        inputs = foreign.read_json(inputs)
    return inputs if isinstance(inputs, dict) else None
