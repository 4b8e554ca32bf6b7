"""What several files of this ring take: a loopback provider out of several, and the header of a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pack.tests.toy.loopback import Provider, Running
from pack.tests.toy.providers import PROVIDERS
from pack.tests.toy.shapes import Shapes, write
from pack.weights.header import Header, read_header


@pytest.fixture
def wavespeed(running: Running) -> Provider:
    return running.named("wavespeed")


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest, running: Running) -> Provider:
    return running.named(request.param)


@pytest.fixture
def header(tmp_path: Path) -> Callable[[Shapes], Header]:
    """Writes a file of such tensors, and returns what it lists."""
    return lambda shapes: read_header(write(tmp_path, shapes))
