"""Which jobs of a study a report compares with each other, and when it calls a difference one."""

import math
from dataclasses import replace
from itertools import product

import pytest
from pack.client.batch.table import Result
from pack.client.report import figures, rows
from pack.tests.toy.reports import QUANTILE, job, write


@pytest.mark.parametrize(
    ("pairs", "low", "high", "verdict"),
    [
        ([1.0, 2.0, 3.0], 2 - QUANTILE[2] / math.sqrt(3), 2 + QUANTILE[2] / math.sqrt(3), "not told apart"),
        ([1.0, 1.1, 0.9], 1 - QUANTILE[2] * 0.1 / math.sqrt(3), 1 + QUANTILE[2] * 0.1 / math.sqrt(3), "better"),
        ([-1.0, -1.1, -0.9], -1 - QUANTILE[2] * 0.1 / math.sqrt(3), -1 + QUANTILE[2] * 0.1 / math.sqrt(3), "worse"),
        ([0.0, 0.0], 0, 0, "no difference"),
        ([5.0], None, None, "no interval"),
    ],
)
def test_a_difference_is_better_only_if_its_interval_leaves_out_0(pairs, low, high, verdict):
    told = figures.difference(pairs)
    assert (told.low, told.high) == (pytest.approx(low), pytest.approx(high))
    assert told.verdict("higher") == verdict
    assert told.verdict("") == {"better": "higher", "worse": "lower"}.get(verdict, verdict)


def matched(tmp_path, *jobs):
    """The inputs that jobs are compared on, as (variant, seed) pairs."""
    made = [job(number, *each) for number, each in enumerate(jobs)]
    told = rows.read(write(tmp_path / "out", made, {}))
    return [[(row.variant, row.seed) for found in each.values() for row in found]
            for each in figures.figures(told.rows, "a").rows.values()]  # fmt: skip


def test_a_prompt_and_a_seed_count_where_a_variant_has_several(tmp_path):
    one, other = tmp_path / "1.png", tmp_path / "2.png"
    jobs = [("a", one, "x", 1), ("b", one, "y", 5), ("a", one, "x", 2), ("b", one, "y", 1), ("b", other, "y", 1)]
    assert matched(tmp_path, *jobs) == [[("a", 1), ("b", 1)], [("b", 5)], [("a", 2)], [("b", 1)]]


def test_a_seed_that_each_variant_has_alone_is_a_part_of_it(tmp_path):
    picture = tmp_path / "1.png"
    assert matched(tmp_path, ("a", picture, "x", 1), ("b", picture, "y", 2)) == [[("a", 1), ("b", 2)]]


def test_two_pictures_of_one_name_are_two(tmp_path):
    pictures = [tmp_path / folder / "1.png" for folder in "ab"]
    for picture in pictures:
        picture.parent.mkdir()
        picture.write_bytes(picture.parent.name.encode())
    assert matched(tmp_path, ("a", pictures[0], "x", 1), ("b", pictures[1], "x", 1)) == [[("a", 1)], [("b", 1)]]


def test_an_end_picture_of_one_variant_is_a_part_of_it(tmp_path):
    for name in ("1.png", "2.png", "end.png"):
        (tmp_path / name).write_bytes(name.encode())
    jobs = []
    for number, (picture, variant) in enumerate(product(("1.png", "2.png"), "ab")):
        made = job(number, variant, tmp_path / picture, "x", 1)
        ends = job(9, "b", tmp_path / "end.png", "x", 1).files["picture"]
        jobs.append(
            made
            if variant == "a"
            else replace(made, files={**made.files, "end_image": ends}, values={**made.values, "end_image": "end.png"})
        )
    told = rows.read(write(tmp_path / "out", jobs, {})).rows
    assert [list(each) for each in figures.figures(told, "a").rows.values()] == [["a", "b"], ["a", "b"]]
    alone = figures.figures([row for row in told if row.variant == "b"], "b").rows
    assert [list(each) for each in alone.values()] == [["b"], ["b"]]


def test_what_is_known_of_some_clips_only_is_not_the_same_of_all(tmp_path):
    jobs = [job(number, variant, tmp_path / "1.png", "x", 1) for number, variant in enumerate("ab")]
    ended = {1: Result(("clips/1.mp4",), 1, 1.0, 5.0, {}, 0.15, {"frames": 17, "black": 0}),
             2: Result(("clips/2.mp4",), 1, 1.0, 6.0)}  # fmt: skip
    told = figures.figures(rows.read(write(tmp_path / "out", jobs, ended)).rows, "a")
    assert told.alike == {}
    assert [each.name for each in told.measures] == ["latency", "usd", "black"]
    assert told.summaries[0].spreads["usd"].mean == 0.15
    assert "usd" not in told.summaries[1].spreads
