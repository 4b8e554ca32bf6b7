"""Nothing is installed that is not written down with its hash: what is written, and what pip makes of it."""

import hashlib
import importlib.metadata
import os
import re
import sys
import zipfile
from pathlib import Path

import bootstrap
import pip_run
import pytest
import setup_cache
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setup_cache import SetupError

PIN = re.compile(r"^(?P<pin>[^\s#].*?)(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)\n", re.MULTILINE)
FILES = [bootstrap.CONSTRAINTS, bootstrap.PIP_PIN, *map(bootstrap.pins_of, bootstrap.RELEASES)]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def pins(*files, python):
    """Returns the versions that files of pins have for a Python, by name."""
    requirements = [Requirement(match["pin"]) for path in files for match in PIN.finditer(path.read_text("utf-8"))]
    here = [each for each in requirements if not each.marker or each.marker.evaluate({"python_version": python})]
    found = {canonicalize_name(each.name): str(each.specifier) for each in here}
    assert len(found) == len(here), "a package has one version only"
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_pin_has_a_hash(path):
    rest = PIN.sub("", path.read_text("utf-8"))
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("comfyui", bootstrap.RELEASES)
def test_what_the_setup_asks_for_is_written_down_for_every_python(comfyui, python):
    known = pins(bootstrap.CONSTRAINTS, bootstrap.pins_of(comfyui), python=python)
    lines = (bootstrap.ROOT / "tools" / "requirements.txt").read_text("utf-8").splitlines()
    asked = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    asked += map(Requirement, (bootstrap.TORCH, *bootstrap.TORCH_FRIENDS))
    assert [each for each in asked if canonicalize_name(each.name) not in known] == []
    for each in asked:
        assert known[canonicalize_name(each.name)].removeprefix("==") in each.specifier
    assert {name for name in known if "comfyui" in name} >= {"comfyui-frontend-package", "comfyui-workflow-templates"}


def environment_of_the_setup():
    return Path(sys.prefix).is_relative_to(setup_cache.cache_dir() / "venv")


@pytest.mark.skipif(not environment_of_the_setup(), reason="this Python was not made by the set-up")
def test_all_that_is_installed_here_is_written_down():
    comfyui = Path(os.environ["COMFYUI_DIR"]).name.partition("-")[0]
    released = comfyui in bootstrap.RELEASES  # what another ComfyUI wants is written down nowhere
    python = ".".join(map(str, sys.version_info[:2]))
    files = [bootstrap.CONSTRAINTS, bootstrap.PIP_PIN, *([bootstrap.pins_of(comfyui)] if released else [])]
    known = pins(*files, python=python)
    for each in importlib.metadata.distributions():
        if Path(str(each.locate_file(""))).is_relative_to(sys.prefix):
            version = each.version.partition("+")[0]  # torch for processors alone is 2.13.0+cpu
            pin = known.get(canonicalize_name(each.name), None if released else f"=={version}")
            assert pin == f"=={version}", each.name


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels that is all that pip knows of."""
    monkeypatch.setenv("WAN22_TURBO_CACHE", str(tmp_path / "cache"))
    setup_cache.cache_dir().mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "TARGET": str(tmp_path / "in")}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tmp_path


def wheel(folder, name, version="1.0", asks="", tag="py3-none-any"):
    """Writes a wheel of one module, and returns its sha256."""
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as file:
        told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        told += f"Requires-Dist: {asks}\n" if asks else ""
        file.writestr(f"{name}.py", "")
        file.writestr(f"{name}-{version}.dist-info/METADATA", told)
        file.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(folder, name, **hashes):
    """Installs a package as the set-up does, with such hashes written down."""
    written = folder / "constraints.txt"
    written.write_text("".join(f"{each}==1.0 --hash=sha256:{sha256}\n" for each, sha256 in hashes.items()), "utf-8")
    checked = ["--require-hashes", "--only-binary=:all:", "--constraint", str(written)]
    pip_run.pip(Path(sys.executable), "install", *checked, name)
    return sorted(path.stem for path in (folder / "in").glob("*.py"))


@pytest.mark.slow
def test_what_is_written_down_is_installed_with_all_that_it_needs(shelf):
    first, second = wheel(shelf, "first", asks="second"), wheel(shelf, "second")
    assert install(shelf, "first", first=first, second=second) == ["first", "second"]


@pytest.mark.parametrize("changed", ["first", "second"])
@pytest.mark.slow
def test_a_file_that_was_changed_is_not_installed(shelf, changed):
    hashes = {"first": wheel(shelf, "first", asks="second"), "second": wheel(shelf, "second")}
    with (shelf / f"{changed}-1.0-py3-none-any.whl").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(SetupError, match=rf"^The file of {changed}==1\.0 .* is none of those in tools/"):
        install(shelf, "first", **hashes)
    assert not (shelf / "in").exists()


@pytest.mark.slow
def test_what_nobody_wrote_down_is_not_installed(shelf):
    first, _ = wheel(shelf, "first", asks="second"), wheel(shelf, "second")
    with pytest.raises(SetupError, match=r"lists no second for this Python and system, .* `make pins` writes down"):
        install(shelf, "first", first=first)
    assert not (shelf / "in").exists()


@pytest.mark.slow
def test_a_system_that_no_file_is_for_is_told_so(shelf):
    sha256 = wheel(shelf, "far", tag="cp310-cp310-win_arm64" if os.name != "nt" else "cp310-cp310-macosx_14_0_arm64")
    with pytest.raises(SetupError, match=r"There is no file of far for this Python and system .* COMFYUI_PYTHON\.$"):
        install(shelf, "far", far=sha256)


@pytest.mark.slow
def test_a_build_of_torch_that_is_not_written_down_is_not_installed(shelf, monkeypatch):
    wheel(shelf, "torch", bootstrap.TORCH.partition("==")[2])
    monkeypatch.delenv("PIP_TARGET")
    with pytest.raises(SetupError, match=r"^torch-\S+ is a build of torch that is not known here: .*"):
        bootstrap.torch_file(Path(sys.executable))


def test_of_a_comfyui_of_ones_own_versions_alone_are_held_and_none_of_its_own_packages(shelf):
    versions = bootstrap.without_hashes(bootstrap.CONSTRAINTS).read_text("utf-8")
    assert "hash" not in versions.partition("\n")[2]
    assert "\nnumpy==2.4.6 ;" in versions
    pins = bootstrap.CONSTRAINTS.read_text("utf-8")
    own = [line for line in pins.splitlines() if line.startswith("comfy")]  # of which another version asks for others
    assert own
    assert not any(line.startswith("comfy") for line in versions.splitlines())
    assert len(versions.splitlines()) == len(PIN.findall(pins)) - len(own) + 1
