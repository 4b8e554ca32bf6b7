"""The ring of meaning: films of the trained tiny models do what their captions say, and every wrong way shows.

The seeds are fixed and the margins wide: what the numbers are exactly stands in docs/quality.md.
"""

import numpy as np
import pytest
from comfy_server import TRAINED
from pack.tiny import judge
from pack.tiny.files import NAMES
from pack.tiny.latents import SMALL
from pack.tiny.scenes import KINDS
from pack.tiny.studio import RCM, Studio, Way
from pack.tiny.text import STYLE_WORDS

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype")  # half precision beside norms in full: torch's own

SCENES = 24  # two of each kind
RIGHT = Way()
STYLES = {name: ((f"{name}_high", f"{name}_low", 1.0), (*RCM, 1.0)) for name in STYLE_WORDS}


@pytest.fixture(scope="module")
def studio():
    return Studio(TRAINED, SMALL)


@pytest.fixture(scope="module")
def told(studio):
    """Returns what the films of a way are like; each way is run once."""
    kept: dict[Way, dict[str, float]] = {}
    scenes = studio.scenes(range(SCENES), KINDS)

    def of(way: Way) -> dict[str, float]:
        if way not in kept:
            films = studio.clips(scenes, way)
            kept[way] = judge.summary(judge.judge(scene, film) for scene, film in zip(scenes, films, strict=True))
        return kept[way]

    return of


def test_four_steps_do_what_captions_say(told):
    assert told(RIGHT)["obeys share"] >= 0.75


@pytest.mark.parametrize(
    ("number", "by", "wrong"),
    [
        ("right share", 0.2, Way(steps=1, loras=())),
    ],
)
def test_a_wrong_way_shows(told, number, by, wrong):
    assert told(wrong)[number] <= told(RIGHT)[number] - by


@pytest.mark.parametrize("style", STYLE_WORDS)
def test_trigger_words_paint_and_without_them_nothing_is_painted(studio, style):
    scenes = studio.scenes(range(100, 108), ["moves"])
    painted, plain = (
        np.median([judge.paint(scene, film)[style] for scene, film in zip(scenes, studio.clips(scenes, way), strict=True)])
        for way in (Way(loras=STYLES[style], words=STYLE_WORDS[style]), Way(loras=STYLES[style]))
    )
    assert painted > 0.5 > 0.2 > plain
