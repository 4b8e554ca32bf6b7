"""The pack as `git clone` installs it for a test: of any owner's checkout, with what is not committed yet."""

import shutil
import subprocess

import comfy_server
import pytest

NAME = "a file 小.py"

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments):
    author = ["-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True)


def files(folder):
    found = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(folder).as_posix()): path.read_text(encoding="utf-8") for path in found}


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout 小"
    (folder / "web").mkdir(parents=True)
    for name in (NAME, "web/same.js", "web/gone.js", "staged.py"):
        (folder / name).write_text("one", encoding="utf-8")
    (folder / ".gitignore").write_text("output\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "One")
    return folder


@needs_git
def test_a_checkout_of_another_owner_is_cloned(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    comfy_server.clone(tmp_path / "installed", checkout)
    assert (tmp_path / "installed" / ".git").is_dir()
    assert files(tmp_path / "installed") == files(checkout)


@needs_git
def test_what_is_not_committed_is_in_the_clone(checkout, tmp_path):
    (checkout / NAME).write_text("two", encoding="utf-8")
    (checkout / "web" / "gone.js").unlink()
    (checkout / "staged.py").write_text("two", encoding="utf-8")
    git(checkout, "add", "staged.py")
    for name in ("new/deep 小/added.py", "output/ignored.mp4"):
        (checkout / name).parent.mkdir(parents=True)
        (checkout / name).write_text("new", encoding="utf-8")
    comfy_server.clone(tmp_path / "installed", checkout)
    wanted = {name: text for name, text in files(checkout).items() if name != "output/ignored.mp4"}
    assert files(tmp_path / "installed") == wanted
    assert wanted[NAME] == wanted["staged.py"] == "two"


def test_without_git_it_says_so(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"needs git, and there is none on the PATH\. Install git\."):
        comfy_server.clone(tmp_path / "installed", archive)


@needs_git
def test_of_an_unpacked_archive_it_says_what_is_needed(archive, tmp_path):
    with pytest.raises(RuntimeError, match=r"needs a checkout made by git clone, and .*archive is none\. Clone"):
        comfy_server.clone(tmp_path / "installed", archive)
    assert not (tmp_path / "installed").exists()


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"
