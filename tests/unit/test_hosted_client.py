"""The client against providers that keep their contracts: what is paid, what is waited for, what is told."""

import asyncio
import threading
import time

import pytest
from comfy_server import free_port
from pack.hosted import download
from pack.hosted.client import RateLimiter
from pack.hosted.errors import NotSentError
from pack.hosted.polling import Status
from pack.hosted.request import Lora
from pack.hosted.transport import Transport
from pack.tests.toy.faults import drip, held, polled, raw, says
from pack.tests.toy.hosted import PROMPT, QUICK, client, outcome, request, rows_of
from pack.tests.toy.loopback import KEY, SIGNATURE


def phases(provider):
    return [phase for phase, _ in provider.requests]


def test_a_clip_arrives_and_its_report_says_where_it_came_from(provider, running, tmp_path):
    asked = request(provider.name)
    got = outcome(client(tmp_path, running), asked)
    assert got.clip is not None, got.text
    download.check_clip(got.clip.path)
    lines = got.text.splitlines()
    assert lines[0] == f"{asked.offer} | 480p, 5 s, seed 7"
    assert lines[1].startswith(f"Job {next(iter(provider.jobs))} | took ")
    assert lines[2] == provider.told_price
    assert lines[3].endswith(": none")
    assert provider.problems == provider.leaks == []
    assert len(provider.uploads) == 1


def test_the_same_inputs_again_fetch_the_clip_and_pay_nothing(provider, running, tmp_path):
    first = outcome(client(tmp_path, running), request(provider.name))
    first.clip.path.unlink()  # as ComfyUI's start empties the folder
    again = outcome(client(tmp_path, running), request(provider.name))
    assert again.clip.resumed
    assert "picked up again" in again.text
    assert "paid by an earlier run" in again.text
    assert len(provider.jobs) == len(provider.uploads) == provider.posts == 1
    assert next(iter(provider.jobs.values())).downloads == 2


def test_a_job_that_the_provider_has_deleted_by_now_is_made_anew(wavespeed, running, tmp_path):
    first = client(tmp_path, running)
    outcome(first, request("wavespeed")).clip.path.unlink()
    first.ledger.change(rows_of(first.ledger)[0], posted=time.time() - 8 * 86_400)
    assert outcome(client(tmp_path, running), request("wavespeed")).clip.resumed  # whatever the clock says
    assert wavespeed.posts == 1
    next((tmp_path / "clips").iterdir()).unlink()
    wavespeed.jobs.clear()
    assert not outcome(client(tmp_path, running), request("wavespeed")).clip.resumed
    assert len(wavespeed.jobs) == 1


def test_a_clip_that_is_here_needs_no_provider(wavespeed, running, tmp_path):
    wavespeed.flagged = True
    outcome(client(tmp_path, running), request("wavespeed"))
    wavespeed.jobs.clear()
    asked = len(wavespeed.requests)
    again = outcome(client(tmp_path, running), request("wavespeed"))
    assert again.clip.resumed
    assert "Content flag of WaveSpeed: FLAGGED" in again.text
    stopped = outcome(client(tmp_path, running), request("wavespeed"), stop_if_flagged=True)
    assert stopped.name == "FlaggedError"
    assert len(wavespeed.requests) == asked


def test_a_clip_that_is_flagged_while_it_is_fetched_is_stopped_too(wavespeed, running, tmp_path):
    wavespeed.seconds = 0.0
    wavespeed.break_next("poll", polled(has_nsfw_contents=[])(wavespeed), polled(has_nsfw_contents=[True])(wavespeed))
    wavespeed.break_next("download", raw(403, "expired")(wavespeed))
    assert outcome(client(tmp_path, running), request("wavespeed"), stop_if_flagged=True).name == "FlaggedError"


def test_a_job_that_stays_unknown_is_asked_for_twice_before_a_new_one_is_paid(wavespeed, running, tmp_path):
    outcome(client(tmp_path, running), request("wavespeed"))
    next((tmp_path / "clips").iterdir()).unlink()
    wavespeed.jobs.clear()
    assert outcome(client(tmp_path, running, QUICK._replace(grace=0.0)), request("wavespeed")).name == "JobGoneError"
    assert wavespeed.posts == 1
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert len(wavespeed.jobs) == 1


def test_the_id_is_on_disk_before_the_first_poll(wavespeed, running, tmp_path):
    reached = threading.Event()
    wavespeed.break_next("poll", held(reached, arrived=False, seconds=0.3))
    maker = client(tmp_path, running)
    thread = threading.Thread(target=outcome, args=(maker, request("wavespeed")))
    thread.start()
    assert reached.wait(10)
    (row,) = rows_of(maker.ledger)
    thread.join(20)
    assert (row.state, row.job_id) == ("sent", next(iter(wavespeed.jobs)))


