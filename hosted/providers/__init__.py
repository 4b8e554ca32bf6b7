"""The providers, in the order in which nodes offer them. A new one is a file here and a place in this list."""

from .api302 import Api302
from .atlascloud import AtlasCloud
from .base import Model, Provider
from .wavespeed import WaveSpeed

PROVIDERS: tuple[Provider, ...] = (WaveSpeed(), AtlasCloud(), Api302())
OFFERS: dict[str, tuple[Provider, Model]] = {
    provider.label(model): (provider, model) for provider in PROVIDERS for model in provider.models
}
BY_NAME = {provider.name: provider for provider in PROVIDERS}
