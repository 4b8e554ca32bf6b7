"""One of the loopback providers, in good health and with nothing known of earlier tests."""

from typing import TYPE_CHECKING

import pytest
from pack.tests.toy.providers import PROVIDERS

if TYPE_CHECKING:
    from pack.tests.toy.loopback import Provider, Running


@pytest.fixture
def wavespeed(running: "Running") -> "Provider":
    return running.named("wavespeed")


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest, running: "Running") -> "Provider":
    return running.named(request.param)
