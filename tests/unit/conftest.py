"""What several files of this ring take: a loopback provider out of several, and the header of a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pack.tests.toy.loopback import Provider, Running
from pack.tests.toy.providers import PROVIDERS
from pack.tests.toy.shapes import Shapes, write
from pack.weights.formats.header import Header, read_header
from pack.weights.loras import facts as lora_facts
from safetensors.torch import save_file


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


@pytest.fixture
def facts(tmp_path: Path) -> Callable[..., lora_facts.LoraFacts]:
    """Writes a LoRA of such shapes and metadata, and returns what it tells of itself."""

    def read(shapes, **metadata):
        path = tmp_path / "x.safetensors"
        tensors = {name: torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}
        save_file(tensors, path, {key.replace("__", "."): value for key, value in metadata.items()})
        return lora_facts.facts(read_header(path))

    return read
