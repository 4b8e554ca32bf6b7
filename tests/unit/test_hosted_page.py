"""The fault matrix of docs/hosted.md is that of the suite, and shows nothing lost."""

import re
from pathlib import Path

from pack.tests.toy.faults import FAULTS
from pack.tests.toy.providers import PROVIDERS

PAGE = (Path(__file__).parents[2] / "docs" / "hosted.md").read_text(encoding="utf-8")


def test_the_matrix_on_the_page_is_the_one_that_is_tested():
    table = PAGE.partition("<!-- fault matrix -->")[2].partition("<!-- end of the fault matrix -->")[0]
    rows = re.findall(r"^\| (.+?) \| .+? \| (\d+) \| (\d+) \| (\d+) \|$", table, re.MULTILINE)
    assert [text for text, *_ in rows] == [fault.text for fault in FAULTS]
    assert {(twice, lost) for _, _, twice, lost in rows} == {("0", "0")}
    assert all(int(tried) >= (1 if text.startswith("price") else len(PROVIDERS)) for text, tried, *_ in rows)


def test_every_variable_of_the_operator_is_explained():
    settings = (Path(__file__).parents[2] / "hosted" / "settings.py").read_text(encoding="utf-8")
    named = set(re.findall(r"WAN22_TURBO_(?:ALLOW|HOSTED)_\w+", settings))
    assert {name for name in named if name not in PAGE} == set()
