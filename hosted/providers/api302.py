"""302.AI, by clients of its `/ws` route, which passes WaveSpeed's contract on, without prices and without a list."""

from dataclasses import replace

from .base import Provider
from .wavespeed import WaveSpeed


class Api302(Provider):
    """302.AI: a reseller of WaveSpeed's models, at prices of its own that no source names."""

    name, title, key_variable = "api302", "302.AI", "API302_KEY"
    base, vendor = "https://api.302.ai/ws/api/v3", "wavespeed-ai/"
    models = tuple(replace(model, usd_per_second=None) for model in WaveSpeed.models)
