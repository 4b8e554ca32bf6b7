"""Reads what providers answer. One reading serves all three: AtlasCloud and 302.AI vary WaveSpeed's envelope.

{"code": 200, "message": "...", "data": {"id", "status", "outputs", "error", "code", "has_nsfw_contents", "price"}}
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from ..common import text as foreign
from ..common.redact import mask
from .errors import AuthError, BalanceError, HostedError, RefusedError, UnclearError
from .providers import Provider
from .transport import Reply

DONE = {"completed", "succeeded", "success", "done"}
BAD = {"failed", "error", "cancelled", "canceled", "timeout", "deleted"}
MODERATED = 1200  # WaveSpeed's code of a refusal by the content filter
_BALANCE = re.compile(r"insufficient (balance|credit|fund|quota)|balance|credit|top.?up|quota", re.IGNORECASE)
_MODERATION = re.compile(r"moderat|nsfw|safety|sensitive|content policy|inappropriate|prohibited", re.IGNORECASE)
# AtlasCloud's 500 for a model that it does not have; a 503 without a machine to spare.
_NEVER_STARTED = re.compile(r"failed to evaluate price|insufficient", re.IGNORECASE)
_MAX_WORDS = 300  # characters of a provider's text that are passed on
_MAX_STATUS = 40  # of the word for a state
_OUTPUTS = 16  # addresses that are looked at; a job makes one clip


class RateLimitedError(RefusedError):
    """Too many requests: the provider refused this one in so many words, so that it may be sent again.

    Attributes:
        retry_after: Seconds, where the provider says so.
    """

    def __init__(self, message: str, retry_after: float | None):
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Task:
    """What a provider says of a job.

    Attributes:
        status: In the provider's word; empty where it says none.
        outputs: Addresses of the clip.
        flagged: By the provider's content filter; None where it does not say.
        usd: What it charged; None where it does not say.
    """

    id: str | None = None
    status: str = ""
    outputs: tuple[str, ...] = ()
    error: str = ""
    code: int | None = None
    flagged: bool | None = None
    usd: float | None = None

    @property
    def state(self) -> Literal["running", "done", "bad"]:
        """Where it is; a word that nobody documented counts as running."""
        return "done" if self.status in DONE else "bad" if self.status in BAD else "running"

    @property
    def moderated(self) -> bool:
        """Says whether the content filter refused it."""
        return self.code == MODERATED or bool(_MODERATION.search(self.error))


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
        foreign.job_id(named),
        foreign.line(status, _MAX_STATUS).lower() if isinstance(status, str) else "",
        _outputs(found),
        error_text(found) or error_text(data),
        code if isinstance(code, int) else None,
        _flagged(found.get("has_nsfw_contents")),
        foreign.amount(found.get("price")),
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
            return foreign.line(value)
    return error_text(data.get("data"))


def shown(text: str, key: str) -> str:
    """Returns a provider's words as people may see them: without secrets, then not too long."""
    return mask(text, key)[:_MAX_WORDS]


def uploaded_url(data: Any) -> str | None:
    """Returns the address of an uploaded file."""
    inner = data.get("data") if isinstance(data, dict) else None
    places = [(inner, "download_url"), (inner, "url"), (data, "download_url"), (data, "url")]
    values = (place.get(name) for place, name in places if isinstance(place, dict))
    return next((value for value in values if foreign.is_address(value)), None)


def read_submission(provider: Provider, reply: Reply, key: str) -> str:
    """Returns the id of the job that a submission started.

    Raises:
        RateLimitedError: Refused; it may be sent again later.
        HostedError: Refused, with its reason.
        UnclearError: It may or may not have started a job.
    """
    task = read_task(reply.data)
    # A 500 that names a job and its state is a verdict on that job; an id alone may be that of the request.
    if task.id and (reply.fine or (reply.status >= 500 and task.status)):
        return task.id
    if reply.status == 429 and isinstance(reply.data, dict):
        raise RateLimitedError(
            f"{provider.title} takes no more jobs for now (429{_said(reply, key)}). Nothing was charged. "
            "Run again later.",
            reply.retry_after,
        )
    if _is_refusal(reply):
        raise refusal(provider, reply, key)
    raise UnclearError(
        f"{provider.title} answered {reply.status}{_said(reply, key)} where the id of a job was expected."
    )


def refusal(provider: Provider, reply: Reply, key: str) -> HostedError:
    """Puts a refusal into words."""
    status, said = status_of(reply), _said(reply, key)
    if status == 402 or _BALANCE.search(error_text(reply.data)):
        return BalanceError(f"The account at {provider.title} has no credit left ({status}{said}). Top it up there.")
    if status == 401:
        return AuthError(
            f"{provider.title} refuses the key ({status}{said}). "
            f"Whoever runs this ComfyUI checks {provider.key_variable}, or sets the key again."
        )
    if status == 403:
        return AuthError(f"{provider.title} does not allow this to the account ({status}{said}). Look into it there.")
    if status == 404:
        return RefusedError(
            f"{provider.title} does not offer this model to the account ({status}{said}). Choose another model."
        )
    return RefusedError(
        f"{provider.title} did not take the job ({status}{said}). Nothing was charged. "
        "Change what it names and run again."
    )


def _is_refusal(reply: Reply) -> bool:
    status = status_of(reply)
    if 300 <= status < 500:
        return status not in (408, 409, 425, 429, 499)  # these do not say that nothing was begun
    text = error_text(reply.data)
    return status >= 500 and bool(_NEVER_STARTED.search(text))


def status_of(reply: Reply) -> int:
    """Returns the status of an exchange, or that which a 200 holds in its envelope."""
    inner = reply.data.get("code") if isinstance(reply.data, dict) else None
    return inner if reply.fine and isinstance(inner, int) and 400 <= inner < 600 else reply.status


def _said(reply: Reply, key: str) -> str:
    text = shown(error_text(reply.data), key)
    return f": {text}" if text else ""


def _outputs(found: dict[str, Any]) -> tuple[str, ...]:
    listed = found.get("outputs") or found.get("output") or []
    urls = []
    for item in listed[:_OUTPUTS] if isinstance(listed, list) else [listed]:
        if isinstance(item, dict):
            item = item.get("url") or item.get("video") or item.get("output")
        if foreign.is_address(item):
            urls.append(item)
    return tuple(urls)


def _flagged(value: Any) -> bool | None:
    flags = value if isinstance(value, list) else [value]
    if any(flag is True for flag in flags):
        return True
    # What is neither true nor false may be a flag in other words, so nothing is said.
    return False if flags and all(flag is False for flag in flags) else None
