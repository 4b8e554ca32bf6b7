"""The table of hosted jobs that a command prints: what each cost, what can be picked up, and nothing that is secret."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pack.hosted import credentials, jobs
from pack.hosted.ledger import Ledger, Row
from pack.hosted.request import Lora
from pack.tests.toy.hosted import client, outcome, request, rows_of
from pack.tests.toy.loopback import KEY, SIGNATURE

ROOT = Path(__file__).parents[2]
DAILY = "WAN22_TURBO_HOSTED_MAX_USD_PER_DAY"
DAY = 86_400
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


@pytest.mark.parametrize("module", [jobs, credentials])
def test_a_user_directory_that_is_none_is_not_taken_for_an_empty_one(module, tmp_path, capsys):
    """Else all jobs would seem to be gone, and a key would lie where no ComfyUI looks for it."""
    wrong = ["--user-directory", str(tmp_path / "usr")]
    with pytest.raises(SystemExit) as ended:
        module.main(wrong if module is jobs else ["remove", "wavespeed", *wrong])
    assert ended.value.code == 2
    assert "there is no folder usr. Name the one that ComfyUI calls user" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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
