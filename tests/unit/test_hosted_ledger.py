"""The rows of the ledger: whole or not there, and without anything private."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pack.common import files
from pack.hosted.errors import HostedError
from pack.hosted.ledger import KEPT_DAYS, STATES, Ledger, Row
from pack.tests.toy import refusing_kernel
from pack.tests.toy.hosted import rows_of

DIGEST = "a" * 64


def row(**changes):
    return Row(
        **{
            "digest": DIGEST,
            "provider": "wavespeed",
            "model": "m",
            "state": "claimed",
            "posted": time.time(),
            **changes,
        }
    )


def test_a_row_is_found_again_by_another_process(tmp_path):
    ledger = Ledger(tmp_path / "jobs")
    assert ledger.find(DIGEST) is None
    assert ledger.claim(row(marks={"seed": "d"}, usd=0.15))
    sent = ledger.change(row(), state="sent", job_id="j1")
    assert Ledger(tmp_path / "jobs").find(DIGEST) == sent
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [f"{DIGEST}.json"]
    ledger.remove(sent)
    assert rows_of(ledger) == []


def test_only_one_of_many_claims_a_request(tmp_path):
    won, barrier = [], threading.Barrier(16)

    def claim():
        barrier.wait()
        won.append(Ledger(tmp_path).claim(row()))

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", json.dumps({"digest": "x"}), json.dumps({**vars(row()), "state": "?"}),
             json.dumps({**vars(row()), "more": 1}), json.dumps({**vars(row()), "digest": "../../x"})]
)  # fmt: skip
def test_a_damaged_row_stops_the_run_instead_of_costing_money(text, tmp_path):
    (tmp_path / f"{DIGEST}.json").write_text(text)
    with pytest.raises(HostedError) as refused:
        Ledger(tmp_path).find(DIGEST)
    assert f"remove the file {DIGEST}.json" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_old_rows_go_if_they_led_to_nothing(tmp_path):
    ledger = Ledger(tmp_path)
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    for letter, state in zip("abcde", STATES, strict=True):
        ledger.claim(row(digest=letter * 64, state=state, job_id=None if state == "claimed" else "j1"))
        os.utime(tmp_path / f"{letter * 64}.json", (long_ago, long_ago))
    ledger.claim(row(digest="f" * 64))
    assert [each.state for each in rows_of(ledger)] == ["claimed", "sent", "done", "claimed"]


def test_a_row_that_cannot_be_written_leaves_no_part(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Ledger(tmp_path).claim(row())
    assert list(tmp_path.iterdir()) == []


def test_a_lock_goes_although_windows_removes_no_open_file(tmp_path, monkeypatch):
    unlink, tries = Path.unlink, []

    def refused_once(self, missing_ok=False):
        tries.append(self)
        if len(tries) == 1:
            raise PermissionError(13, "The process cannot access the file")
        unlink(self, missing_ok)

    async def take():
        async with Ledger(tmp_path).alone(DIGEST, lambda: None):
            monkeypatch.setattr(files.sys, "platform", "win32")
            monkeypatch.setattr(Path, "unlink", refused_once)
        monkeypatch.undo()

    asyncio.run(take())
    assert len(tries) == 2
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import asyncio, sys
sys.path.append(sys.argv[1] + "/tools")
from pathlib import Path
from pack.hosted.ledger import Ledger
async def hold():
    async with Ledger(Path(sys.argv[2])).alone("a" * 64, lambda: None):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


def test_two_processes_work_on_a_request_one_after_the_other(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(Path(__file__).parents[2]), str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    waits = []

    def waiting():
        waits.append(1)
        if len(waits) == 3:
            child.kill()  # as in a crash

    async def take():
        async with Ledger(tmp_path).alone("b" * 64, waiting):
            assert waits == []
        async with Ledger(tmp_path).alone(DIGEST, waiting):
            assert len(waits) >= 3

    asyncio.run(asyncio.wait_for(take(), 20))
    child.wait(10)
    child.stdout.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not refusing_kernel.available, reason="needs a kernel that refuses on request")
@pytest.mark.parametrize(("refusal", "ends"), [(errno.EINVAL, None), (errno.ENOTSUP, None), (errno.EIO, OSError)])
def test_a_disk_that_cannot_confirm_what_is_in_a_folder_is_no_error(refusal, ends, tmp_path):
    """A folder that a virtual machine shares answers so, and nobody there could order a clip. A broken disk is one."""
    row = tmp_path / "row.json"
    row.write_bytes(b"{}")
    if ends is None:
        refusing_kernel.run(lambda: files.remove(row), fsync=refusal)
    else:
        with pytest.raises(ends):
            refusing_kernel.run(lambda: files.remove(row), fsync=refusal)
    assert not row.exists()
