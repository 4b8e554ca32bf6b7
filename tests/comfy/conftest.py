"""ComfyUI in this process, on the CPU, with the tiny models in a base directory of its own."""

import os
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

COMFYUI = os.environ.get("COMFYUI_DIR")
if not COMFYUI:
    raise pytest.UsageError("These tests run inside ComfyUI. Run `make test`, or set COMFYUI_DIR to a ComfyUI.")

from torch_compat import let_torchvision_import  # noqa: E402

base_directory = tempfile.TemporaryDirectory(prefix="wan22-turbo-")
BASE = Path(base_directory.name)


def import_comfyui() -> None:
    """Imports ComfyUI as its main.py would for `--cpu`; its modules read these settings while they are imported."""
    let_torchvision_import()
    sys.path.insert(0, COMFYUI)
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        (BASE / name).mkdir()
    from comfy.cli_args import args

    args.cpu = True
    args.fp32_vae = True
    args.base_directory = str(BASE)
    import utils.extra_config  # noqa: F401  # first, as in main.py: nodes puts comfy/ on the path, which has a `utils` too

    import nodes  # isort: skip

    assert Path(nodes.__file__).resolve().parent == Path(COMFYUI).resolve()


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ComfyUI's own
    import_comfyui()


def pytest_unconfigure() -> None:
    base_directory.cleanup()


@pytest.fixture(scope="session")
def models() -> Path:
    """The models folder of this process's ComfyUI, with the tiny models in it."""
    from pack.tests.toy.models import save_all

    save_all(BASE / "models")
    return BASE / "models"


@pytest.fixture(scope="session")
def high(models: Path):
    """The tiny high-noise expert."""
    return load_toy_expert(models, "HIGH")


@pytest.fixture(scope="session")
def low(models: Path):
    """The tiny low-noise expert."""
    return load_toy_expert(models, "LOW")


def load_toy_expert(models: Path, name: str):
    from pack.tests.toy import models as toy
    from pack.tests.toy.loaded import load_expert

    return load_expert(str(models / "diffusion_models" / getattr(toy, name)), "default")


@pytest.fixture(scope="module")
def studio(models: Path):
    """The trained tiny models, of which no later file knows: they have the names of the random ones."""
    import folder_paths
    from comfy_server import TRAINED
    from pack.tiny.latents import SMALL
    from pack.tiny.studio import Studio

    before = {name: list(paths) for name, (paths, _) in folder_paths.folder_names_and_paths.items()}
    yield Studio(TRAINED, SMALL)
    for name, paths in before.items():
        folder_paths.folder_names_and_paths[name][0][:] = paths
    folder_paths.filename_list_cache.clear()


@pytest.fixture
def add_file(models: Path):
    """Puts a file of tensors into a model folder for the time of a test, and returns its name."""
    import folder_paths
    from safetensors.torch import save_file

    added = []

    def add(folder, name, state, metadata=None):
        path = models / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path, metadata=metadata)
        added.append(path)
        folder_paths.filename_list_cache.clear()
        return name

    yield add
    for path in added:
        path.unlink()
    folder_paths.filename_list_cache.clear()


@pytest.fixture
def add_lora(add_file):
    """Puts a LoRA file into the models folder for the time of a test."""
    return lambda name, state, metadata=None: add_file("loras", name, state, metadata)


@pytest.fixture
def operator(monkeypatch, tmp_path):
    """Names filters, as the operator does before the server starts."""
    from pack.nodes import content

    undo = []

    def name(**variables):
        for variable, value in variables.items():
            monkeypatch.setenv(f"WAN22_TURBO_FILTER_{variable}", value)
        undo.append(content.watch_texts())

    yield name
    for each in undo:
        each()


@pytest.fixture
def words(operator, tmp_path):
    """A list of one word."""
    (tmp_path / "words.txt").write_text("forbiddenite\n", encoding="utf-8")
    operator(WORDS=str(tmp_path / "words.txt"))


@pytest.fixture
def judges(operator, tmp_path, monkeypatch):
    """A function that is asked everything, and answers what a test wants."""
    from pack.tests.toy.content import JUDGES

    (tmp_path / "content_judges.py").write_text(JUDGES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "content_judges", raising=False)
    import content_judges

    operator(FUNCTION="content_judges:judge")
    return content_judges
