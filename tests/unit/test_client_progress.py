"""What a person sees on a terminal: a bar for every stage, the time left, and sentences above."""

import io
import re

import pytest
from pack.client import progress
from pack.client.progress import Bars, Lines
from rich.console import Console

BAR = re.compile(r" *[━╸╺]+ *")
CLOCK = re.compile(r" \d:\d\d:\d\d *")


class Terminal:
    """Bars on a terminal that records, and a clock that is set."""

    def __init__(self):
        self.now = 100.0
        self.console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40, record=True)
        self.bars = Bars(self.console, lambda: self.now)

    def lines(self):
        """The bars as they are: title | steps | time left."""
        eyes = Console(file=io.StringIO(), width=120, record=True)  # one of its own, as the terminal is repainted
        eyes.print(self.bars.bars.get_renderable())
        shown = eyes.export_text().splitlines()
        assert all(BAR.search(line) and CLOCK.search(line) for line in shown)
        return [CLOCK.sub(" | ", BAR.sub(" | ", line, count=1), count=1).rstrip(" |") for line in shown]


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.bars.end()


def test_a_stage_without_steps_has_a_bar_without_a_length(terminal):
    terminal.bars.stage("Load Wan 2.2 I2V")
    assert terminal.lines() == ["Load Wan 2.2 I2V | 0/?"]


def test_steps_move_the_bar_and_tell_the_time_left_at_the_pace_so_far(terminal):
    terminal.bars.stage("rCM Sampler")
    terminal.now += 30
    terminal.bars.step(1, 4)
    assert terminal.lines() == ["rCM Sampler | 1/4 | about 1 min 30 s left"]
    terminal.now += 10
    terminal.bars.step(2, 4)
    assert terminal.lines() == ["rCM Sampler | 2/4 | about 40 s left"]
    terminal.bars.step(4, 4)
    assert terminal.lines() == ["rCM Sampler | 4/4"]


def test_the_next_stage_fills_the_bar_before_it(terminal):
    terminal.bars.stage("Load Wan 2.2 I2V")
    terminal.bars.stage("rCM Sampler")
    terminal.bars.step(1, 4)
    terminal.bars.stage("Save MP4")
    assert terminal.lines() == ["Load Wan 2.2 I2V | 1/1", "rCM Sampler | 4/4", "Save MP4 | 0/?"]


def test_an_end_in_the_middle_leaves_the_bar_where_it_is_and_gives_the_terminal_back(terminal):
    terminal.bars.stage("rCM Sampler")
    terminal.bars.step(1, 4)
    terminal.bars.end()
    terminal.bars.end()
    terminal.bars.step(2, 4)  # a late message
    (line,) = terminal.lines()
    assert line.startswith("rCM Sampler | 1/4")
    assert "\x1b[?25h" in terminal.console.file.getvalue()  # the cursor is shown again


def test_sentences_stand_above_the_bars_as_they_are(terminal):
    terminal.bars.say("Job [1] waits.")
    terminal.bars.stage("Picture [draft] of a cat")
    terminal.bars.say("Stopping [the job].")
    terminal.bars.end()
    shown = terminal.console.export_text()
    places = [
        shown.index("Job [1] waits."),
        shown.index("Stopping [the job]."),
        shown.rindex("Picture [draft] of a cat"),
    ]
    assert places == sorted(places)
    assert terminal.lines() == ["Picture [draft] of a cat | 0/?"]


def test_a_step_before_any_stage_shows_nothing(terminal):
    terminal.bars.step(1, 4)
    assert terminal.lines() == []


def test_of_a_flood_a_few_lines_a_second_are_printed_and_then_all_again():
    now = [0.0]
    console = Console(file=io.StringIO(), width=120)
    lines = Lines(console, lambda: now[0])
    for number in range(700):
        lines.stage(f"Stage {number}")
    assert len(console.file.getvalue().splitlines()) == progress.AT_ONCE
    now[0] = 10.0
    lines.stage("A later one")
    assert console.file.getvalue().splitlines()[-1] == "   10.0 s  A later one"


def test_of_many_stages_the_last_bars_stay(terminal):
    for number in range(60):
        terminal.bars.stage(f"Stage {number}")
    assert len(terminal.lines()) == progress.BARS + 1
    assert terminal.lines()[-1] == "Stage 59 | 0/?"


def test_no_sentence_steers_the_terminal(terminal):
    terminal.bars.say("\x1b]0;mine\x07Job \x1b[2J\u202ex")
    assert "Job x" in terminal.console.file.getvalue()
    assert not re.search("\x1b\\]|\x1b\\[2J|\u202e", terminal.console.file.getvalue())
