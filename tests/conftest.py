"""Gives the checkout an importable name, whatever its folder is called.

The root __init__ is not run: it imports ComfyUI, and unit tests must not need it.
"""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from comfy_server import ComfyServer

ROOT = Path(__file__).resolve().parent.parent

pack = types.ModuleType("pack")
pack.__path__ = [str(ROOT)]
sys.modules["pack"] = pack

# `python -m pytest` puts the checkout on the path, where its nodes/ would hide ComfyUI's module of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
sys.path.append(str(ROOT / "tools"))  # last, so that it hides nothing


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["ComfyServer"]:
    """A real ComfyUI process with this pack, the tiny models, and a photograph in its input folder."""
    from comfy_server import ComfyServer, tiny_models
    from PIL import Image
    from skimage.data import chelsea

    base = tmp_path_factory.mktemp("comfyui base 小")  # ComfyUI must not mind such a name, so neither may we
    tiny_models(base / "models")
    (base / "input").mkdir()
    Image.fromarray(chelsea()).save(base / "input" / "example.png")
    with ComfyServer(base, ["--disable-api-nodes"], folder="another-name") as running:
        yield running
