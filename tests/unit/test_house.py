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
ROOMS = ("nodes", "samplers", "attention", "weights", "media", "hosted", "filters", "common")
SHIPPED = [ROOT / "__init__.py", *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]

# Those of the field, and of ComfyUI itself. A new one needs a decision under docs/decisions.
DEPENDENCIES = {"torch", "safetensors", "numpy", "opencv-python", "av", "aiohttp"}
IMPORTS = {"torch", "safetensors", "numpy", "cv2", "av", "PIL", "aiohttp", "yarl", "typing_extensions"}
COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "comfyui_version", "folder_paths", "server"}
RUFF = PYPROJECT["tool"]["ruff"]["lint"]
DOORS = {name.removesuffix("*") for name, rules in RUFF["per-file-ignores"].items() if "TID251" in rules}

# A folder within a room is an inner room; a module beside it counts as one of its own. What stands here may be imported
# by those named on the left, from their own room; an inner room that is not named may import none of the others.
INNER: dict[str, set[str]] = {
    "weights/formats": set(),
    "weights/wan": {"formats", "lora_keys", "names"},
    "weights/loras": {"formats", "lora_keys", "names", "wan"},
}

MOST_LINES, MOST_OF_THE_CLIENT = 300, 250  # of a file
MOST_OF_A_FUNCTION = 40  # lines, without its docstring; a schema is a table, and may be longer

CLIENT = sorted((ROOT / "client").rglob("*.py"))
TOOLS = [path for folder in ("tools", "tiny", "bench") for path in (ROOT / folder).glob("*.py")]
CLIENT_IMPORTS = {"httpx", "websockets", "rich", "typer", "PIL", "tomli", "client"}
EXTRAS = {"fsspec", "pyarrow", "ray"}  # of `client batch`, each imported where somebody asked for what it does
REPORT = {"jinja2", "markupsafe", "numpy", "scipy", "vl_convert"}  # of its report, imported when one is made

Module = tuple[str, ...]  # the parts of its path from the root, without the suffix

each_file = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path):
    """Returns the top-level modules that a file imports absolutely, and the other rooms that it imports relatively."""
    absolute = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            absolute.add((node.module or "").split(".")[0])
    own = path.relative_to(ROOT).parts[0]
    return absolute - set(sys.stdlib_module_names), {module[0] for module in relative_imports(path)} - {own}


@cache
def relative_imports(path):
    """Returns the modules of the pack that a file imports, from however deep a room."""
    folder = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(folder) + 1, f"{path} imports from above the pack"
            base = folder[: len(folder) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            found |= {(*base, alias.name) if is_module((*base, alias.name)) else base for alias in node.names}
    return found


def is_module(module):
    place = ROOT.joinpath(*module)
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def circle(arrows):
    """Returns a circle in a graph, from one of its places back to it; nothing where there is none."""
    done, way = set(), []

    def visit(place):
        if place in way:
            return [*way[way.index(place) :], place]
        if place in done:
            return []
        way.append(place)
        found = next(filter(None, map(visit, sorted(arrows.get(place, ())))), [])
        way.pop()
        done.add(place)
        return found

    return next(filter(None, map(visit, sorted(arrows))), [])


def test_the_pack_asks_for_no_package_beyond_those_of_the_field():
    asked = {re.split(r"[<>=~!;\[ ]", name)[0] for name in PYPROJECT["project"]["dependencies"]}
    assert asked <= DEPENDENCIES


def is_door(path):
    place = path.relative_to(ROOT)
    return place.as_posix() in DOORS or f"{place.parts[0]}/" in DOORS


@each_file
def test_imports_nothing_else_and_comfyui_only_where_it_may(path):
    absolute, _ = imported(path)
    assert absolute <= IMPORTS | (COMFYUI if is_door(path) else set())


def test_the_linter_names_the_doors_to_comfyui_as_they_are():
    shipped = {door for door in DOORS if any(map(is_door, SHIPPED)) and door.split("/")[0] in ROOMS}
    for name in COMFYUI:
        said = RUFF["flake8-tidy-imports"]["banned-api"][name]["msg"]
        named = set(re.findall(r"[\w/]+(?:\.py|/(?=[, ]))", said))
        assert named == shipped, name
    assert all((ROOT / door).exists() for door in shipped)


@each_file
def test_domain_rooms_do_not_import_each_other(path):
    room = path.relative_to(ROOT).parts[0]
    if room in ("samplers", "attention", "weights", "media", "hosted", "filters", "common"):
        assert imported(path)[1] <= ({"common"} - {room})


@pytest.mark.parametrize("size", [None, 2], ids=["modules", "inner rooms"])
def test_imports_run_in_no_circle(size):
    arrows: dict[Module, set[Module]] = {}
    for path in SHIPPED:
        arrows.setdefault(module_of(path)[:size], set()).update(module[:size] for module in relative_imports(path))
    for place, imports in arrows.items():
        imports.discard(place)  # within an inner room
    assert circle(arrows) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@each_file
def test_inner_rooms_import_only_what_they_may(path):
    module = module_of(path)
    if len(path.relative_to(ROOT).parts) < 3:
        return
    room, inner = module[:2]
    own = {target[1] for target in relative_imports(path) if target[0] == room and len(target) > 1}
    assert own - {inner} <= INNER.get(f"{room}/{inner}", set())


def test_every_inner_room_that_is_ruled_is_there():
    assert all((ROOT / place / "__init__.py").is_file() for place in INNER)


@pytest.mark.parametrize("folder", [*ROOMS, "client", "tools", "tiny", "bench", "tests"])
def test_files_stay_small(folder):
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {path: lines for path, lines in counted.items() if lines > MOST_LINES} == {}


@each_file
def test_functions_stay_short(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "define_schema":
            first = node.body[1:2] if ast.get_docstring(node) else node.body[:1]
            length = node.end_lineno - first[0].lineno + 1 if first else 0
            assert length <= MOST_OF_A_FUNCTION, node.name


def test_docstrings_begin_with_what_a_function_does():
    """It returns, checks, raises, shows: `Says` leaves open whether somebody hears it."""
    begun = {path: re.findall(r'"""Says .+', path.read_text(encoding="utf-8")) for path in [*SHIPPED, *CLIENT, *TOOLS]}
    assert {path: said for path, said in begun.items() if said} == {}


@pytest.mark.parametrize("path", CLIENT, ids=lambda path: path.name)
def test_the_client_imports_its_own_packages_alone_and_stays_small(path):
    absolute, rooms = imported(path)
    assert absolute <= CLIENT_IMPORTS | EXTRAS | (REPORT if path.parent.name == "report" else set())
    assert rooms == set()
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_OF_THE_CLIENT


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
