"""The report of a study: its numbers are those of the table, all that the study says is text, and nothing is lost."""

import io
import json
import math
import random
import re
import shutil
import sqlite3
import statistics
import sys
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from pack.client.batch import command as batch
from pack.client.batch.board import Quiet
from pack.client.batch.command import opened
from pack.client.batch.plan import Job
from pack.client.batch.table import FILE, Result
from pack.client.errors import SaveError, UsageError
from pack.client.report import command, figures, rows
from pack.tests.toy.reports import HOSTILE, QUANTILE, job, write
from rich.console import Console

TWO = ("rcm", "lightning")
VOID = ("img", "input", "meta", "path", "line", "rect")  # elements without an end


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements, self.texts, self.cells = [], [], {}
        self.within, self.named = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.within.append(tag)
        if tag == "tr":
            self.row = []
        if {"data-of", "data-mean"} & dict(attrs).keys() and tag != "th":
            self.row.append(dict(attrs))

    def handle_endtag(self, tag):
        if tag == "tr":
            self.cells[self.named] = self.row
        if tag in self.within:
            del self.within[len(self.within) - 1 - self.within[::-1].index(tag) :]

    def handle_data(self, data):
        self.texts.append((self.within[-1] if self.within else "", data))
        if self.within[-2:] == ["tr", "th"]:
            self.named = data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, *without):
        return "".join(data for tag, data in self.texts if tag not in without)


@pytest.fixture
def study(tmp_path):
    """Three pictures with two seeds each, two variants, one failed job; random numbers, some of them missing."""
    chance = random.Random(3)
    jobs, results = [], {}
    for place in range(12):
        picture, seed, variant = place // 4, place // 2 % 2, TWO[place % 2]
        jobs.append(job(place, variant, tmp_path / f"{picture}.png", "A cat.", seed))
        numbers = {"likeness": chance.random(), "odd number": chance.gauss(0, 3), "frames": 17}
        if place == 3:
            del numbers["odd number"]
        stages = {"Sampler": 1.0, "Clip Report": 0.5}
        result = Result((f"clips/{place}.mp4",), 1, 1.0, chance.uniform(5, 9), stages, 0.1 * (place % 2), numbers)
        results[place + 1] = ("failed", "Out of luck.") if place == 8 else result
    return write(tmp_path / "out", jobs, results)


def recomputed(folder):
    """Values by name, variant and input, straight from the table."""
    found = {}
    with closing(sqlite3.connect(folder / FILE)) as table:
        asked = "SELECT variant, picture, seed, seconds, usd, stages, numbers FROM jobs WHERE state = 'done'"
        for variant, picture, seed, seconds, usd, stages, numbers in table.execute(asked):
            values = {"latency": seconds - json.loads(stages)["Clip Report"], "usd": usd, **json.loads(numbers)}
            for name, value in values.items():
                found.setdefault(name, {}).setdefault(variant, {})[picture, seed] = value
    return found


def test_the_numbers_are_those_of_the_table(study):
    page = Page(command.make(study))
    found = recomputed(study)
    del found["frames"]  # the same in every clip
    for variant in TWO:
        cells = page.cells[variant]
        means = {each["data-of"]: float(each["data-value"]) for each in cells if "data-of" in each}
        assert means == {name: pytest.approx(statistics.fmean(each[variant].values())) for name, each in found.items()}
    less = dict(zip(means, [each for each in page.cells["lightning"] if "data-mean" in each], strict=True))
    for name, each in found.items():
        both = each["rcm"].keys() & each["lightning"].keys()
        pairs = [each["lightning"][key] - each["rcm"][key] for key in both]
        half = QUANTILE[len(pairs) - 1] * statistics.stdev(pairs) / math.sqrt(len(pairs))
        told = {part: float(less[name][f"data-{part}"]) for part in ("mean", "low", "high")}
        mean = statistics.fmean(pairs)
        limits = (mean, mean - half, mean + half)
        assert told == {part: pytest.approx(value) for part, value in zip(told, limits, strict=True)}, name
    assert not [each for each in page.cells["rcm"] if "data-mean" in each]  # nothing to compare it with but itself


