"""The set-up of a real ComfyUI: what it chooses, what it notices, and what it says when it cannot go on."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import bootstrap
import pip_run
import pytest
import setup_cache
from setup_cache import SetupError

BOOTSTRAP = Path(bootstrap.__file__)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WAN22_TURBO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Mended(NamedTuple):
    """An environment without packages, made where an earlier set-up had failed; and what was said of both."""

    target: Path
    error: str
    finished: bool  # after the failure
    said: str


@pytest.fixture(scope="module")
def mended(tmp_path_factory):
    """Makes it once: each environment takes seconds."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
        patch.setenv("WAN22_TURBO_CACHE", str(tmp_path_factory.mktemp("made")))
        target = setup_cache.cache_dir() / "venv" / "x"
        with pytest.raises(SetupError) as failure:
            bootstrap.make_venv(target, [("Installing nothing", ["--no-index", "./not-there.whl"])])
        finished = setup_cache.finished(target)
        leftover = target / "bin" / "leftover"
        leftover.parent.mkdir(exist_ok=True)  # on Windows it has another name
        leftover.touch()
        said.truncate(0)
        bootstrap.make_venv(target, [])
        return Mended(target, str(failure.value), finished, said.getvalue())


@pytest.fixture
def made(mended):
    """A finished environment, to be copied."""
    return mended.target


def comfyui_tree(folder):
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfy" / "samplers.py").touch()
    return folder


def test_comfyui_dir_comes_first(tmp_path):
    tree = comfyui_tree(tmp_path / "mine")
    environ = {"COMFYUI_DIR": str(tree), "COMFYUI": "0.26.0"}
    assert bootstrap.find_comfyui(environ, tmp_path) == tree


def test_a_named_version_comes_before_the_comfyui_around(tmp_path):
    checkout = comfyui_tree(tmp_path / "ComfyUI") / "custom_nodes" / "pack"
    assert bootstrap.find_comfyui({"COMFYUI": "0.26.0"}, checkout) == "0.26.0"


def test_the_comfyui_around_the_checkout_is_found(tmp_path):
    tree = comfyui_tree(tmp_path / "ComfyUI")
    assert bootstrap.find_comfyui({"COMFYUI": "", "COMFYUI_DIR": ""}, tree / "custom_nodes" / "pack") == tree


def test_else_the_newest_known_version_is_installed(tmp_path):
    assert bootstrap.find_comfyui({}, tmp_path / "somewhere" / "pack") == "0.30.0"


def test_a_folder_that_is_no_comfyui_is_named(tmp_path):
    with pytest.raises(SetupError, match="COMFYUI_DIR must be the top folder of a ComfyUI"):
        bootstrap.find_comfyui({"COMFYUI_DIR": str(tmp_path)}, tmp_path)


def test_an_unknown_version_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(SetupError, match=r"COMFYUI must be one of 0.30.0, 0.26.0, .*, got 0.1"):
        bootstrap.find_comfyui({"COMFYUI": "0.1"}, tmp_path)


@pytest.mark.parametrize("version", [(3, 9), (3, 14), (2, 7)])
def test_a_python_that_comfyui_or_torch_does_not_support_is_refused(version):
    with pytest.raises(SetupError, match=r"Python 3\.10 to 3\.13 is needed, this is .* make demo PYTHON=python3\.11"):
        bootstrap.check_python(version)


def test_a_finished_folder_is_taken_and_one_that_lost_a_file_is_not(tmp_path):
    folder = comfyui_tree(tmp_path / "tree")
    assert not setup_cache.finished(folder)
    setup_cache.mark_finished(folder)
    assert setup_cache.finished(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "main.pyc").touch()  # what running it adds does not count
    assert setup_cache.finished(folder)
    (folder / "main.py").unlink()
    assert not setup_cache.finished(folder)


@pytest.mark.parametrize("stamp", ["", "half"])
def test_a_stamp_that_was_cut_off_counts_as_none(tmp_path, stamp):
    folder = comfyui_tree(tmp_path / "tree")
    (folder / setup_cache.STAMP).write_text(stamp, encoding="utf-8")
    assert not setup_cache.finished(folder)


@pytest.mark.slow
def test_a_half_made_environment_is_removed_and_made_again(mended, capsys):
    assert not (mended.target / "bin" / "leftover").exists()
    assert "An earlier set-up did not finish; starting it again" in mended.said
    python = bootstrap.make_venv(mended.target, [])
    assert subprocess.run([python, "-c", ""], check=True).returncode == 0
    assert capsys.readouterr().err == ""  # the finished one is simply taken


@pytest.mark.slow
def test_a_setup_that_fails_between_two_steps_is_not_taken_for_finished(mended):
    assert mended.error.startswith("pip failed: ERROR: ")
    assert not mended.finished
    assert "An earlier set-up did not finish" in mended.said


