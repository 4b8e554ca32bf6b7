"""What is shown of a study: the time left by what was measured, a bar over all, and a line for each worker."""

import io

import pytest
from pack.client.batch.board import LINES, Bars, Lines, Pace, Quiet, duration
from pack.client.batch.plan import Job
from rich.console import Console


def job(variant="few", name="cat_few_1"):
    return Job("digest", name, "own.json", variant, "cat.png", "", 1, {})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_time_is_told_by_what_each_variant_took_and_of_an_untimed_one_by_all():
    clock = Clock()
    pace = Pace({"few": 10, "many": 10, "new": 1}, {"few": (4, 2.0), "many": (2, 8.0)}, clock)
    assert pace.work() == pytest.approx(10 * 2 + 10 * 8 + 24 / 6)
    assert pace.seconds(4) == pytest.approx(104 / 4)  # all places at once
    clock.now = 10.0
    pace.settled("many", 8.0)
    pace.settled("many", 8.0)
    assert pace.seconds(4) == pytest.approx((20 + 64 + 40 / 8) / 1.6)  # as it went: 16 seconds of runs in 10


def test_of_nothing_measured_nothing_is_said():
    pace = Pace({"few": 2}, {}, Clock())
    assert pace.work() is pace.seconds(2) is None
    pace.settled("few", None)
    assert pace.seconds(2) is None


TIMES = [(0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3599.7, "1 h 00 min"), (90_061, "25 h 01 min")]


@pytest.mark.parametrize(("seconds", "words"), TIMES)
def test_times_are_written_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def shown(kind, terminal=False, workers=2):
    console = Console(file=io.StringIO(), width=120, height=LINES + 9, force_terminal=terminal, color_system=None)
    board = kind(console)
    board.begin(1, 4, Pace({"few": 3}, {"few": (1, 30.0)}, Clock()), workers)
    for number in range(workers):
        line = board.worker(f"http://127.0.0.1:{8000 + number}", 0, f"cat_{number}")
        line.stage("rCM [bold]Sampler")
        line.step(3, 4)
    board.settled(job(), "done", "", 30.0)
    board.settled(job(), "failed", "Sampler failed: out of memory.", None)
    board.say("A server \x1b[31mis away.")
    if terminal:
        board.bars.refresh()
    board.end()
    return console.file.getvalue()


def test_lines_are_one_for_each_job_that_ended():
    assert shown(Lines) == (
        "1 of 4 jobs are done. about 45 s left\n"
        "2/4  cat_few_1  done in 30.0 s, about 30 s left\n"
        "3/4  cat_few_1  failed, about 15 s left\n    Sampler failed: out of memory.\n"
        "A server is away.\n"
    )


def test_quiet_says_what_is_said_and_no_more():
    assert shown(Quiet) == "A server is away.\n"


def test_bars_show_all_jobs_and_each_worker():
    text = shown(Bars, terminal=True)
    assert "All jobs" in text
    assert "3/4" in text
    assert "about 15 s left" in text
    assert "http://127.0.0.1:8001" in text
    assert "cat_1  rCM [bold]Sampler" in text
    assert "cat_few_1  failed: Sampler failed: out of memory." in text
    assert "\x1b[31mis" not in text


def test_of_many_workers_some_have_a_line():
    text = shown(Bars, terminal=True, workers=LINES + 5)
    assert f"http://127.0.0.1:{8000 + LINES - 1} " in text
    assert f"http://127.0.0.1:{8000 + LINES}" not in text
