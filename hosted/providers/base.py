"""What the providers have in common: the parameters of a model, and WaveSpeed's contract, which the others vary.

An adapter is a subclass that says how a provider differs: its address, paths, models, prices and list of jobs. It makes
paths and bodies and reads answers; what is sent, waited for and paid is the same for all, and none of its business.
"""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import responses
from ..errors import AuthError, BalanceError, HostedError, RateLimitedError, RefusedError, UnclearError
from ..responses import Reply

PLAIN, HIGH, LOW = "loras", "high_noise_loras", "low_noise_loras"
EACH = (PLAIN, HIGH, LOW)
RESOLUTIONS = ("480p", "720p", "1080p")
DURATIONS = (5, 8)  # seconds
UNRESTRICTED = "unrestricted"
PAGE = 20  # jobs of a list that are asked for at a time; with their inputs, they may be large
_SIZE_FACTOR = {"480p": 1.0, "720p": 2.0, "1080p": 4.0}  # only that of 720p is documented, and only by WaveSpeed
_BALANCE = re.compile(r"insufficient (balance|credit|fund|quota)|balance|credit|top.?up|quota", re.IGNORECASE)
# AtlasCloud's 500 for a model that it does not have; a 503 without a machine to spare.
_NEVER_STARTED = re.compile(r"failed to evaluate price|insufficient", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """One model of one provider. The resolution of `i2v-480p` and its kin is part of their name."""

    id: str  # as the provider names it
    resolutions: tuple[str, ...] = ("480p", "720p")  # those to choose from; a single one is not sent
    durations: tuple[int, ...] = DURATIONS  # seconds to choose from; a single one is not sent
    lora_arrays: tuple[str, ...] = ()  # the LoRA parameters that it takes
    takes_negative_prompt: bool = False
    takes_last_image: bool = False
    usd_per_second: float | None = None  # at 480p, or at its only resolution; None where no source names it

    @property
    def unrestricted(self) -> bool:
        """Whether the model answers without content moderation."""
        return "spicy" in self.id

    def estimate(self, resolution: str, duration: int) -> float | None:
        """Returns what a clip costs by the table, in US dollars, or None where no source names it."""
        if self.usd_per_second is None:
            return None
        factor = _SIZE_FACTOR[resolution] / _SIZE_FACTOR[self.resolutions[0]]
        return round(self.usd_per_second * duration * factor, 4)


class Query(NamedTuple):
    """A question that costs nothing: a POST where it has a body, else a GET."""

    path: str
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None


class Provider:
    """A provider of hosted models. Paths are below `base`."""

    name: str  # short, for files and variables
    title: str
    key_variable: str
    base: str
    vendor: str  # prefix of models that is left out of labels
    models: tuple[Model, ...]
    # How answers are read, which a provider of other shapes does itself.
    read_task = staticmethod(responses.read_task)
    read_upload = staticmethod(responses.read_upload)
    read_price = staticmethod(responses.read_price)
    read_history = staticmethod(responses.read_history)
    upload_path = "/media/upload/binary"  # takes a PNG as the form field `file`
    charges_failed_jobs = True  # unless the provider says that it does not
    jobs = 3  # jobs at a time that every account may run
    starts_per_minute = 0  # jobs per minute that every account may start; 0 where no number is documented

    def label(self, model: Model) -> str:
        """Returns the name of a model as the node offers it."""
        mark = f" ({UNRESTRICTED})" if model.unrestricted else ""
        return f"{self.title}: {model.id.removeprefix(self.vendor)}{mark}"

    def submission(self, model: Model, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Returns path and body of the POST that starts a job."""
        return f"/{model.id}", fields

    def poll_path(self, job_id: str) -> str:
        """Returns where a job is asked for, whatever address an answer names."""
        return f"/predictions/{urllib.parse.quote(job_id, safe='')}/result"

    def price_query(self, model: Model, fields: dict[str, Any]) -> Query | None:
        """Returns the question for the price of a job; None where none is documented."""

    def history_query(self, model: str, page: int) -> Query | None:
        """Returns the question for a page of earlier jobs, the first being 1; None where no list is documented."""

    def kept_until(self, posted: float) -> float | None:
        """Returns until when a job can be fetched, in seconds since 1970; None where the provider does not say."""

    def read_submission(self, reply: Reply, key: str) -> str:
        """Returns the id of the job that a submission started.

        Raises:
            RateLimitedError: Refused; it may be sent again later.
            HostedError: Refused, with its reason.
            UnclearError: It may or may not have started a job.
        """
        task = self.read_task(reply.data)
        # A 500 that names a job and its state is a verdict on that job; an id alone may be that of the request.
        if task.id and (reply.fine or (reply.status >= 500 and task.status)):
            return task.id
        if reply.status == 429 and isinstance(reply.data, dict):
            raise RateLimitedError(
                f"{self.title} takes no more jobs for now (429{reply.said(key)}). Nothing was charged. "
                "Run again later.",
                reply.retry_after,
            )
        if _is_refusal(reply):
            raise self.refusal(reply, key)
        raise UnclearError(f"{self.title} answered {reply.status}{reply.said(key)} where the id of a job was expected.")

    def refusal(self, reply: Reply, key: str) -> HostedError:
        """Returns the error that a refusal means."""
        status, said = reply.inner_status, reply.said(key)
        if status == 402 or _BALANCE.search(responses.error_text(reply.data)):
            return BalanceError(f"The account at {self.title} has no credit left ({status}{said}). Top it up there.")
        if status == 401:
            return AuthError(
                f"{self.title} refuses the key ({status}{said}). "
                f"Whoever runs this ComfyUI checks {self.key_variable}, or sets the key again."
            )
        if status == 403:
            return AuthError(f"{self.title} does not allow this to the account ({status}{said}). Look into it there.")
        if status == 404:
            return RefusedError(
                f"{self.title} does not offer this model to the account ({status}{said}). Choose another model."
            )
        return RefusedError(
            f"{self.title} did not take the job ({status}{said}). Nothing was charged. "
            "Change what it names and run again."
        )


def _is_refusal(reply: Reply) -> bool:
    if 300 <= reply.inner_status < 500:
        return reply.inner_status not in (408, 409, 425, 429, 499)  # these do not say that nothing was begun
    return reply.inner_status >= 500 and bool(_NEVER_STARTED.search(responses.error_text(reply.data)))
