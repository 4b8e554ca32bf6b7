"""AtlasCloud, by its ComfyUI pack and MCP server (`/api/v1`) of September 2026."""

import urllib.parse
from typing import Any

from .base import DURATIONS, EACH, HIGH, LOW, PAGE, RESOLUTIONS, Model, Provider, Query


class AtlasCloud(Provider):
    """AtlasCloud: one path for all models, paths of its own, and a list of jobs that is read with GET."""

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
            DURATIONS,
            (HIGH, LOW),
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
