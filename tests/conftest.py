"""What all rings share: the way to `pack` and the tools, the order of the tests, and servers."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from comfy_server import ComfyServer
    from pack.tests.toy.loopback import Running
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).resolve().parent.parent

# `python -m pytest` puts the checkout on the path, where its nodes/ would hide ComfyUI's module of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
sys.path.append(str(ROOT / "tools"))  # where `pack` is, too; last, so that it hides nothing

gc.disable()  # until all tests are collected, below


def pytest_configure() -> None:
    """Lets the processes that tests start hear Ctrl-C, also where this one was told to ignore it, as by `make test &`.

    A signal that is ignored stays so in children; one that is handled does not. Here it goes on meaning nothing.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Lets Python look for garbage again, but not among the modules and tests, which stay to the end.

    While these are made, that takes a third of the processor time, and later 0.3 s each time that ComfyUI asks for it.
    """
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # once those are left out that were not asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the rings whose files take longest first: the short ones then fill what is left of the cores at the end.

    In the unit ring those are the files with slow tests, and then those that wait for a provider or a server.
    """
    rings = ("widgets", "browser", "server", "comfy", "unit")
    waiting = ("test_hosted", "test_client", "test_")
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[int, bool, int]:
        ring = next((number for number, name in enumerate(rings) if name in item.path.parts), 0)
        waits = next(number for number, start in enumerate(waiting) if item.path.name.startswith(start))
        return ring, item.path not in slow, waits

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadFileScheduling | None":
    """Gives the files of the widgets to two processes, half of them each, and every other file to any.

    They share a ComfyUI and two pages, and to open these takes longer than most of the files.
    """
    from xdist.scheduler import LoadFileScheduling

    class Shared(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            folder, _, name = file.rpartition("/")
            return f"{folder} {name < 'test_n'}" if folder.endswith("/widgets") else file

    return Shared(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def toy_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny models, which the processes of a run make once; tests copy it."""
    from comfy_server import tiny_models
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # its folder is one of several beside each other
        shared = shared.parent
    with FileLock(shared / "toy models.lock"):
        tiny_models(shared / "toy models")
    return shared / "toy models"


@pytest.fixture(scope="session")
def server(toy_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["ComfyServer"]:
    """A real ComfyUI process with this pack, the tiny models, and a photograph in its input folder."""
    from comfy_server import ComfyServer, place_photograph

    base = tmp_path_factory.mktemp("comfyui base 小")  # ComfyUI must not mind such a name, so neither may we
    shutil.copytree(toy_models, base / "models")
    place_photograph(base / "input", crop=(0, 120, 451, 180))  # narrow: at 240p, a fifth of the pixels of the whole
    with ComfyServer(base, ["--disable-api-nodes"], folder="another-name") as running:
        yield running


@pytest.fixture(scope="session")
def all_providers() -> Iterator["Running"]:
    """The providers of hosted models, on the loopback address."""
    from pack.tests.toy.loopback import Running
    from pack.tests.toy.providers import PROVIDERS

    with Running(*(each() for each in PROVIDERS.values())) as running:
        yield running


@pytest.fixture
def running(all_providers: "Running") -> "Running":
    """The same, in good health, and with nothing known of earlier tests."""
    for provider in all_providers.providers:
        provider.reset()
    return all_providers


@pytest.fixture(scope="session")
def comfyui(all_providers: "Running", tmp_path_factory: pytest.TempPathFactory) -> Iterator["ComfyServer"]:
    """A ComfyUI that is led to them, without models of its own."""
    from comfy_server import ComfyServer
    from pack.tests.toy.hosted_prompt import JOBS, make_base

    variables = {
        **all_providers.environment(),
        "WAN22_TURBO_WAVESPEED_JOBS": str(JOBS),
        "WAN22_TURBO_WAVESPEED_STARTS_PER_MINUTE": "0",
    }
    with ComfyServer(make_base(tmp_path_factory.mktemp("hosted 小")), environment=variables) as server:
        yield server
