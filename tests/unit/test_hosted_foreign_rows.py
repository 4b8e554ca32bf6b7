"""Rows of the ledger that nobody sane would write, clocks and disks that fail: no paid job is lost or paid twice."""

import json
import time

import pytest
from pack.hosted.errors import HostedError
from pack.hosted.ledger import Ledger, Row
from pack.tests.toy.faults import DEEP, raw, says
from pack.tests.toy.hosted import (
    BRIEF,
    check_that_it_is_paid_once,
    client,
    outcome,
    request,
    rows_of,
)

ROW = vars(Row("b" * 64, "wavespeed", "m", "sent", 1.7e9, {"seed": "c" * 64}, "j1", 0.15, True, False, 0.1))
AMOUNTS = [float("nan"), float("inf"), -1, 10**400, True, "0.15", [], 1e308]
MENDED = [
    *(("usd", value, "usd", None) for value in AMOUNTS),
    *(("charged", value, "charged", None) for value in (*AMOUNTS, 0, 0.0)),
    *(("flagged", value, "flagged", None) for value in (1, "true", [], {})),
    *(("asked", value, "asked", False) for value in (1, "true", [], None)),
    *(("job_id", value, "state", "claimed") for value in ("\x1b[2J", "a\nb", "", "..", "x" * 999, [], {}, True, None)),
    *(("marks", value, "marks", {}) for value in ([], "x", {"a": "b"}, {"a": 1}, None,
       dict.fromkeys(map(str, range(99)), "c" * 64))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "seen", "mended"), MENDED)
def test_a_row_is_read_without_what_is_damaged_in_it(name, value, seen, mended, tmp_path):
    (tmp_path / f"{'b' * 64}.json").write_text(json.dumps({**ROW, name: value}))
    (row,) = rows_of(Ledger(tmp_path))
    assert getattr(row, seen) == mended
    assert (row.digest, row.posted) == ("b" * 64, 1.7e9)


@pytest.mark.parametrize("posted", [float("nan"), float("inf"), -1.0, "now", None, True, 10**400, 1e12])
def test_a_row_without_a_time_has_that_of_its_file(posted, tmp_path):
    (tmp_path / f"{'b' * 64}.json").write_text(json.dumps({**ROW, "posted": posted}))
    (row,) = rows_of(Ledger(tmp_path))
    assert abs(row.posted - time.time()) < 600


@pytest.mark.parametrize(
    "text", [DEEP, '{"digest": ' * 900, json.dumps({**ROW, "model": "\x1b[2J"}), json.dumps({**ROW, "provider": 5}),
             json.dumps({**ROW, "state": []}), " " * 10**6 + json.dumps(ROW), "\x00\xff", "NaN", "[1]"]
)  # fmt: skip
def test_a_row_that_cannot_be_read_stops_its_own_request_and_no_other(text, wavespeed, running, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / f"{'b' * 64}.json").write_text(text, encoding="latin-1")
    with pytest.raises(HostedError, match=r"remove the file b+\.json"):
        Ledger(tmp_path / "jobs").find("b" * 64)
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))  # the search reads all rows
    assert (
        outcome(client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD_PER_DAY="1"), request("wavespeed")).name == "clip"
    )


def test_a_row_without_marks_fits_no_job(wavespeed, running, tmp_path):
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    wavespeed.break_next("history", says(500)(wavespeed), forever=True)
    maker = client(tmp_path, running, BRIEF)
    assert outcome(maker, request("wavespeed")).name == "UnclearError"
    wavespeed.heal()
    maker.ledger.change(rows_of(maker.ledger)[0], marks={})
    got = outcome(client(tmp_path, running), request("wavespeed"))
    assert (got.name, "does not tell which one it is" in got.text) == ("UnclearError", True)
    assert wavespeed.posts == 1


def test_a_clock_that_was_turned_back_loses_no_job(wavespeed, running, tmp_path):
    maker = client(tmp_path, running)
    outcome(maker, request("wavespeed")).clip.path.unlink()
    maker.ledger.change(rows_of(maker.ledger)[0], posted=time.time() + 400 * 86_400)
    assert outcome(client(tmp_path, running), request("wavespeed")).clip.resumed
    assert wavespeed.posts == 1


def test_a_disk_that_is_full_at_the_end_loses_no_clip(wavespeed, running, tmp_path, monkeypatch):
    change = Ledger.change

    def full(self, row, **changes):
        if changes.get("state") == "done":
            raise OSError(28, "No space left on device", "/home/someone/jobs")
        return change(self, row, **changes)

    monkeypatch.setattr(Ledger, "change", full)
    got = outcome(client(tmp_path, running), request("wavespeed"))
    assert got.name == "clip", got.text
    monkeypatch.undo()
    check_that_it_is_paid_once(wavespeed, running, tmp_path)


def test_a_disk_that_is_full_at_the_beginning_is_told_in_a_sentence(wavespeed, running, tmp_path, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device", "/home/someone/jobs")

    monkeypatch.setattr(Ledger, "claim", full)
    got = outcome(client(tmp_path, running), request("wavespeed"))
    assert (got.name, "(No space left on device)" in got.text, "someone" in got.text) == ("HostedError", True, False)
    assert wavespeed.posts == 0
