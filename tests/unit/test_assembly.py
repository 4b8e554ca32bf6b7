"""Parts put together: each frame once, no jump at a seam, and colours that do not add up from part to part."""

from itertools import pairwise

import pytest
import torch
from pack.media.assembly import Assembly, Joint

SIDE = 24


def scene(level=0.0, gain=1.0):
    """A picture of three channels with contrast, all of it lighter or more contrasty."""
    ramp = torch.linspace(0.3, 0.7, SIDE)
    picture = torch.stack(
        [ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), ramp.flip(0).expand(SIDE, SIDE)], 2
    )
    return ((picture - 0.5) * gain + 0.5 + torch.as_tensor(level)).clamp(0, 1)


def numbered(numbers):
    return [torch.full((2, 2, 3), number / 100) for number in numbers]


def assembled(parts, anchored=False, held=1, dropped=0):
    shown, seams = [], []
    assembly = Assembly(shown.append, lambda: seams.append(len(shown)), anchored, held)
    for frames, joint in parts:
        assembly.add(frames, joint)
    assembly.finish(dropped)
    assert assembly.frames == len(shown)
    return shown, seams, assembly


def levels(shown):
    return [round(100 * float(frame.mean())) for frame in shown]


def test_what_two_parts_share_is_in_the_clip_once():
    first, second = numbered(range(1, 6)), numbered(range(5, 9))
    shown, seams, _ = assembled([(first, Joint()), (second, Joint(shared=1))])
    assert levels(shown) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert seams == [5]


def test_frames_that_are_in_no_clip_are_left_out():
    parts = [(numbered(range(1, 6)), Joint()), (numbered([90, 4, 5, 6, 7]), Joint(skipped=1, shared=2))]
    assert levels(assembled(parts, held=2)[0]) == [1, 2, 3, 4, 5, 6, 7]


def test_an_overlap_fades_from_one_part_into_the_other():
    first, second = numbered([10] * 6), numbered([20] * 6)
    shown, seams, assembly = assembled([(first, Joint()), (second, Joint(shared=4, faded=True))], held=4)
    assert levels(shown) == [10, 10, 12, 14, 16, 18, 20, 20]
    assert seams == [6]
    assert levels(assembly.last(3)) == [18, 20, 20]


def test_a_loop_leaves_out_the_frames_that_it_begins_with_again():
    shown, _, assembly = assembled([(numbered(range(1, 8)), Joint())], held=3, dropped=2)
    assert levels(shown) == [1, 2, 3, 4, 5]
    assert levels(assembly.first(2)) == [1, 2]


def test_a_part_without_frames_of_its_own_is_a_sentence():
    with pytest.raises(ValueError, match=r"needs frames of its own, got 2 of which 2 are shared"):
        assembled([(numbered([1, 2]), Joint()), (numbered([1, 2]), Joint(shared=2))])


def test_frames_wait_for_the_next_part_only_as_long_as_they_may_change():
    shown = []
    assembly = Assembly(shown.append, lambda: None, False, 3)
    assembly.add(numbered(range(1, 9)))
    assert levels(shown) == [1, 2, 3, 4, 5]


def chain(parts, drift, frames=17, anchored=True):
    """A clip whose every part drifts from the last frame that was handed over, as VAE and model do."""
    shown = []
    assembly = Assembly(shown.append, lambda: None, anchored)
    given = scene()
    for place in range(parts):
        steps = torch.linspace(0, 1, frames)
        made = [(given + step * torch.tensor(drift)).clamp(0, 1) for step in steps]
        assembly.add(made, Joint(shared=1 if place else 0))
        given = assembly.last(1)[0]
    assembly.finish()
    return shown


def moved(shown):
    """How far the mean colour is from the first frame's at the end, of 255: the channel that is furthest off."""
    return 255 * float((shown[-1].mean((0, 1)) - shown[0].mean((0, 1))).abs().max())


def test_colours_end_where_they_began_and_without_the_anchor_they_add_up():
    drift = (0.02, -0.01, 0.015)
    assert moved(chain(8, drift, anchored=False)) == pytest.approx(8 * 0.02 * 255, abs=1)
    assert moved(chain(8, drift)) < 1
    assert moved(chain(24, drift)) < 1


def test_nothing_jumps_where_colours_are_corrected():
    shown = chain(6, (0.03, 0.0, -0.02))
    steps = [255 * float((one - other).abs().mean()) for one, other in pairwise(shown)]
    assert max(steps) < 1.0


def test_nothing_jumps_behind_frames_that_two_parts_share():
    steps = torch.linspace(0, 0.045, 33)
    shown, seams, _ = assembled(
        [
            ([scene(step) for step in steps], Joint()),
            ([scene(), *[scene(0.022 + step) for step in steps]], Joint(skipped=1, shared=17)),
        ],
        anchored=True,
    )
    one, other = shown[seams[0] - 1], shown[seams[0]]
    assert 255 * float((one - other).abs().mean()) < 1.0


def test_contrast_that_grows_is_brought_back():
    shown = []
    assembly = Assembly(shown.append, lambda: None, True)
    for place in range(6):
        given = assembly.last(1)[0] if place else scene()
        made = [((given - 0.5) * (1 + 0.06 * step) + 0.5).clamp(0, 1) for step in torch.linspace(0, 1, 9)]
        assembly.add(made, Joint(shared=1 if place else 0))
    assembly.finish()
    assert float(shown[-1].std() / shown[0].std()) == pytest.approx(1, abs=0.03)


def test_another_scene_is_no_drift():
    day, night = scene(0.2), scene(-0.3)
    steps = torch.linspace(0, 1, 17)
    shown, *_ = assembled([([torch.lerp(day, night, step) for step in steps], Joint())], anchored=True)
    assert float(shown[-1].mean() - night.mean()) == pytest.approx(0.05, abs=0.01)  # no more is taken for drift


def test_a_part_that_begins_with_another_picture_keeps_its_colours_there():
    other = scene(-0.25)
    shown, _, assembly = assembled([([scene()] * 6, Joint()), ([other] * 6, Joint(shared=1))], anchored=True)
    assert assembly.seams[0].before == assembly.seams[0].after > 0.1
    torch.testing.assert_close(shown[6], other, atol=0.02, rtol=0)
