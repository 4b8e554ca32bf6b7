"""The README's first words, `git clone`, `cd wan22-turbo`, `make test`: in a folder with a hyphen in its name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import check
import comfy_server
import pytest

ROOT = Path(__file__).parents[2]
NAME = "wan22-turbo"

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no git checkout")
needs_make = pytest.mark.skipif(shutil.which("make") is None or os.name == "nt", reason="no make, or no bash")


def linted(folder):
    command = [sys.executable, "-m", "ruff", "check", ".", "--no-cache", "--output-format", "concise"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    """A clone under the repository's own name, with what is not committed yet."""
    comfy_server.clone(tmp_path / NAME, ROOT)
    return tmp_path / NAME


@needs_git
def test_lint_passes_in_a_clone_of_the_repositorys_own_name_and_still_knows_bad_names(checkout):
    assert linted(checkout) == "All checks passed!\n"
    (checkout / "media" / "Bad-Name.py").write_text('"""A module that nobody can import."""\n', encoding="utf-8")
    assert "media/Bad-Name.py:1:1: N999 Invalid module name: 'Bad-Name'" in linted(checkout)


def test_every_module_and_every_folder_of_modules_has_a_name_that_can_be_imported():
    files = [path.relative_to(ROOT) for path in ROOT.rglob("*.py")]
    files = [path for path in files if path.parts[0] != "output"]  # where Ray may lie, see CONTRIBUTING.md
    parts = {part.removesuffix(".py") for path in files for part in path.parts if not part.startswith(".")}
    assert len(parts) > 100
    assert [part for part in parts if not re.fullmatch(r"[a-z_][a-z0-9_]*", part)] == []


@needs_make
@pytest.mark.parametrize("ends", [0, 3])
def test_ci_runs_make_test_in_a_folder_of_that_name_and_leaves_nothing(tmp_path, ends):
    clone = tmp_path / "a clone 小"
    shutil.copytree(ROOT / ".ci", clone / ".ci")
    (clone / "Makefile").write_text(f"test: ; @pwd; ls -A; exit {ends}\n", encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of the make above us
    result = subprocess.run(
        ["bash", str(clone / ".ci" / "run")],
        env={**own, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
    )
    where, *held = result.stdout.split("\n")
    assert Path(where).name == NAME
    assert {".ci", "Makefile"} <= set(held)
    assert (result.returncode == 0) == (ends == 0)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_readme_says_the_same_words():
    words = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\ngit clone \S+/{NAME}\ncd {NAME}\nmake demo\nmake test\n", words)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "more", "processes"),
    [(2, 24, 1, 3), (2, 24, 3, 5), (2, 16, 3, 5), (2, 8, 1, 2), (2, 4, 1, 0), (1, 24, 1, 0), (16, 128, 1, 6)],
)
def test_as_many_processes_share_the_tests_as_keep_the_cores_busy_and_fit_into_the_memory(
    cores, gigabytes, more, processes
):
    assert check.spread(cores, gigabytes * 1e9, more)[:2] == (["-n", str(processes)] if processes else [])
