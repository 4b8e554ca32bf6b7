"""The rows of the ledger: whole or not there, and without anything private."""

import json
import threading
import time

import pytest
from pack.hosted.errors import HostedError
from pack.hosted.ledger import KEPT_DAYS, Ledger, Row

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
    assert ledger.rows() == []


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


def test_rows_that_no_provider_can_know_any_more_go(tmp_path):
    import os

    ledger = Ledger(tmp_path)
    ledger.claim(row())
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    os.utime(tmp_path / f"{DIGEST}.json", (long_ago, long_ago))
    ledger.claim(row(digest="b" * 64))
    assert [each.digest[0] for each in ledger.rows()] == ["b"]