def test_the_ledger_holds_no_prompt_no_address_and_no_key(wavespeed, running, tmp_path):
    lora = "https://civitai.com/api/download/models/7?token=civitai-secret-1"
    asked = request("wavespeed", offer="WaveSpeed: wan-2.2/image-to-video-lora", loras=(Lora(lora, 0.8, "high"),))
    got = outcome(client(tmp_path, running), asked)
    assert got.name == "clip", got.text
    assert "LoRAs: https://civitai.com/api/download/models/7?*** at 0.8 on high" in got.text
    assert next(iter(wavespeed.jobs.values())).inputs["high_noise_loras"] == [{"path": lora, "scale": 0.8}]
    for path in tmp_path.rglob("*.json"):
        text = path.read_text()
        assert not [secret for secret in (KEY, SIGNATURE, PROMPT, "civitai", "://", "subject") if secret in text]


async def together(maker, requests):
    return await asyncio.gather(*(maker.run(each, Status()) for each in requests))


@pytest.mark.slow
def test_twenty_equal_requests_at_once_are_one_job(wavespeed, running, tmp_path):
    clips = asyncio.run(together(client(tmp_path, running), [request("wavespeed")] * 20))
    assert len(wavespeed.jobs) == 1
    assert len({clip.path for clip in clips}) == 1
    assert sum(not clip.resumed for clip in clips) == 1
    assert next(iter(wavespeed.jobs.values())).downloads == 1


