"""WaveSpeed, by its docs and SDKs (`/api/v3`) of September 2026."""

from typing import Any

from .base import DURATIONS, EACH, HIGH, LOW, PAGE, PLAIN, Model, Provider, Query

DAYS_KEPT = 7


def _sized(size: str, kind: str, lora_arrays: tuple[str, ...] = (), usd: float | None = None) -> Model:
    name = f"wavespeed-ai/wan-2.2/i2v-{size}{kind}"
    return Model(name, (size,), DURATIONS, lora_arrays, True, True, usd)


class WaveSpeed(Provider):
    """WaveSpeed, whose contract is the one in base.py; it also quotes prices and lists jobs."""

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
        """Returns when the seven days end for which WaveSpeed keeps a job."""
        return posted + DAYS_KEPT * 86_400
