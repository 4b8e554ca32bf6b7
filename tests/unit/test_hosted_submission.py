"""A submission: the id of a job that runs is not lost, and a submission that never began holds nobody up."""

import asyncio
import logging
import threading

import pytest
from pack.hosted import submission
from pack.hosted.ledger import Ledger
from pack.hosted.submission import TRIES
from pack.tests.toy.hosted import client, outcome, request

DIGEST = "a" * 64


def full_disk(monkeypatch, times):
    """Lets the ledger fail to note an id so many times; the tries are counted."""
    change, tries = Ledger.change, []

    def changed(self, row, **changes):
        tries.append(changes)
        if changes.get("state") == "sent" and len(tries) <= times:
            raise OSError(28, "No space left on device", "/home/someone/jobs")
        return change(self, row, **changes)

    monkeypatch.setattr(Ledger, "change", changed)
    monkeypatch.setattr(submission, "PAUSE", 0.01)
    return tries


def test_an_id_is_written_down_when_there_is_room_again(wavespeed, running, tmp_path, monkeypatch):
    full_disk(monkeypatch, 3)
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert wavespeed.posts == 1


def test_an_id_that_cannot_be_written_down_is_told(wavespeed, running, tmp_path, monkeypatch, caplog):
    full_disk(monkeypatch, TRIES)
    with caplog.at_level(logging.ERROR):
        got = outcome(client(tmp_path, running), request("wavespeed"))
    job = next(iter(wavespeed.jobs))
    assert got.name == "UnnotedError"
    assert f"Job {job} at WaveSpeed runs and is charged, and could not be written down (No space left" in got.text
    assert "someone" not in got.text
    assert got.text in caplog.text
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"  # found in the list of jobs
    assert wavespeed.posts == len(wavespeed.jobs) == 1


def test_a_submission_that_gets_no_thread_holds_nobody_up(monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    async def never():
        raise AssertionError

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        asyncio.run(submission.run_detached(DIGEST, never))
    monkeypatch.undo()
    asyncio.run(asyncio.wait_for(submission.await_earlier(DIGEST), 5))
