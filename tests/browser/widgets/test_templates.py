"""The template browser: the pack's graphs in the order of the README, the one to start with first."""

import re

import pytest
from pack.tests.browser.hands import GRAPHS, ROOT, browse_templates, picture

pytestmark = pytest.mark.browser

IN_README = re.findall(r"<br>\*\*(wan22_\w+)\*\*:", (ROOT / "README.md").read_text(encoding="utf-8"))
CARDS = "[data-testid^=template-workflow-wan22_]"


def test_the_readme_shows_every_graph_once():
    assert sorted(IN_README) == sorted(path.stem for path in GRAPHS.glob("*.json"))
    assert IN_README[0] == "wan22_turbo_i2v"


def test_graphs_are_listed_as_in_the_readme(tab):
    browse_templates(tab, "another-name")
    tab.wait_for_function("([cards, count]) => document.querySelectorAll(cards).length === count",
        arg=[CARDS, len(IN_README)])  # fmt: skip
    tab.wait_for_function(
        "cards => [...document.querySelectorAll(`${cards} img`)].every(image => image.complete)", arg=CARDS
    )
    picture(tab, "templates")
    shown = tab.locator(CARDS).evaluate_all("cards => cards.map(card => card.dataset.testid)")
    tab.get_by_role("dialog").get_by_role("button", name=re.compile("close", re.IGNORECASE)).first.click()
    tab.locator(CARDS).first.wait_for(state="detached")  # else it lies over the canvas in the tests that follow
    assert [name.removeprefix("template-workflow-") for name in shown] == IN_README