@pytest.mark.skipif(os.name == "nt", reason="an environment links to its interpreter on POSIX only")
@pytest.mark.slow
def test_an_environment_whose_interpreter_is_gone_is_made_again(cache, made):
    shutil.copytree(made, cache / "venv" / "x", symlinks=True)
    python = bootstrap.make_venv(cache / "venv" / "x", [])
    python.unlink()
    python.symlink_to("/not/there/python")
    assert not bootstrap.runs(python)
    assert bootstrap.runs(bootstrap.make_venv(cache / "venv" / "x", []))


def test_packages_of_the_users_own_environment_stay_out_of_ours(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert "PYTHONPATH" not in pip_run.own_environment()


def test_unpacks_the_comfyui_folder_of_an_archive_and_nothing_else(tmp_path):
    archive = tmp_path / "carrier-1.0.tar.gz"
    names = [
        "carrier-1.0/vendor/ComfyUI/main.py",
        "carrier-1.0/vendor/ComfyUI/comfy/samplers.py",
        "carrier-1.0/vendor/ComfyUI/../../escape.py",
        "carrier-1.0/vendor/ComfyUI-other/x.py",
        "carrier-1.0/setup.py",
        "/vendor/ComfyUI/absolute.py",
    ]
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"pass"))
        link = tarfile.TarInfo("carrier-1.0/vendor/ComfyUI/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    target = tmp_path / "out" / "tree"
    bootstrap.unpack(archive, "vendor/ComfyUI", target)
    found = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if not path.is_dir()
    }
    assert {"tree/main.py", "tree/comfy/samplers.py"} <= found
    assert found <= {"tree/main.py", "tree/comfy/samplers.py", "tree/absolute.py"}


def test_too_small_a_disk_is_said_before_anything_is_downloaded(cache):
    with pytest.raises(
        SetupError, match=r"The set-up needs 900000000 GB of disk, .* Free some, or set WAN22_TURBO_CACHE"
    ):
        setup_cache.need_space(9e8)


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAN22_TURBO_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match=r"The cache folder .* cannot be written"), setup_cache.lock(lambda _: None):
        pass


def test_one_setup_at_a_time(cache):
    with setup_cache.lock(lambda _: None), (cache / "lock").open("a+b") as second:
        assert not setup_cache.try_lock(second.fileno())
    with (cache / "lock").open("a+b") as second:
        assert setup_cache.try_lock(second.fileno())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "WARNING: Retrying ... NewConnectionError\nERROR: No matching distribution",
            "The package index cannot be reached",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)",
            "The package index has no torch==2.13.0 for this Python and system, or it cannot be reached",
        ),
        (
            "Collecting x\nERROR: No matching distribution found for x",
            "pip failed: ERROR: No matching distribution found",
        ),
    ],
)
def test_failures_of_pip_become_one_sentence(output, message, tmp_path):
    said = pip_run.explain(output, tmp_path / "setup.log")
    assert said.startswith(message)
    assert "\n" not in said


@pytest.mark.slow
def test_without_a_network_the_setup_ends_with_one_sentence(tmp_path, made):
    shutil.copytree(made, tmp_path / "cache" / "venv" / f"fetch-{bootstrap.tag()}", symlinks=True)
    environ = {
        **os.environ,
        "WAN22_TURBO_CACHE": str(tmp_path / "cache"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # the discard port: nobody listens
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
        "COMFYUI": "0.30.0",
    }
    for name in ("COMFYUI_DIR", "COMFYUI_PYTHON", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        environ.pop(name, None)
    result = subprocess.run([sys.executable, str(BOOTSTRAP)], env=environ, capture_output=True, text=True)
    assert result.returncode == 2
    assert "cannot be reached" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_every_known_version_is_pinned():
    assert all(len(sha256) == 64 for _, sha256 in bootstrap.RELEASES.values())
    assert bootstrap.NEWEST in bootstrap.RELEASES


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for the installer")
def test_processes_that_want_a_browser_at_once_install_one_and_wait_until_it_is_whole(tmp_path, cache):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "chmod", "sleep", "echo"):
        (folder / name).symlink_to(shutil.which(name))
    apt = folder / "apt-get"
    # Unpacks, and is at work on it for a while; as dpkg does, it refuses another one beside it.
    apt.write_text(
        '#!/bin/sh\nset -eC\ncase "$*" in *install*) ;; *) exit 0;; esac\necho > "$0.log"\n'
        'echo half > "${0%/*}/chromium"\nchmod +x "${0%/*}/chromium"\nsleep 1\necho whole >| "${0%/*}/chromium"\n'
    )
    apt.chmod(0o755)
    code = (
        f"import os, sys; sys.path.insert(0, {str(BOOTSTRAP.parent)!r}); os.geteuid = lambda: 0\n"
        "import find_browser; print(open(find_browser.ensure_browser()).read())"
    )
    environment = {**os.environ, "PATH": str(folder)}
    environment.pop("CHROMIUM", None)
    asking = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in asking] == ["whole"] * 3
