"""The ring of meaning for seams: what moves goes on where two parts meet, and colours stay; a wrong way shows.

The scene and the seed are fixed, and the margins wide: `make bench ARGS=long_clip` has the numbers of more clips and of
all ways. The wrong way continues by motion with experts that have no LoRA of SVI, so that nothing taught them to.
"""

from statistics import median

import pytest
from pack.tiny.latents import SMALL
from pack.tiny.long_clips import SECONDS, by_node
from pack.tiny.scenes import random_scene
from pack.tiny.studio import Way

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype")  # half precision beside norms in full: torch's own

PARTS, SEED = 3, 2
UNSEEN = 2_000_000 + SEED  # a scene that no model was trained on


@pytest.fixture(scope="module")
def told(studio):
    """The numbers of a clip in the right way and in the wrong one."""
    # Its caption names the direction: the last frame alone does not tell it.
    scene = random_scene(UNSEEN, SMALL.width / SMALL.height, SECONDS * PARTS, "moves")
    return [by_node(studio, Way(), scene, SEED, PARTS, continue_by=way) for way in ("last_frame", "motion")]


@pytest.mark.parametrize(("name", "most"), [("jump", 2.0), ("difference", 3.0)])
def test_what_moves_goes_on_where_parts_meet(told, name, most):
    right, wrong = (median(seam[name] for seam in clip["seams"]) for clip in told)
    assert right <= most
    assert wrong >= 2 * right


def test_the_direction_is_kept(told):
    right, wrong = ([seam["direction"] for seam in clip["seams"]] for clip in told)
    assert min(right) >= 0.4
    assert max(wrong) <= 0


def test_colours_stay(told):
    right, wrong = (clip["over_all"]["mean_colour"] for clip in told)
    assert right <= 1
    assert wrong >= 2 * right
