"""The thumbnails of the graphs: each says what its graph is for, and none looks like another."""

from pathlib import Path

import pytest
from graph_cards import CARDS, SIDE, SYMBOLS
from PIL import Image, ImageColor

GRAPHS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))


def test_every_graph_has_a_card_of_its_own():
    assert sorted(CARDS) == [path.stem for path in GRAPHS]
    for differ in ("colour", "title", "words", "symbols"):
        assert len({getattr(card, differ) for card in CARDS.values()}) == len(CARDS)
    assert CARDS["wan22_turbo_i2v"].title == "Start here"
    assert {symbol for card in CARDS.values() for symbol in card.symbols} == set(SYMBOLS)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_the_shipped_thumbnail_is_that_card(path):
    with Image.open(path.with_suffix(".jpg")) as thumbnail:
        assert thumbnail.size == (SIDE, SIDE)
        corner, below = thumbnail.getpixel((10, 10)), thumbnail.crop((0, 320, SIDE, SIDE))
        expected = ImageColor.getrgb(CARDS[path.stem].colour)
        assert max(abs(one - other) for one, other in zip(corner, expected, strict=True)) <= 4  # JPEG
        assert len(below.getcolors(SIDE * SIDE)) > 1000  # the graph itself
