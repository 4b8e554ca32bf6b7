"""Keys: where they come from, who can read them, and that nobody sees them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pack.hosted import credentials
from pack.hosted.errors import AuthError
from pack.tests.toy.hosted import API302, ATLASCLOUD, WAVESPEED

ROOT = Path(__file__).parents[2]
KEY = "canary-0123456789"


def test_the_environment_comes_before_the_file(tmp_path):
    credentials.store_key(WAVESPEED, "from-file", tmp_path)
    assert credentials.find_key(WAVESPEED, tmp_path, {}) == "from-file"
    assert credentials.find_key(WAVESPEED, tmp_path, {"WAVESPEED_API_KEY": f" {KEY}\n"}) == KEY


@pytest.mark.parametrize("provider", [WAVESPEED, ATLASCLOUD, API302])
def test_without_a_key_the_variable_and_the_command_are_named(provider, tmp_path):
    with pytest.raises(AuthError) as refused:
        credentials.find_key(provider, tmp_path, {})
    assert provider.key_variable in str(refused.value)
    assert f"python -m hosted.credentials set {provider.name}" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_keys_of_providers_do_not_disturb_each_other(tmp_path):
    credentials.store_key(WAVESPEED, "one", tmp_path)
    credentials.store_key(ATLASCLOUD, "two", tmp_path)
    credentials.store_key(WAVESPEED, "", tmp_path)
    assert not credentials.has_key(WAVESPEED, tmp_path, {})
    assert credentials.find_key(ATLASCLOUD, tmp_path, {}) == "two"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_the_file_is_its_owners_alone(tmp_path):
    folder = tmp_path / "user"
    credentials.store_key(WAVESPEED, KEY, folder)
    assert (folder / credentials.FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [credentials.FILE]
    (folder / credentials.FILE).chmod(0o644)
    with pytest.raises(AuthError, match=r"readable by its owner alone, got mode 0644\. Run: chmod 600"):
        credentials.find_key(WAVESPEED, folder, {})


@pytest.mark.parametrize("text", ["[]", "{", "\x00", '{"WAVESPEED_API_KEY": 5}'])
def test_a_damaged_file_is_no_key(text, tmp_path):
    (tmp_path / credentials.FILE).write_text(text)
    (tmp_path / credentials.FILE).chmod(0o600)
    with pytest.raises(AuthError):
        credentials.find_key(WAVESPEED, tmp_path, {})


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(key, tmp_path):
    with pytest.raises(AuthError) as refused:
        credentials.find_key(WAVESPEED, tmp_path, {"WAVESPEED_API_KEY": key})
    assert key not in str(refused.value)


def run(*arguments, typed=""):
    # Without a terminal, getpass reads the standard input and warns of it.
    clean = {
        name: value for name, value in os.environ.items() if name not in ("WAVESPEED_API_KEY", "ATLASCLOUD_API_KEY")
    }
    command = [sys.executable, "-W", "ignore", "-m", "hosted.credentials", *arguments]
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, cwd=ROOT, env=clean, start_new_session=True, check=False
    )


def test_the_command_reads_a_key_and_only_says_that_it_is_there(tmp_path):
    folder = ["--user-directory", str(tmp_path)]
    answer = run("set", "wavespeed", *folder, typed=f"{KEY}\n")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "WaveSpeed (WAVESPEED_API_KEY): present\n"
    assert KEY not in answer.stdout + answer.stderr
    shown = run("show", *folder).stdout
    assert "WaveSpeed (WAVESPEED_API_KEY): present\nAtlasCloud (ATLASCLOUD_API_KEY): absent" in shown
    assert KEY not in shown
    assert credentials.find_key(WAVESPEED, tmp_path / credentials.FOLDER, {}) == KEY
    assert run("remove", "wavespeed", *folder).stdout == "WaveSpeed (WAVESPEED_API_KEY): absent\n"


def test_the_command_refuses_what_is_no_key(tmp_path):
    answer = run("set", "wavespeed", "--user-directory", str(tmp_path), typed="two words\n")
    assert answer.returncode == 1
    assert "must be one word" in answer.stderr
    assert "two words" not in answer.stderr
    empty = run("set", "wavespeed", "--user-directory", str(tmp_path), typed="\n")
    assert empty.returncode == 1
    assert "No key was typed" in empty.stderr


def test_a_key_is_set_before_comfyui_has_started_for_the_first_time(tmp_path):
    """As in an image of a container: only the user directory itself is still to be made."""
    folder = tmp_path / "user"
    answer = run("set", "wavespeed", "--user-directory", str(folder), typed=f"{KEY}\n")
    assert (answer.returncode, answer.stdout) == (0, "WaveSpeed (WAVESPEED_API_KEY): present\n"), answer.stderr
    assert credentials.find_key(WAVESPEED, folder / credentials.FOLDER, {}) == KEY


def test_a_key_is_not_set_where_nothing_is_or_a_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    for wrong, name in ((tmp_path / "Comfy" / "user", "Comfy"), (tmp_path / "file", "file")):
        with pytest.raises(SystemExit) as ended:
            credentials.main(["set", "wavespeed", "--user-directory", str(wrong)])
        assert ended.value.code == 2
        assert f"there is no folder {name}. Name the one that ComfyUI calls user" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
