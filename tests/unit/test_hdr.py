"""HDR and wide colours as BT.709, against numbers of the recommendations."""

import numpy as np
import pytest
from pack.media.hdr import BT2020, DISPLAY_P3, HLG, PQ, TO_BT709, is_other, to_bt709

PQ_CODES = {0.1: 0.0623, 1: 0.1499, 10: 0.2997, 100: 0.5081, 203: 0.5807, 1000: 0.7518, 10_000: 1.0}  # BT.2408, table 1


def grey(value, transfer, primaries=BT2020):
    return to_bt709(np.full((2, 2, 3), value, np.float32), transfer, primaries)[0, 0]


def light(code):
    """cd/m2 that a screen with white at 203 shows."""
    return 203 * code**2.4


@pytest.mark.parametrize("nits", [0.1, 1, 10])
def test_what_is_darker_than_the_knee_keeps_its_light(nits):
    assert light(grey(PQ_CODES[nits], PQ)) == pytest.approx([nits] * 3, rel=0.01)


def test_brightness_rises_all_the_way_to_the_peak_and_ends_at_white():
    codes = [grey(value, PQ)[1] for value in np.linspace(0, PQ_CODES[1000], 50)]
    assert (np.diff(codes) > 0).all()
    assert codes[-1] == pytest.approx(1, abs=1e-3)
    assert grey(1.0, PQ)[1] == pytest.approx(1, abs=1e-3)
    assert 0.85 < grey(PQ_CODES[203], PQ)[1] < 0.95  # paper stays bright, with room for highlights


def test_hlg_and_pq_of_the_same_scene_look_the_same():
    for hlg, nits in ((0.75, 203), (0.5, 1000 * (1 / 12) ** 1.2)):  # BT.2408: HLG 75 % is 203 cd/m2
        code = np.interp(nits, list(PQ_CODES), list(PQ_CODES.values())) if nits == 203 else pq(nits)
        assert grey(hlg, HLG) == pytest.approx(grey(code, PQ), abs=0.004)


def pq(nits):
    """BT.2100, table 4, written out again."""
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


@pytest.mark.parametrize("primaries", TO_BT709)
def test_grey_stays_grey_and_colours_of_bt709_come_back(primaries):
    assert grey(0.5, 1, primaries) == pytest.approx([0.5] * 3, abs=1e-3)
    colour = np.array([0.7, 0.4, 0.2])
    stored = (np.linalg.inv(TO_BT709[primaries].astype(float)) @ colour**2.4) ** (1 / 2.4)
    back = to_bt709(stored.astype(np.float32)[None, None], 1, primaries)
    assert back[0, 0] == pytest.approx(colour, abs=2e-3)


@pytest.mark.parametrize("primaries", [BT2020, DISPLAY_P3])
def test_colours_beyond_bt709_are_cut_not_folded(primaries):
    red, green, blue = (to_bt709(np.eye(3, dtype=np.float32)[n][None, None], 1, primaries)[0, 0] for n in range(3))
    assert (red[0], green[1], blue[2]) == (1, 1, 1)
    assert red[1:].max() == green[::2].max() == 0


def test_bt709_and_its_like_are_left_alone():
    picture = np.random.default_rng(0).random((4, 4, 3), np.float32)
    for transfer, primaries in ((1, 1), (2, 2), (6, 6), (13, 1)):
        assert not is_other(transfer, primaries)
        assert to_bt709(picture, transfer, primaries) is picture
