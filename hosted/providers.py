"""The providers, an adapter each, and what they have in common: a model's parameters, its price, and
WaveSpeed's contract.

An adapter is a subclass that says how a provider differs: its address, paths, models, prices and list of jobs. It makes
paths and bodies and reads answers; what is sent, waited for and paid is the same for all, and none of its business. A
new one is a class here and a place in `PROVIDERS`, the order in which nodes offer them.
"""

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..common.text import MAX_USD
from . import responses
from .errors import AuthError, BalanceError, HostedError, RateLimitedError, RefusedError, UnclearError
from .responses import Reply

PLAIN, HIGH, LOW = "loras", "high_noise_loras", "low_noise_loras"
EACH = (PLAIN, HIGH, LOW)
RESOLUTIONS = ("480p", "720p", "1080p")
DURATIONS = (5, 8)  # seconds
UNRESTRICTED = "unrestricted"
PRICES_OF = "September 2026"
PAGE = 20  # jobs of a list that are asked for at a time; with their inputs, they may be large
_SIZE_FACTOR = {"480p": 1.0, "720p": 2.0, "1080p": 4.0}  # only that of 720p is documented, and only by WaveSpeed
_BALANCE = re.compile(r"insufficient (balance|credit|fund|quota)|balance|credit|top.?up|quota", re.IGNORECASE)
# AtlasCloud's 500 for a model that it does not have; a 503 without a machine to spare.
_NEVER_STARTED = re.compile(r"failed to evaluate price|insufficient", re.IGNORECASE)


class Model(NamedTuple):
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


def dollars(usd: float) -> str:
    """Writes an amount, with as many digits as it needs."""
    return f"${usd:.2f}" if abs(usd * 100 - round(usd * 100)) < 1e-6 else f"${usd:.4f}".rstrip("0")


class Price(NamedTuple):
    """US dollars for a clip; None where nobody names them."""

    usd: float | None
    asked: bool  # of the provider, just before the job

    @classmethod
    def quoted(cls, usd: float) -> "Price":
        """Returns what a provider answered; what can be no price is none."""
        return cls(usd if usd <= MAX_USD else None, asked=True)

    def __str__(self) -> str:
        if self.usd is None and self.asked:
            return "price unknown; what the provider names can be none"
        if self.usd is None:
            return f"price unknown; no source of {PRICES_OF} names it"
        return f"{dollars(self.usd)}, as asked" if self.asked else f"about {dollars(self.usd)}, prices of {PRICES_OF}"


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


def _sized(size: str, kind: str, lora_arrays: tuple[str, ...] = (), usd: float | None = None) -> Model:
    name = f"wavespeed-ai/wan-2.2/i2v-{size}{kind}"
    return Model(name, (size,), DURATIONS, lora_arrays, True, True, usd)


class WaveSpeed(Provider):
    """WaveSpeed, by its docs and SDKs of September 2026: the contract above, with prices and a list of jobs."""

    name, title, key_variable = "wavespeed", "WaveSpeed", "WAVESPEED_API_KEY"
    base, vendor = "https://api.wavespeed.ai/api/v3", "wavespeed-ai/"
    charges_failed_jobs = False
    starts_per_minute = 5
    models = (
        Model("wavespeed-ai/wan-2.2/image-to-video", ("480p", "720p"), DURATIONS, (), True, True, 0.03),
        Model("wavespeed-ai/wan-2.2/image-to-video-lora", ("480p", "720p"), DURATIONS, EACH, True, True),
        _sized("480p", ""),
        _sized("480p", "-lora", EACH),
        _sized("480p", "-ultra-fast"),
        _sized("480p", "-lora-ultra-fast", EACH, 0.02),
        _sized("720p", ""),
        _sized("720p", "-lora", EACH),
        _sized("720p", "-ultra-fast"),
        _sized("720p", "-lora-ultra-fast", EACH),
        Model("wavespeed-ai/wan-2.2/i2v-5b-720p-lora", ("720p",), (5,), (PLAIN,)),
        Model("wavespeed-ai/wan-2.2-spicy/image-to-video", usd_per_second=0.03),
        # Whether it applies a plain `loras` is not documented, so that is not offered: "both" fills the other two.
        Model("wavespeed-ai/wan-2.2-spicy/image-to-video-lora", lora_arrays=(HIGH, LOW), usd_per_second=0.04),
    )

    def price_query(self, model: Model, fields: dict[str, Any]) -> Query:
        """Asks for the price of these very parameters."""
        return Query("/model/price", body={"model_id": model.id, "inputs": fields})

    def history_query(self, model: str, page: int) -> Query:
        """Asks for a page of its predictions with their inputs."""
        asked = {"page": page, "page_size": PAGE, "model": model, "include_inputs": True}
        return Query("/predictions", body=asked)

    def kept_until(self, posted: float) -> float:
        """Returns when the seven days end for which a job is kept."""
        return posted + 7 * 86_400


class AtlasCloud(Provider):
    """AtlasCloud, by its ComfyUI pack and MCP server of September 2026: paths of its own, and a list read with GET."""

    name, title, key_variable = "atlascloud", "AtlasCloud", "ATLASCLOUD_API_KEY"
    base, vendor = "https://api.atlascloud.ai/api/v1", "atlascloud/"
    upload_path = "/model/uploadMedia"
    models = (
        Model("atlascloud/wan-2.2/image-to-video", takes_negative_prompt=True),
        Model(
            "atlascloud/wan-2.2/image-to-video-lora", lora_arrays=EACH, takes_negative_prompt=True, usd_per_second=0.04
        ),
        Model("atlascloud/wan-2.2-turbo/image-to-video", RESOLUTIONS),
        Model("alibaba/wan-2.2/i2v-480p", ("480p",), (5,)),
        Model("alibaba/wan-2.2/i2v-720p", ("720p",), (5,)),
        Model("atlascloud/wan-2.2-turbo-spicy/image-to-video", RESOLUTIONS, usd_per_second=0.02),
        Model(
            "atlascloud/wan-2.2-turbo-spicy/image-to-video-lora",
            RESOLUTIONS,
            lora_arrays=(HIGH, LOW),
            usd_per_second=0.026,
        ),
        Model("alibaba/wan-2.2-spicy/image-to-video", usd_per_second=0.03),
        Model("alibaba/wan-2.2-spicy/image-to-video-lora", lora_arrays=EACH, usd_per_second=0.04),
    )

    def submission(self, model: Model, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Names the model in the body."""
        return "/model/generateVideo", {"model": model.id, **fields}

    def poll_path(self, job_id: str) -> str:
        """Returns the path of a prediction."""
        return f"/model/prediction/{urllib.parse.quote(job_id, safe='')}"

    def history_query(self, model: str, page: int) -> Query:
        """Asks for a page of its history; numbers go as text in the address."""
        return Query("/model/history", params={"no": str(page), "size": str(PAGE), "model": model})


class Api302(Provider):
    """302.AI, by clients of its `/ws` route: a reseller under WaveSpeed's contract, at prices that no source names."""

    name, title, key_variable = "api302", "302.AI", "API302_KEY"
    base, vendor = "https://api.302.ai/ws/api/v3", "wavespeed-ai/"
    models = tuple(model._replace(usd_per_second=None) for model in WaveSpeed.models)


PROVIDERS: tuple[Provider, ...] = (WaveSpeed(), AtlasCloud(), Api302())
OFFERS: dict[str, tuple[Provider, Model]] = {
    provider.label(model): (provider, model) for provider in PROVIDERS for model in provider.models
}
BY_NAME = {provider.name: provider for provider in PROVIDERS}