def test_equal_requests_of_two_graphs_at_once_are_one_job(wavespeed, running, tmp_path):
    threads = [
        threading.Thread(target=outcome, args=(client(tmp_path, running), request("wavespeed"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(wavespeed.jobs) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "peak"), [("", 3), ("8", 8), ("1", 1)])
def test_jobs_at_a_time_stay_within_the_providers_limit(limit, peak, wavespeed, running, tmp_path):
    wavespeed.seconds = 0.4
    maker = client(tmp_path, running, WAN22_TURBO_WAVESPEED_JOBS=limit)
    asyncio.run(together(maker, [request("wavespeed", seed=seed) for seed in range(12)]))
    assert len(wavespeed.jobs) == 12
    assert min(2, peak) <= wavespeed.peak <= peak


def test_starts_in_a_minute_stay_within_the_providers_limit(wavespeed, running, tmp_path):
    limiter = RateLimiter()
    assert [limiter._take(100, 5) for _ in range(7)] == [True] * 5 + [False] * 2
    limiter.starts[0] -= 61
    assert [limiter._take(100, 5) for _ in range(2)] == [True, False]


def interrupted(maker, asked, reached=None):
    """Runs a request and cancels it, as an interrupt does, when `reached` is set; else while an order is on its way."""

    async def run():
        status = Status()
        task = asyncio.ensure_future(maker.run(asked, status))
        while not task.done() and not (reached.is_set() if reached else status.row is not None):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        return status

    return asyncio.run(run())


def test_an_interrupt_while_a_job_is_sent_keeps_its_id(wavespeed, running, tmp_path):
    reached, answered = threading.Event(), threading.Event()
    wavespeed.break_next("submit", held(reached, True, 1.0, answered))
    status = interrupted(client(tmp_path, running), request("wavespeed"), reached)
    assert not answered.is_set()
    assert status.after_stop(request("wavespeed")).startswith("WaveSpeed: a job was sent and may go on")
    got = outcome(client(tmp_path, running), request("wavespeed"))  # at once: it waits for the answer
    assert got.name == "clip", got.text
    assert len(wavespeed.jobs) == wavespeed.posts == 1
    assert "history" not in phases(wavespeed)


def test_an_interrupt_while_an_earlier_order_is_awaited_says_that_it_may_go_on(wavespeed, running, tmp_path):
    reached, answered = threading.Event(), threading.Event()
    wavespeed.break_next("submit", held(reached, True, 1.0, answered))
    interrupted(client(tmp_path, running), request("wavespeed"), reached)
    status = interrupted(client(tmp_path, running), request("wavespeed"))
    assert not answered.is_set()
    assert status.after_stop(request("wavespeed")).startswith("WaveSpeed: a job was sent and may go on")
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert len(wavespeed.jobs) == wavespeed.posts == 1


def test_an_interrupt_while_waiting_says_that_the_job_goes_on(wavespeed, running, tmp_path):
    reached, answered = threading.Event(), threading.Event()
    wavespeed.break_next("poll", held(reached, True, 5.0, answered))
    status = interrupted(client(tmp_path, running), request("wavespeed"), reached)
    assert not answered.is_set()
    job = next(iter(wavespeed.jobs))
    assert status.after_stop(request("wavespeed")) == (
        f"WaveSpeed: job {job} goes on and is charged. Run the same again, with seed 7, to pick it up."
    )
    assert outcome(client(tmp_path, running), request("wavespeed")).clip.resumed
    assert len(wavespeed.jobs) == 1


@pytest.mark.slow
def test_an_interrupt_while_an_earlier_job_is_looked_for_says_that_it_may_go_on(wavespeed, running, tmp_path):
    reached = threading.Event()
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    wavespeed.break_next("history", says(500)(wavespeed), forever=True)
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "UnclearError"
    wavespeed.break_next("history", held(reached, True, 5.0))
    status = interrupted(client(tmp_path, running), request("wavespeed"), reached)
    assert status.after_stop(request("wavespeed")).startswith("WaveSpeed: a job was sent and may go on")


def test_an_interrupt_while_the_clip_is_fetched_says_that_it_is_paid(wavespeed, running, tmp_path):
    reached = threading.Event()
    wavespeed.break_next("download", held(reached, True, 5.0))
    status = interrupted(client(tmp_path, running), request("wavespeed"), reached)
    assert " is done and charged. Run the same again" in status.after_stop(request("wavespeed"))


def test_a_flagged_clip_is_kept_or_ends_the_run_without_being_fetched(wavespeed, running, tmp_path):
    wavespeed.flagged = True
    stopped = outcome(client(tmp_path, running), request("wavespeed"), stop_if_flagged=True)
    assert stopped.name == "FlaggedError"
    assert "download" not in phases(wavespeed)
    assert next(iter(wavespeed.jobs.values())).downloads == 0
    kept = outcome(client(tmp_path, running), request("wavespeed"))
    assert "Content flag of WaveSpeed: FLAGGED" in kept.text
    assert len(wavespeed.jobs) == 1


def test_a_provider_that_cannot_be_reached_costs_nothing(tmp_path, wavespeed, running):
    nowhere = {"WAN22_TURBO_WAVESPEED_URL": f"http://127.0.0.1:{free_port()}/api/v3"}
    got = outcome(client(tmp_path, running, **nowhere), request("wavespeed"))
    assert got.name in ("UnavailableError", "NotSentError")
    assert "WaveSpeed could not be reached" in got.text
    assert not list(tmp_path.rglob("*.json"))
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"


def test_a_server_that_goes_away_between_upload_and_submit_has_taken_no_job(tmp_path, wavespeed, running, monkeypatch):
    post, refused = Transport.post, []

    async def unreachable_once(self, path, body, seconds=None):
        if path.endswith("image-to-video") and not refused:
            refused.append(path)
            raise NotSentError("WaveSpeed could not be reached (ClientConnector).")
        return await post(self, path, body, seconds)

    monkeypatch.setattr(Transport, "post", unreachable_once)
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert len(wavespeed.jobs) == wavespeed.posts == len(refused) == 1


def test_a_history_that_cannot_be_read_is_not_taken_for_an_empty_one(wavespeed, running, tmp_path):
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    wavespeed.break_next("history", says(500)(wavespeed), forever=True)
    for _ in range(2):
        got = outcome(client(tmp_path, running), request("wavespeed"))
        assert got.name == "UnclearError"
        assert "its list of jobs cannot be read now" in got.text
    wavespeed.heal()
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert len(wavespeed.jobs) == 1


def test_a_job_that_appears_late_in_the_history_is_found(wavespeed, running, tmp_path):
    wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    empty = raw(200, '{"code": 200, "data": {"items": []}}')(wavespeed)
    wavespeed.break_next("history", empty, empty)
    assert outcome(client(tmp_path, running, QUICK._replace(settle=5.0)), request("wavespeed")).name == "clip"
    assert len(wavespeed.jobs) == 1


def test_a_slow_provider_does_not_hold_the_event_loop(wavespeed, running, tmp_path):
    wavespeed.break_next("poll", drip(wavespeed))

    async def ticks():
        task = asyncio.ensure_future(
            client(tmp_path, running, QUICK._replace(request=0.5)).run(request("wavespeed"), Status())
        )
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns

    assert asyncio.run(ticks()) > 10
