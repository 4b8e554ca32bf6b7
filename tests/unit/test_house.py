"""Rules of the house that no linter knows."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("nodes", "samplers", "weights", "media", "hosted")
SHIPPED = [ROOT / "__init__.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]

# Those of the field, and of ComfyUI itself. A new one needs a decision under docs/decisions.
DEPENDENCIES = {"torch", "safetensors", "numpy", "einops", "opencv-python", "av", "aiohttp", "pydantic"}
IMPORTS = {
    "torch", "safetensors", "numpy", "einops", "cv2", "av", "PIL", "aiohttp", "yarl", "pydantic", "typing_extensions",
}  # fmt: skip  # yarl: the addresses of aiohttp, which takes and returns them
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "server"}
COMFYUI_ROOMS = {"nodes", "__init__.py", "samplers/guider.py", "weights/loading.py", "media/vae_stream.py"}

CLIENT = sorted((ROOT / "client").glob("*.py"))
CLIENT_IMPORTS = {"httpx", "websockets", "rich", "typer", "PIL", "client"}

each_file = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def imported(path):
    """Returns the top-level modules that a file imports absolutely, and the rooms that it imports relatively."""
    absolute, rooms = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            absolute.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            rooms.add((node.module or node.names[0].name).split(".")[0])
    return absolute - set(sys.stdlib_module_names), rooms


def test_the_pack_asks_for_no_package_beyond_those_of_the_field():
    asked = {re.split(r"[<>=~!;\[ ]", name)[0] for name in PYPROJECT["project"]["dependencies"]}
    assert asked <= DEPENDENCIES


@each_file
def test_imports_nothing_else_and_comfyui_only_where_it_may(path):
    absolute, _ = imported(path)
    place = path.relative_to(ROOT)
    may = COMFYUI if place.parts[0] in COMFYUI_ROOMS or place.as_posix() in COMFYUI_ROOMS else set()
    assert absolute <= IMPORTS | may


@each_file
def test_domain_rooms_do_not_import_each_other(path):
    room = path.relative_to(ROOT).parts[0]
    if room in ("samplers", "weights", "media", "hosted"):
        assert imported(path)[1] == set()


@each_file
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


@pytest.mark.parametrize("path", CLIENT, ids=lambda path: path.name)
def test_the_client_imports_its_own_packages_alone_and_stays_small(path):
    absolute, rooms = imported(path)
    assert absolute <= CLIENT_IMPORTS
    assert rooms == set()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


@each_file
def test_the_pack_does_not_import_the_client(path):
    absolute, rooms = imported(path)
    assert rooms.isdisjoint({"client", "tiny"})
    assert absolute.isdisjoint(CLIENT_IMPORTS - IMPORTS)
    assert "from .client" not in (ROOT / "__init__.py").read_text(encoding="utf-8")


def test_the_clients_packages_are_the_same_wherever_they_are_listed():
    listed = (ROOT / "client" / "requirements.txt").read_text(encoding="utf-8").split()
    assert listed == PYPROJECT["project"]["optional-dependencies"]["client"]
    assert {re.split(r"[<>=]", name)[0] for name in listed} == CLIENT_IMPORTS - {"client", "PIL"} | {"pillow"}


def test_registry_fields_are_what_the_registry_takes():
    project, comfy = PYPROJECT["project"], PYPROJECT["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,98}", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert (ROOT / project["license"]["file"]).is_file()
    assert {"PublisherId", "DisplayName", "requires-comfyui"} <= set(comfy)
    assert "web" not in comfy  # with WEB_DIRECTORY it would load every script twice


def test_changelog_has_the_version():
    assert f"## {PYPROJECT['project']['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_requirements_are_what_comfyui_does_not_bring():
    named = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert set(named) <= set(PYPROJECT["project"]["dependencies"])
