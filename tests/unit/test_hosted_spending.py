"""The operator's ceiling per day: kept by all processes of a user directory together, whatever becomes of the jobs."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pack.hosted import jobs, settings
from pack.hosted.ledger import Ledger, Row
from pack.hosted.providers import BY_NAME
from pack.hosted.request import Lora, Request
from pack.tests.toy.faults import job_says, polled, raw, says
from pack.tests.toy.hosted import ATLASCLOUD, QUICK, WAVESPEED, client, outcome, picture, request, rows_of
from pack.tests.toy.loopback import KEY, SIGNATURE

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
    maker = client(tmp_path, running, replace(QUICK, connect=0.2, submit=0.5, settle=0.05), **{DAILY: "0.20"})
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
        (made(0), 0.15), (made(0, charged=0.2), 0.2), (made(0, charged=0.0), 0.0), (made(0, "claimed"), 0.15),
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


# The table of jobs


MODULE = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.modules["aiohttp"] = sys.modules["torch"] = None  # it needs neither
del sys.argv[1]
runpy.run_module("hosted.jobs", run_name="__main__", alter_sys=True)
"""


def run(folder, *arguments, **variables):
    command = [sys.executable, "-I", "-c", MODULE, str(ROOT), "--user-directory", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=60)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "__wan22_turbo" / "jobs")


def fill(ledger):
    now = time.time()
    states = ("claimed", "sent", "done", "failed", "missing")
    for number, state in enumerate(states):
        ledger.claim(Row(f"{number}" * 64, "wavespeed", "wan", state, now - number, {}, f"j{number}", 0.15, asked=True))
    ledger.claim(Row("5" * 64, "wavespeed", "wan", "done", now - 9 * DAY, {}, "j5", 0.2, charged=0.25))
    ledger.claim(Row("6" * 64, "api302", "wan", "sent", now - 9 * DAY, {}, "j6"))
    ledger.claim(Row("7" * 64, "atlascloud", "wan", "failed", now - 9 * DAY, {}, "j7", 0.1))
    ledger.retire(rows_of(ledger)[7])
    ledger.claim(Row("9" * 64, "atlascloud", "wan", "done", now, {}, "j9", 0.1))
    ledger.claim(Row("8" * 64, "one of later", "wan\u4e2d", "done", now, {}, "j8", 0.1))


def test_the_table_tells_states_prices_sums_and_what_can_be_picked_up(ledger, tmp_path):
    fill(ledger)
    (ledger.folder / "x\x1b[2J.json").write_text("{")
    answer = run(tmp_path, **{DAILY: "5"})
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert lines[0].split("  ")[0] == "ordered (UTC)"
    told = {found[0]: line for line in lines if (found := re.findall(r"\bj\d\b", line))}
    ends = {
        3: "no: it failed",
        4: "if the provider has it",
        5: "if the provider has it",
        7: "no: it failed",
    }
    assert all(told[f"j{number}"].endswith(end) for number, end in ends.items())
    assert told["j9"].endswith("if the provider has it")  # AtlasCloud does not say how long it keeps a job
    assert told["j0"].endswith("if the provider lists it")
    assert all("yes, until " in told[name] for name in ("j1", "j2"))
    prices = {1: "$0.15 as asked", 3: "$0.00, failed", 5: "$0.25 charged", 6: "unknown", 7: "$0.10 estimated"}
    assert all(price in told[f"j{number}"] for number, price in prices.items())
    assert "302.AI" in told["j6"]
    assert "wan\\u4e2d" in told["j8"]
    assert any(line.endswith(": 3 jobs, $0.35, and 1 of unknown price") for line in lines)
    assert "the limit is $5.00." in answer.stdout
    assert "x [2J.json" in lines[-1]
    assert answer.stdout.isascii()
    assert all(letter.isprintable() or letter == "\n" for letter in answer.stdout)


def test_programs_get_the_same_as_json(ledger, tmp_path):
    fill(ledger)
    told = json.loads(run(tmp_path, "--json").stdout)
    assert len(told["jobs"]) == 10
    assert told["limit_per_day_usd"] is None
    assert sum(day["jobs"] for day in told["days"].values()) == 10
    assert sum(day["usd"] for day in told["days"].values()) == pytest.approx(0.6 + 0.1 + 0.1 + 0.35)
    assert {job["state"] for job in told["jobs"]} == {"claimed", "sent", "done", "failed", "missing"}


def test_without_a_job_it_says_so(tmp_path):
    answer = run(tmp_path)
    assert answer.returncode == 0
    assert "There are no jobs." in answer.stdout
    assert list(tmp_path.iterdir()) == []  # it only looks


def test_a_limit_that_is_no_number_is_told(tmp_path):
    answer = run(tmp_path, **{DAILY: "\x1b[2J"})
    assert answer.returncode == 1
    assert DAILY in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "\x1b" not in answer.stderr


def test_the_table_of_real_jobs_shows_nothing_secret(wavespeed, running, tmp_path):
    lora = "https://civitai.com/api/download/models/7?token=civitai-secret-1"
    asked = request("wavespeed", offer="WaveSpeed: wan-2.2/image-to-video-lora", loras=(Lora(lora, 0.8, "high"),))
    assert outcome(client(tmp_path / "__wan22_turbo", running), asked).name == "clip"
    for arguments in ((), ("--json",)):
        text = run(tmp_path, *arguments).stdout
        assert next(iter(wavespeed.jobs)) in text
        assert not [secret for secret in (KEY, SIGNATURE, "civitai", "://", "subject") if secret in text]


OLD = {  # as version 0.1.0 wrote it
    "digest": "a" * 64, "provider": "wavespeed", "model": "wavespeed-ai/wan-2.2/image-to-video", "state": "done",
    "posted": 1796000000.25, "marks": {"seed": "b" * 64}, "job_id": "0f3e", "usd": 0.15, "asked": True,
    "flagged": False, "charged": None,
}  # fmt: skip


def test_a_row_of_the_first_version_is_read(ledger):
    ledger.folder.mkdir(parents=True)
    (ledger.folder / f"{'a' * 64}.json").write_text(json.dumps(OLD))
    assert vars(ledger.find("a" * 64)) == OLD
    assert jobs.listed(ledger, {})["jobs"][0]["counts_usd"] == 0.15


def test_providers_that_charge_no_failed_jobs_are_those_that_say_so():
    assert [name for name, provider in BY_NAME.items() if not provider.charges_failed_jobs] == [WAVESPEED.name]
    assert ATLASCLOUD.charges_failed_jobs
    assert Request(PRICED, "x", picture()).model.estimate("480p", 5) == 0.2
