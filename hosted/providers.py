"""The three providers: where they are, what they are called, what each offers beyond submit and poll.

Contracts: docs and SDKs of WaveSpeed (`/api/v3`), ComfyUI pack and MCP server of AtlasCloud (`/api/v1`), and clients of
302.AI's `/ws` route, which passes WaveSpeed's contract on.
"""

from dataclasses import dataclass
from typing import Any

from . import models
from .models import Model

UNRESTRICTED = "unrestricted"


@dataclass(frozen=True)
class Provider:
    """What the client needs to know of a provider. Paths are below `base`; `{}` stands for a model or a job.

    Attributes:
        name: Short, for files and variables.
        own: Vendor prefix that is left out of labels.
        names_model: The body of a submission holds the model, not the path.
        history: Path of the list of earlier jobs; None where none is documented.
        price: Path of the price quote; None where none is documented.
        failed_free: It says that it charges no failed jobs.
        keeps_days: How long a job can be fetched; only WaveSpeed says so.
        says_how_long: It is this provider that says so.
        jobs: Jobs at a time that every account may run.
        starts_per_minute: Jobs per minute that every account may start; 0 where no number is documented.
    """

    name: str
    title: str
    key_variable: str
    base: str
    own: str
    models: tuple[Model, ...]
    submit: str
    poll: str
    upload: str
    names_model: bool = False
    history: str | None = None
    history_by_post: bool = False
    price: str | None = None
    failed_free: bool = False
    keeps_days: int = 7
    says_how_long: bool = False
    jobs: int = 3
    starts_per_minute: int = 0

    def label(self, model: Model) -> str:
        """Returns the name of a model as the node offers it."""
        mark = f" ({UNRESTRICTED})" if model.unrestricted else ""
        return f"{self.title}: {model.id.removeprefix(self.own)}{mark}"

    def submit_path(self, model: Model) -> str:
        """Returns the path that a job of a model is posted to."""
        return self.submit.format(model.id)

    def submit_body(self, model: Model, fields: dict[str, Any]) -> dict[str, Any]:
        """Returns the body of a submission."""
        return {"model": model.id, **fields} if self.names_model else fields


WAVESPEED = Provider(
    name="wavespeed",
    title="WaveSpeed",
    key_variable="WAVESPEED_API_KEY",
    base="https://api.wavespeed.ai/api/v3",
    own="wavespeed-ai/",
    models=models.WAVESPEED,
    submit="/{}",
    poll="/predictions/{}/result",
    upload="/media/upload/binary",
    history="/predictions",
    history_by_post=True,
    price="/model/price",
    failed_free=True,
    says_how_long=True,
    starts_per_minute=5,
)
ATLASCLOUD = Provider(
    name="atlascloud",
    title="AtlasCloud",
    key_variable="ATLASCLOUD_API_KEY",
    base="https://api.atlascloud.ai/api/v1",
    own="atlascloud/",
    models=models.ATLASCLOUD,
    submit="/model/generateVideo",
    poll="/model/prediction/{}",
    upload="/model/uploadMedia",
    names_model=True,
    history="/model/history",
)
API302 = Provider(
    name="api302",
    title="302.AI",
    key_variable="API302_KEY",
    base="https://api.302.ai/ws/api/v3",
    own="wavespeed-ai/",
    models=models.API302,
    submit="/{}",
    poll="/predictions/{}/result",
    upload="/media/upload/binary",
)
PROVIDERS = (WAVESPEED, ATLASCLOUD, API302)

OFFERS: dict[str, tuple[Provider, Model]] = {
    provider.label(model): (provider, model) for provider in PROVIDERS for model in provider.models
}
