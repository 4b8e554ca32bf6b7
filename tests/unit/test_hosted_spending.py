"""The operator's ceiling per day: kept by all processes of a user directory together, whatever becomes of the jobs."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pack.hosted import settings
from pack.hosted.ledger import Ledger, Row
from pack.hosted.providers import BY_NAME
from pack.hosted.request import Request
from pack.tests.toy.faults import job_says, polled, raw, says
from pack.tests.toy.hosted import ATLASCLOUD, BRIEF, WAVESPEED, client, outcome, picture, request, rows_of

ROOT = Path(__file__).parents[2]
DAILY = "WAN22_TURBO_HOSTED_MAX_USD_PER_DAY"
RUN = "WAN22_TURBO_HOSTED_MAX_USD"
PRICED = "AtlasCloud: wan-2.2/image-to-video-lora"  # its price is in the table: $0.20


def test_runs_of_a_day_keep_the_ceiling_together(wavespeed, running, tmp_path):
    outcomes = [
        outcome(client(tmp_path, running, **{DAILY: "0.50"}), request("wavespeed", seed=seed), run_id=str(seed))
        for seed in range(5)
    ]
    assert [each.name for each in outcomes] == ["clip"] * 3 + ["PolicyError"] * 2
    assert "may cost $0.50 a day here, $0.45 of it is spent today, and this clip costs $0.15" in outcomes[4].text
    assert "run again after 00:00 UTC, in " in outcomes[4].text
    assert f"sets the limit in {DAILY}." in outcomes[4].text
    assert wavespeed.posts == 3
    again = outcome(client(tmp_path, running, **{DAILY: "0.50"}), request("wavespeed", seed=0))
    assert again.clip.resumed  # what is paid is fetched whatever the ceiling


CHILD = """
import sys
sys.path.append(sys.argv[1] + "/tools")
import asyncio
from pathlib import Path
from pack.hosted.errors import PolicyError
from pack.hosted.polling import Status
from pack.tests.toy.hosted import client, request
class Elsewhere:
    def environment(self): return dict(pair.split("=", 1) for pair in sys.argv[4:])
maker = client(Path(sys.argv[2]), Elsewhere())
async def run():
    seeds = range(int(sys.argv[3]), 20, 3)
    runs = (maker.run(request("wavespeed", seed=seed), Status(), str(seed)) for seed in seeds)
    return await asyncio.gather(*runs, return_exceptions=True)
