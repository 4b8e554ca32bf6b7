"""Finds a job whose id never arrived in the provider's own list of jobs."""

import hashlib
import json
import time
from typing import Any

from .errors import UnavailableError, UnclearError
from .ledger import Row
from .providers import Provider
from .wire import Wire

PAGE = 100
PAGES = 5


def digest_of(value: Any) -> str:
    """Identifies a parameter of a job without telling what it is."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


async def find_job(wire: Wire, provider: Provider, row: Row) -> str | None:
    """Looks a job up whose id never arrived.

    Returns:
        Its id; None if the provider has no such job, even after the time that it may take to appear.

    Raises:
        UnclearError: The provider has no list of jobs, it cannot be read, or it does not tell jobs apart.
    """
    if provider.history is None:
        raise UnclearError(
            f"A job was sent to {provider.title}, and no answer came, so it may have started and may be charged. "
            f"{provider.title} has no list of jobs that could be asked. Look at your account there: if nothing was "
            "charged, start a new job by changing the seed."
        )
    pauses = wire.timing.pauses()
    while True:
        late = time.time() > row.posted + wire.timing.settle
        try:
            found = await _search(wire, provider, row)
        except UnavailableError as error:
            if late:
                raise UnclearError(
                    f"A job was sent to {provider.title}, no answer came, and its list of jobs cannot be read now: "
                    f"{error} Run the same again later: it looks there before it pays."
                ) from None
        else:
            if found or late:
                return found
        await pauses.wait()


async def _search(wire: Wire, provider: Provider, row: Row) -> str | None:
    unreadable = False
    for page in range(1, PAGES + 1):
        items = await _page(wire, provider, row.model, page)
        for item in items:
            inputs = _inputs(item)
            unreadable |= inputs is None
            if inputs and all(digest_of(inputs.get(name)) == mark for name, mark in row.marks.items()):
                return str(item.get("id") or item.get("ID"))
        if len(items) < PAGE:
            break
    if unreadable:
        raise UnclearError(
            f"A job was sent to {provider.title}, no answer came, and its list of jobs does not tell which one it is. "
            "Look at your account there: if nothing was charged, start a new job by changing the seed."
        )
    return None


async def _page(wire: Wire, provider: Provider, model: str, page: int) -> list[dict[str, Any]]:
    path = str(provider.history)
    if provider.history_by_post:
        asked = {"page": page, "page_size": PAGE, "model": model, "include_inputs": True}
        reply = await wire.post(path, asked)
    else:
        reply = await wire.get(path, {"no": str(page), "size": str(PAGE), "model": model})
    items = _first_list(reply.data)
    if not reply.fine or items is None:
        raise UnavailableError(f"{provider.title} answered {reply.status}.")
    return [item for item in items if isinstance(item, dict)]


def _first_list(data: Any) -> list[Any] | None:
    # {"data": [...]} or {"data": {"items": [...]}}: the name of the list is not documented.
    inner = data.get("data") if isinstance(data, dict) else None
    places = [inner, *(inner.values() if isinstance(inner, dict) else [])]
    return next((place for place in places if isinstance(place, list)), None)


def _inputs(item: dict[str, Any]) -> dict[str, Any] | None:
    inputs = next((item[name] for name in ("inputs", "input", "requestBody", "request") if item.get(name)), None)
    if isinstance(inputs, str):
        try:
            inputs = json.loads(inputs)
        except ValueError:
            return None
    return inputs if isinstance(inputs, dict) else None
