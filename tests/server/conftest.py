"""A ComfyUI of its own for hosted models, led to providers on the loopback address."""

import pytest
from comfy_server import ComfyServer
from pack.tests.toy.hosted_prompt import JOBS, make_base
from pack.tests.toy.providers import PROVIDERS, Running


@pytest.fixture(scope="session")
def all_providers():
    with Running(*(each() for each in PROVIDERS.values())) as running:
        yield running


@pytest.fixture
def running(all_providers):
    """The three providers, in good health, and nothing known of earlier tests."""
    for provider in all_providers.providers:
        provider.reset()
    return all_providers


@pytest.fixture(scope="session")
def comfyui(all_providers, tmp_path_factory):
    variables = {
        **all_providers.environment(),
        "WAN22_TURBO_WAVESPEED_JOBS": str(JOBS),
        "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0",
    }
    with ComfyServer(make_base(tmp_path_factory.mktemp("hosted 小")), environment=variables) as server:
        yield server
