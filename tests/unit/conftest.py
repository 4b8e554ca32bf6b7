"""What several files of this ring take: a loopback provider out of several, two ComfyUIs, and the header of a file."""

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pack.client import follow, server
from pack.client.batch import runner
from pack.tests.toy.comfies import Comfies
from pack.tests.toy.loopback import Provider, Running
from pack.tests.toy.one_comfy import Comfy
from pack.tests.toy.providers import PROVIDERS
from pack.tests.toy.shapes import Shapes, write
from pack.weights.formats.header import Header
from pack.weights.formats.model_file import open_model
from pack.weights.loras import report as lora_report


@pytest.fixture
def wavespeed(running: Running) -> Provider:
    return running.named("wavespeed")


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest, running: Running) -> Provider:
    return running.named(request.param)


@pytest.fixture
def header(tmp_path: Path) -> Callable[[Shapes], Header]:
    """Writes a file of such tensors, and returns what it lists."""
    return lambda shapes: open_model(write(tmp_path, shapes)).header


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Header]:
    """Writes a LoRA of such shapes and metadata, and returns what it lists."""

    def read(shapes, **metadata):
        named = {key.replace("__", "."): metadata[key] for key in metadata}
        return open_model(write(tmp_path, shapes, metadata=named)).header

    return read


@pytest.fixture
def facts(listed: Callable[..., Header]) -> Callable[..., lora_report.LoraFacts]:
    """Writes such a LoRA, and returns what it tells of itself."""
    return lambda shapes, **metadata: lora_report.facts(listed(shapes, **metadata))


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Makes a command of the operator's out of some lines of Python."""

    def make(lines: str) -> str:
        (tmp_path / "judge it.py").write_text(lines, encoding="utf-8")
        return shlex.join([sys.executable, "-I", "-S", str(tmp_path / "judge it.py")])

    return make


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comfies]:
    """Two loopback ComfyUIs. Nothing is waited for longer than it takes on this machine."""
    monkeypatch.setattr(server, "PAUSES", (0.01,))
    monkeypatch.setattr(server, "UNSURE_SECONDS", 0.5)
    monkeypatch.setattr(follow, "SILENCE", 0.2)
    monkeypatch.setattr(follow, "POLL", 0.05)
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.05)
    with Comfies(Comfy(), Comfy()) as both:
        yield both
