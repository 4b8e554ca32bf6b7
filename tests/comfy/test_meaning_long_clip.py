"""The ring of meaning for seams: what moves goes on where two parts meet, colours stay, and wrong ways show.

The seeds are fixed and the margins wide: `make bench ARGS=long_clip` has the numbers of more clips and all ways.
"""

from statistics import mean, median

import pytest
from comfy_server import TRAINED
from pack.tiny.latents import SMALL
from pack.tiny.long_clips import bouncing, by_node
from pack.tiny.studio import Studio, Way

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype")  # half precision beside norms in full: torch's own

PARTS, SEEDS = 3, (0, 1)
RIGHT, UNANCHORED, WITHOUT_SVI = {}, {"anchored": False}, {"continue_by": "motion"}


@pytest.fixture(scope="module")
def told():
    """Returns the numbers of the clips of a way; each way is run once."""
    studio = Studio(TRAINED, SMALL)
    kept = {}

    def of(way):
        if str(way) not in kept:
            kept[str(way)] = [by_node(studio, Way(), bouncing(seed, PARTS), seed, PARTS, **way) for seed in SEEDS]
        return kept[str(way)]

    return of


def seams(clips, name):
    return [seam[name] for clip in clips for seam in clip["seams"] if seam[name] is not None]


def drift(clips):
    return mean(clip["over_all"]["mean_colour"] for clip in clips)


def test_what_moves_goes_on_where_parts_meet(told):
    assert median(seams(told(RIGHT), "direction")) >= 0.5
    assert median(seams(told(RIGHT), "difference")) <= 0.5 * median(seams(told(WITHOUT_SVI), "difference"))


def test_colours_stay_and_drift_without_the_anchor(told):
    assert drift(told(RIGHT)) <= 1
    assert drift(told(UNANCHORED)) >= 1.5 * drift(told(RIGHT))