def test_latency_is_interpolated_as_statistics_does_it(study):
    told = figures.figures(rows.read(study).rows, "rcm").summaries
    for one in told:
        times = sorted(recomputed(study)["latency"][one.variant].values())
        assert one.p50 == pytest.approx(statistics.median(times))
        assert one.p90 == pytest.approx(statistics.quantiles(times, n=10, method="inclusive")[8])


def test_one_price_of_all_clips_is_told_and_not_drawn(tmp_path):
    jobs = [job(number, variant, tmp_path / "1.png", "x", 1) for number, variant in enumerate("ab")]
    ended = {number: Result((f"clips/{number}.mp4",), 1, 1.0, 4.0 + number, {}, 0.15) for number in (1, 2)}
    page = Page(command.make(write(tmp_path / "out", jobs, ended)))
    assert "The same in every clip: Cost per clip, $ 0.15." in page.text()
    assert [text for tag, text in page.texts if tag == "h3" and text == "Cost per clip"] == []
    assert ("h3", "Latency") in page.texts


def test_what_failed_tries_may_have_cost_is_told_beside_the_price_of_the_clips(tmp_path):
    jobs = [job(number, variant, tmp_path / "1.png", "x", 1) for number, variant in enumerate("ab")]
    folder = write(tmp_path / "out", jobs, {1: Result(("clips/1.mp4",), 1, 1.0, 5.0, {}, 0.15)})
    assert "of runs, $0.15. Made" in Page(command.make(folder)).text()
    with closing(sqlite3.connect(folder / FILE)) as table, table:
        table.execute("UPDATE jobs SET failed_usd = 0.3 WHERE state = 'done'")
        table.execute("UPDATE jobs SET state = 'failed', usd = 0.15 WHERE state != 'done'")
    page = Page(command.make(folder))
    assert "of runs, $0.15 and up to $0.45 for tries that left no clip. Made" in page.text()
    assert "cost, $: 0.15" in page.text()


def test_the_sha256_of_two_pictures_of_one_name_are_both_told(tmp_path):
    pictures = [tmp_path / folder / "1.png" for folder in "ab"]
    for picture in pictures:
        picture.parent.mkdir()
        picture.write_bytes(picture.parent.name.encode())
    jobs = [job(number, "a", picture, "x", 1) for number, picture in enumerate(pictures)]
    text = Page(command.make(write(tmp_path / "out", jobs, {}))).text()
    assert all(each.files["picture"] in text for each in jobs)


def test_all_that_a_study_says_is_text(tmp_path):
    one = Job("d" * 64, "n", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE})
    two = Job("e" * 64, "n", HOSTILE, "other", HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE})
    three = Job("f" * 64, "n", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 2, {})
    numbers = {HOSTILE: 1.0, "likeness": 0.5}
    results = {
        1: Result((f"clips/{HOSTILE}.mp4", f"clips/{HOSTILE}.bin"), 1, 1, 2, {}, 0, numbers, (HOSTILE,)),
        2: Result((f"s3://{HOSTILE}.mp4",), 1, 1, 3, {}, 0, {HOSTILE: 2.0}, (HOSTILE,)),
        3: ("failed", HOSTILE),
    }
    said = {"name": HOSTILE, "text": HOSTILE, "version": HOSTILE, "graphs": json.dumps({HOSTILE: HOSTILE})}
    folder = write(
        tmp_path / "out", [one, two, three], results, **said, **{f"server {HOSTILE}": json.dumps({HOSTILE: HOSTILE})}
    )
    page = Page(command.make(folder))
    assert len(page.all("script")) == 1
    assert ("b", "bold") not in page.texts
    text = re.sub(r"\s+", " ", page.text("style", "script"))
    assert text.count(HOSTILE) > 15
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]


