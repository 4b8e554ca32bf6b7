"""Reads what providers answer. One reading serves all three: AtlasCloud and 302.AI vary WaveSpeed's envelope.

{"code": 200, "message": "...", "data": {"id", "status", "outputs", "error", "code", "has_nsfw_contents", "price"}}
"""

import re
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from ..common import text
from ..common.redact import mask

DONE = {"completed", "succeeded", "success", "done"}
BAD = {"failed", "error", "cancelled", "canceled", "timeout", "deleted"}
MODERATED = 1200  # WaveSpeed's code of a refusal by the content filter
_MODERATION = re.compile(r"moderat|nsfw|safety|sensitive|content policy|inappropriate|prohibited", re.IGNORECASE)
_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,40})?", re.ASCII)  # JavaScript writes 17 digits, decimals of Python 28
_MAX_WORDS = 300  # characters of a provider's text that are passed on
_MAX_STATUS = 40  # of the word for a state
_OUTPUTS = 16  # addresses that are looked at; a job makes one clip


class Reply(NamedTuple):
    """A provider's answer."""

    status: int
    data: Any  # its JSON; None where it is none
    retry_after: float | None = None  # seconds to wait, where the provider says so

    @property
    def fine(self) -> bool:
        """Whether the status tells of success."""
        return 200 <= self.status < 300

    @property
    def inner_status(self) -> int:
        """The status of the exchange, or that which a 200 holds in its envelope."""
        inner = self.data.get("code") if isinstance(self.data, dict) else None
        return inner if self.fine and isinstance(inner, int) and 400 <= inner < 600 else self.status

    def said(self, key: str) -> str:
        """Returns its words of a refusal as people may see them, behind a colon; nothing where it has none."""
        words = shown(error_text(self.data), key)
        return f": {words}" if words else ""


class Task(NamedTuple):
    """What a provider says of a job."""

    id: str | None = None
    status: str = ""  # in the provider's word; empty where it says none
    outputs: tuple[str, ...] = ()  # addresses of the clip
    error: str = ""
    code: int | None = None
    flagged: bool | None = None  # by the provider's content filter; None where it does not say
    usd: float | None = None  # what it charged; None where it does not say (yet)

    @property
    def verdict(self) -> Literal["running", "done", "bad"]:
        """Where it is; a word that nobody documented counts as running."""
        return "done" if self.status in DONE else "bad" if self.status in BAD else "running"

    @property
    def moderated(self) -> bool:
        """Whether the content filter refused it."""
        return self.code == MODERATED or bool(_MODERATION.search(self.error))


class Listed(NamedTuple):
    """A job in a provider's list of jobs; None stands for what cannot be read."""

    id: str | None
    created: float | None  # seconds since 1970
    inputs: dict[str, Any] | None


def read_task(data: Any) -> Task:
    """Returns what an answer says of a job; an empty task where it says nothing."""
    if not isinstance(data, dict):
        return Task()
    inner = data.get("data")
    found = inner if isinstance(inner, dict) else data
    named = found.get("id") or found.get("predictionId")
    if inner is not found and not named:
        return Task(error=error_text(data))  # a "status" outside of a job is that of the request
    status, code = found.get("status"), found.get("code")
    return Task(
        text.job_id(named),
        text.line(status, _MAX_STATUS).lower() if isinstance(status, str) else "",
        _outputs(found),
        error_text(found) or error_text(data),
        code if isinstance(code, int) else None,
        _flagged(found.get("has_nsfw_contents")),
        text.amount(_as_number(found.get("price"))) or None,  # 0 until the charge is known, at AtlasCloud
    )


def error_text(data: Any) -> str:
    """Returns the words of a refusal, wherever they stand, on one printable line."""
    if not isinstance(data, dict):
        return ""
    for name in ("error", "message", "msg", "detail"):
        value = data.get(name)
        if isinstance(value, dict):
            value = error_text(value)
        if isinstance(value, str) and value.strip() and value.strip().lower() != "success":
            return text.line(value)
    return error_text(data.get("data"))


def shown(words: str, key: str) -> str:
    """Returns a provider's words as people may see them: without secrets, then not too long."""
    return mask(words, key)[:_MAX_WORDS]


def read_upload(data: Any) -> str | None:
    """Returns the address of an uploaded file."""
    inner = data.get("data") if isinstance(data, dict) else None
    places = [(inner, "download_url"), (inner, "url"), (data, "download_url"), (data, "url")]
    values = (place.get(name) for place, name in places if isinstance(place, dict))
    return next((value for value in values if text.is_address(value)), None)


def read_price(data: Any) -> float | None:
    """Returns a quoted price in US dollars, twice the highest at most; None where there is none."""
    # A discounted price of 0 means that there is no discount, not that the clip is free.
    inner = data.get("data", data) if isinstance(data, dict) else None
    if not isinstance(inner, dict) or inner.get("currency", "USD") not in ("USD", "usd", "$"):
        return None
    for name in ("discounted_price", "price", "unit_price"):
        value = _as_number(inner.get(name))
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(min(value, 2 * text.MAX_USD))  # it may have 400 digits
    return None


def _as_number(value: Any) -> Any:
    """Returns the number that a plain decimal stands for, as AtlasCloud writes prices; else the value as it is."""
    return float(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def read_history(data: Any) -> list[Listed] | None:
    """Returns the jobs of a list; None where the answer is none."""
    # {"data": [...]} or {"data": {"items": [...]}}: the name of the list is not documented.
    inner = data.get("data") if isinstance(data, dict) else None
    if isinstance(inner, dict) and "items" in inner and inner["items"] is None:
        return []
    places = [inner, *(inner.values() if isinstance(inner, dict) else [])]
    items = next((place for place in places if isinstance(place, list)), None)
    return None if items is None else [_listed(item if isinstance(item, dict) else {}) for item in items]


def _listed(item: dict[str, Any]) -> Listed:
    inputs = next((item[name] for name in ("inputs", "input", "requestBody", "request") if item.get(name)), None)
    if isinstance(inputs, str):
        inputs = text.read_json(inputs)
    created = _moment(item.get("created_at") or item.get("createdAt"))
    return Listed(text.job_id(item.get("id") or item.get("ID")), created, inputs if isinstance(inputs, dict) else None)


def _moment(value: Any) -> float | None:
    since = text.number(value, 1e14)
    if since is not None:
        return since / 1000 if since > 1e11 else since
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _outputs(found: dict[str, Any]) -> tuple[str, ...]:
    listed = found.get("outputs") or found.get("output") or []
    urls = []
    for item in listed[:_OUTPUTS] if isinstance(listed, list) else [listed]:
        if isinstance(item, dict):
            item = item.get("url") or item.get("video") or item.get("output")
        if text.is_address(item):
            urls.append(item)
    return tuple(urls)


def _flagged(value: Any) -> bool | None:
    flags = value if isinstance(value, list) else [value]
    if any(flag is True for flag in flags):
        return True
    # What is neither true nor false may be a flag in other words, so nothing is said.
    return False if flags and all(flag is False for flag in flags) else None