print("ready", flush=True)
sys.stdin.readline()
found = asyncio.run(run())
assert all(isinstance(each, PolicyError) or hasattr(each, "path") for each in found), found
print(sum(hasattr(each, "path") for each in found))
"""


@pytest.mark.slow
def test_twenty_prompts_in_three_processes_at_once_keep_it(wavespeed, running, tmp_path):
    variables = [f"{name}={value}" for name, value in running.environment().items()]
    more = [f"{DAILY}=0.50", "WAN22_TURBO_WAVESPEED_JOBS=20"]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(ROOT), str(tmp_path), str(number), *variables, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    clips = [int(child.communicate(timeout=120)[0]) for child in children]
    assert sum(clips) == len(wavespeed.charged) == wavespeed.posts == 3  # $0.45, and a fourth would be $0.60
    assert len(rows_of(Ledger(tmp_path / "jobs"))) == 3
    assert not list((tmp_path / "jobs").glob("*.lock"))


def test_a_job_that_was_refused_does_not_count(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, **{DAILY: "0.20"})
    wavespeed.break_next("submit", says(422, "no")(wavespeed))
    assert outcome(maker, request("wavespeed", seed=1)).name == "RefusedError"
    assert outcome(maker, request("wavespeed", seed=1)).name == "clip"


def test_a_job_of_which_nobody_knows_counts(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, BRIEF, **{DAILY: "0.20"})
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    wavespeed.break_next("history", says(500)(wavespeed), forever=True)
    assert outcome(maker, request("wavespeed", seed=1)).name == "UnclearError"
    assert outcome(maker, request("wavespeed", seed=2)).name == "PolicyError"


@pytest.mark.parametrize(("offer", "seeds"), [("WaveSpeed: wan-2.2/image-to-video", 3), (PRICED, 2)])
def test_a_failed_job_counts_where_it_may_be_charged(offer, seeds, running, tmp_path):
    """At AtlasCloud each try may have cost something, also when the next one has taken its place."""
    provider = running.named("wavespeed" if offer.startswith("Wave") else "atlascloud")
    provider.break_next("poll", job_says(status="failed", error="out of memory")(provider), forever=True)
    maker = client(tmp_path, running, **{DAILY: "0.45"})
    tries = [outcome(maker, request(provider.name, offer=offer, seed=1), run_id=str(n)).name for n in range(4)]
    assert tries == (["JobFailedError"] * 4 if seeds == 3 else ["JobFailedError"] * 2 + ["PolicyError"] * 2)
    assert provider.posts == (4 if seeds == 3 else 2)


@pytest.mark.parametrize(("limit", "runs"), [(DAILY, "abc"), (RUN, "aaa")])
@pytest.mark.parametrize("says", [{"status": "failed"}, {}])
def test_what_the_provider_charged_counts_in_place_of_the_price_before(says, limit, runs, running, tmp_path):
    """$0.40 where $0.20 was planned, of a job that failed as of one that did not."""
    provider = running.named("atlascloud")
    verdict = job_says(**says, price=0.4) if says else polled(price=0.4)
    provider.break_next("poll", verdict(provider), forever=True)
    maker = client(tmp_path, running, **{limit: "0.65"})
    asked = [request("atlascloud", offer=PRICED, seed=seed) for seed in range(3)]
    outcomes = [outcome(maker, each, run_id=f"{tmp_path} {run}") for each, run in zip(asked, runs, strict=True)]
    assert [each.name for each in outcomes] == ["JobFailedError" if says else "clip"] * 2 + ["PolicyError"]
    assert "$0.80" in outcomes[2].text
    assert provider.posts == 2
    assert [row.charged for row in rows_of(maker.ledger)] == [0.4, 0.4]


@pytest.mark.parametrize("says", [{}, {"status": "failed"}])
@pytest.mark.parametrize(("limit", "runs"), [(DAILY, "abc"), (RUN, "aaa")])
def test_a_charge_of_nothing_is_none_yet(says, limit, runs, running, tmp_path):
    """AtlasCloud names the charge a little later, and may charge a job that failed."""
    provider = running.named("atlascloud")
    provider.break_next("poll", (job_says(**says, price=0) if says else polled(price=0))(provider), forever=True)
    maker = client(tmp_path, running, **{limit: "0.45"})
    asked = [request("atlascloud", offer=PRICED, seed=seed) for seed in range(3)]
    outcomes = [outcome(maker, each, run_id=f"{tmp_path} {run}") for each, run in zip(asked, runs, strict=True)]
    assert [each.name for each in outcomes] == ["JobFailedError" if says else "clip"] * 2 + ["PolicyError"]
    assert says or all("Price: about $0.20" in each.text and each.clip.usd == 0.2 for each in outcomes[:2])


def test_a_charge_of_nothing_takes_nothing_back_that_was_charged(running, tmp_path):
    provider, maker = running.named("atlascloud"), client(tmp_path, running)
    provider.break_next("poll", polled(price=0.4)(provider), forever=True)
    first = outcome(maker, request("atlascloud", offer=PRICED))
    first.clip.path.unlink()
    provider.break_next("poll", polled(price=0)(provider))
    again = outcome(maker, request("atlascloud", offer=PRICED))
    assert (again.clip.resumed, again.clip.usd, rows_of(maker.ledger)[0].charged) == (True, 0.4, 0.4)


def test_a_charge_that_is_named_while_the_clip_is_fetched_is_that_of_the_clip(running, tmp_path):
    provider, maker = running.named("atlascloud"), client(tmp_path, running)
    provider.seconds = 0.0
    provider.break_next("poll", polled(price=0)(provider), polled(price=0.4)(provider))
    provider.break_next("download", raw(403, "expired")(provider))
    got = outcome(maker, request("atlascloud", offer=PRICED))
    assert (got.clip.usd, rows_of(maker.ledger)[0].charged) == (0.4, 0.4)
    assert "Price: $0.40 charged" in got.text


def test_a_failed_job_that_costs_nothing_leaves_the_run_its_ceiling(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, **{RUN: "0.20"})
    wavespeed.break_next("poll", job_says(status="failed")(wavespeed))
    names = [outcome(maker, request("wavespeed", seed=seed), run_id=str(tmp_path)).name for seed in range(3)]
    assert names == ["JobFailedError", "clip", "PolicyError"]


def test_a_deleted_job_in_whose_place_another_is_ordered_still_counts(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, **{DAILY: "0.20"})
    outcome(maker, request("wavespeed", seed=1)).clip.path.unlink()
    wavespeed.jobs.clear()
    maker.ledger.change(rows_of(maker.ledger)[0], state="missing")
    assert outcome(maker, request("wavespeed", seed=1)).name == "PolicyError"
    assert [entry.row.state for entry in maker.ledger.entries() if entry.retired] == ["missing"]
    assert outcome(client(tmp_path, running), request("wavespeed", seed=1)).name == "clip"


@pytest.mark.parametrize("name", ["atlascloud", "api302"])
def test_with_a_ceiling_a_price_that_nobody_names_is_too_high(name, running, tmp_path):
    got = outcome(client(tmp_path, running, **{DAILY: "100"}), request(name))
    assert (got.name, "nobody names the price of this model" in got.text) == ("PolicyError", True)
    assert running.named(name).posts == 0


@pytest.mark.parametrize(
    ("limit", "name"), [("0", "PolicyError"), ("0.15", "clip"), ("0.1499", "PolicyError"), ("", "clip")]
)
def test_a_limit_is_met_to_the_cent(limit, name, wavespeed, running, tmp_path):
    assert outcome(client(tmp_path, running, **{DAILY: limit}), request("wavespeed")).name == name


@pytest.mark.parametrize("text", ["cheap", "-1", "nan", "inf", "1e400", "0,50", "$5"])
def test_a_limit_that_is_no_number_lets_nothing_start(text, wavespeed, running, tmp_path):
    got = outcome(client(tmp_path, running, **{DAILY: text}), request("wavespeed"))
    assert (got.name, f"{DAILY} must be a number of 0 or more, got '{text}'" in got.text) == ("PolicyError", True)
    assert wavespeed.posts == 0


def test_both_ceilings_hold(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, **{DAILY: "0.45", RUN: "0.30"})
    runs = ["a", "a", "a", "b", "b"]
    outcomes = [outcome(maker, request("wavespeed", seed=s), run_id=f"{tmp_path} {r}") for s, r in enumerate(runs)]
    assert [each.name for each in outcomes] == ["clip", "clip", "PolicyError", "clip", "PolicyError"]
    assert "A run may cost" in outcomes[2].text
    assert "a day here" in outcomes[4].text


DAY = 86_400
NOON = 20_000 * DAY + DAY / 2


def made(seconds, state="done", **changes):
    return replace(Row("a" * 64, "wavespeed", "m", state, NOON + seconds, {}, "j", 0.15), **changes)


@pytest.mark.parametrize(
    ("row", "usd"),
    [
        (made(0), 0.15), (made(0, charged=0.2), 0.2), (made(0, "claimed"), 0.15),
        (made(0, "sent"), 0.15), (made(0, "missing"), 0.15), (made(0, "failed"), 0.0),
        (made(0, "failed", provider="atlascloud"), 0.15), (made(0, "failed", provider="api302"), 0.15),
        (made(0, usd=None), None), (made(0, usd=None, charged=0.1), 0.1),
    ],
)  # fmt: skip
def test_what_a_job_counts(row, usd):
    assert settings.counts(row) == usd


def test_a_day_is_one_of_utc_and_the_future_counts_as_today():
    assert (
        settings.day_of(NOON) == 20_000 * DAY == settings.day_of(20_000 * DAY) == settings.day_of(20_001 * DAY - 0.001)
    )
    rows = [made(-DAY / 2 - 0.001), made(-DAY / 2), made(0), made(400 * DAY), made(0, usd=None)]
    assert settings.spent_since(rows, settings.day_of(NOON)) == pytest.approx(0.45)


def test_a_clock_that_was_turned_back_gives_no_second_allowance(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, **{DAILY: "0.20"})
    outcome(maker, request("wavespeed", seed=1))
    maker.ledger.change(rows_of(maker.ledger)[0], posted=time.time() + 400 * DAY)
    assert outcome(maker, request("wavespeed", seed=2)).name == "PolicyError"


def test_a_row_counts_by_what_it_holds_and_not_by_the_time_of_its_file(wavespeed, running, tmp_path):
    """A file server writes that time, and its clock may be behind."""
    maker = client(tmp_path, running, **{DAILY: "0.20"})
    outcome(maker, request("wavespeed", seed=1))
    (path,) = (tmp_path / "jobs").glob("*.json")
    os.utime(path, (settings.day_of(time.time()) - 600,) * 2)
    assert outcome(maker, request("wavespeed", seed=2)).name == "PolicyError"


def test_providers_that_charge_no_failed_jobs_are_those_that_say_so():
    assert [name for name, provider in BY_NAME.items() if not provider.charges_failed_jobs] == [WAVESPEED.name]
    assert ATLASCLOUD.charges_failed_jobs
    assert Request(PRICED, "x", picture()).model.estimate("480p", 5) == 0.2