def test_the_page_takes_nothing_from_anywhere_and_finds_its_clips_wherever_it_lies(study, tmp_path):
    with closing(sqlite3.connect(study / FILE)) as table, table:
        name = "clips/a 名 #1 100%?.mp4"
        table.execute("UPDATE jobs SET clips = ? WHERE number = 1", (json.dumps([name]),))
        away = ["s3://bucket/b.mp4", "https://host/c.mp4", "file:///shared/d.mp4", "javascript:alert(1)//x.mp4"]
        table.execute("UPDATE jobs SET clips = ? WHERE number = 2", (json.dumps(away),))
    (study / name).write_bytes(b"clip")
    command.make(study)
    moved = tmp_path / "else where"
    shutil.move(study, moved)
    page = Page(moved / "report.html")
    sources = [each["data-src"] for each in page.all("video")]
    assert (moved / unquote(sources[0])).read_bytes() == b"clip"
    assert [each for each in sources if not each.startswith("./clips/")] == [
        "file:///shared/d.mp4", "./javascript%3Aalert%281%29//x.mp4",
    ]  # fmt: skip
    for name in ("src", "href", "data-src", "xlink:href", "action", "poster"):
        taken = [each[name] for _, each in page.elements if name in each]
        assert not [each for each in taken if not each.startswith(("./", "#", "data:image/", "file:///"))]
    (policy,) = (each["content"] for each in page.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data: 'self' file:; media-src 'self' file:;")
    assert "connect-src" not in policy


def test_a_table_of_before_is_read_and_gets_the_new_columns_when_it_goes_on(study):
    with closing(sqlite3.connect(study / FILE)) as table, table:
        table.execute("ALTER TABLE jobs DROP COLUMN files")
        table.execute("DROP TABLE pictures")
    assert len(rows.read(study).rows) == 12
    command.make(study)
    with opened(study) as table:
        assert {row["files"] for row in table.wanted()} == {None}
        assert table.pictured() == set()


def test_it_is_made_while_a_batch_works_in_the_folder_and_leaves_nothing_else(study):
    before = sorted(path.name for path in study.iterdir())
    with opened(study) as table:
        command.make(study)
        table.note({"still": "writable"})
    assert sorted(path.name for path in study.iterdir()) == sorted([*before, "report.html"])


def test_nothing_is_lost_where_it_cannot_be_written(study):
    (study / "report.html").mkdir()
    (study / "report.html" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SaveError, match=r"report\.html could not be written"):
        command.make(study)
    assert (study / "report.html" / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert not list(study.glob(".report*"))


def test_what_is_no_study_is_told_in_a_sentence(study, tmp_path):
    with pytest.raises(UsageError, match=r"there is no study\.sqlite in it"):
        command.make(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no variant 'lightening'\. It has: rcm, lightning"):
        command.make(study, "lightening")
    (study / FILE).write_bytes(b"no table at all" * 100)
    with pytest.raises(UsageError, match="no table of a study"):
        command.make(study)


@pytest.mark.parametrize(("module", "package"), [("vl_convert", "vl-convert-python"), ("scipy.special", "scipy")])
def test_a_missing_package_is_named(study, monkeypatch, module, package):
    for name in [name for name in sys.modules if re.fullmatch(r"pack\.client\.report\.(page|charts|figures)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"needs the package {package}"):
        command.make(study)


def test_a_package_that_cannot_be_loaded_is_named(study, monkeypatch, tmp_path):
    (tmp_path / "vl_convert.py").write_text("from os import nothing_of_this_name", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [
        name for name in sys.modules if re.fullmatch(r"vl_convert.*|pack\.client\.report\.(page|charts)", name)
    ]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UsageError, match=r"The report cannot load its packages \(os\)\. Run: pip"):
        command.make(study)


def test_a_batch_without_the_packages_says_so_and_ends_well(study, monkeypatch):
    monkeypatch.delitem(sys.modules, "pack.client.report.page", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    console = Console(file=io.StringIO(), width=500)
    assert batch.reported(study, Quiet(console)) == []
    assert "The report needs the package jinja2. Run: pip install jinja2 scipy" in console.file.getvalue()


def test_the_command_prints_where_the_report_is(study, capsys):
    command.report(study, "lightning")
    assert capsys.readouterr().out == f"{study / 'report.html'}\n"
    assert Page(study / "report.html").text().count("Difference from lightning") > 0
