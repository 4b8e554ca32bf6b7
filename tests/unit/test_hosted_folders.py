"""The user folder and its files are their owner's alone, whatever the umask, and keys come from no other's file."""

import asyncio
import json
import os
import stat
import time

import pytest
from pack.hosted import credentials
from pack.hosted.errors import AuthError, HostedError
from pack.hosted.ledger import Ledger, Row
from pack.tests.toy.hosted import WAVESPEED

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")

KEY = "canary-0123456789"
FOLDER = credentials.FOLDER


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request, tmp_path):  # tmp_path comes first, or nobody could enter it
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder):
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


def note(folder, **changes):
    row = Row("a" * 64, "wavespeed", "m", "claimed", time.time())
    ledger = Ledger(folder / "jobs")
    assert ledger.claim(row)
    ledger.change(row, state="sent", job_id="j1", **changes)


def test_what_is_made_is_its_owners_alone(umask, tmp_path):
    async def hold():
        async with Ledger(tmp_path / FOLDER / "jobs").alone("b" * 64, lambda: None):
            held.update(modes(tmp_path))

    held = {}
    note(tmp_path / FOLDER)
    credentials.store_key(WAVESPEED, KEY, tmp_path / FOLDER)
    asyncio.run(hold())
    files = {f"{FOLDER}/keys.json", f"{FOLDER}/jobs/{'a' * 64}.json", f"{FOLDER}/jobs/{'b' * 64}.lock"}
    assert held == {FOLDER: 0o700, f"{FOLDER}/jobs": 0o700, **dict.fromkeys(files, 0o600)}
    assert credentials.find_key(WAVESPEED, tmp_path / FOLDER, {}) == KEY


def test_a_lock_is_the_first_thing_and_its_folder_closed_as_well(umask, tmp_path):
    async def hold():
        async with Ledger(tmp_path / FOLDER / "jobs").alone("b" * 64, lambda: None):
            return modes(tmp_path)

    assert asyncio.run(hold()) == {FOLDER: 0o700, f"{FOLDER}/jobs": 0o700, f"{FOLDER}/jobs/{'b' * 64}.lock": 0o600}


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o701])
def test_a_folder_that_was_left_open_is_closed(mode, tmp_path):
    (tmp_path / FOLDER / "jobs").mkdir(parents=True)
    for folder in (tmp_path / FOLDER, tmp_path / FOLDER / "jobs"):
        folder.chmod(mode)
    note(tmp_path / FOLDER)
    found = modes(tmp_path)
    assert {found[FOLDER], found[f"{FOLDER}/jobs"]} == {0o700}


def test_comfyuis_own_folder_is_left_as_it_is(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user").chmod(0o755)
    note(tmp_path / "user" / FOLDER)
    credentials.store_key(WAVESPEED, KEY, tmp_path / "user" / FOLDER)
    assert stat.S_IMODE((tmp_path / "user").stat().st_mode) == 0o755


def test_a_folder_that_cannot_be_closed_is_refused(tmp_path, monkeypatch):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER).chmod(0o777)

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted", str(tmp_path))

    monkeypatch.setattr(os, "chmod", refused)
    for work in (lambda: note(tmp_path / FOLDER), lambda: credentials.store_key(WAVESPEED, KEY, tmp_path / FOLDER)):
        with pytest.raises(HostedError, match=r"must be open to its owner alone, got mode 0777\. .* chmod 700") as told:
            work()
        assert str(tmp_path) not in str(told.value)
    assert list((tmp_path / FOLDER).iterdir()) == []


def key_file(folder, content=None):
    folder.mkdir(mode=0o700)
    path = folder / credentials.FILE
    path.write_text(json.dumps({"WAVESPEED_API_KEY": KEY}) if content is None else content)
    path.chmod(0o600)
    return path


def refused(folder, match):
    for work in (
        lambda: credentials.find_key(WAVESPEED, folder, {}),
        lambda: credentials.has_key(WAVESPEED, folder, {}),
        lambda: credentials.store_key(WAVESPEED, "another", folder),
    ):
        with pytest.raises(AuthError, match=match) as told:
            work()
        assert KEY not in str(told.value)
        assert str(folder) not in str(told.value)
        assert str(told.value).endswith(".")


def test_a_link_is_no_file_of_keys(tmp_path):
    path = key_file(tmp_path / FOLDER)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    refused(path.parent, "must be a file of its own, got a link")
    (tmp_path / "elsewhere.json").unlink()
    refused(path.parent, "must be a file of its own, got a link")


def test_a_file_of_another_owner_is_none(tmp_path, monkeypatch):
    path = key_file(tmp_path / FOLDER)
    mine = os.geteuid()
    if mine == 0:  # as in a container
        os.chown(path, 65534, 65534)
        path.parent.chmod(0o700)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    refused(path.parent, "must belong to the user who runs ComfyUI, and belongs to another one")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o660, 0o610])
def test_a_file_that_others_can_use_is_none(mode, tmp_path):
    path = key_file(tmp_path / FOLDER)
    path.chmod(mode)
    refused(path.parent, rf"readable by its owner alone, got mode {mode:04o}\. Run: chmod 600")


@pytest.mark.parametrize("kind", ["fifo", "folder", "large", "deep"])
def test_what_is_no_small_file_of_json_is_none(kind, tmp_path):
    path = key_file(tmp_path / FOLDER, {"large": " " * 10**6, "deep": "[" * 50_000}.get(kind, ""))
    if kind in ("fifo", "folder"):
        path.unlink()
        os.mkfifo(path, 0o600) if kind == "fifo" else path.mkdir(0o700)
    refused(path.parent, r"cannot be read\. Set the keys again")


def test_keys_that_an_earlier_version_wrote_are_read(tmp_path):
    path = key_file(tmp_path / FOLDER)
    assert credentials.find_key(WAVESPEED, path.parent, {}) == KEY
