"""A clip and its continuation: nothing twice, no jump in colour at the seam, no drift over many of them."""

import numpy as np
import pytest
import torch
from pack.media.join import describe, join, note_on_channels

DRIFT = torch.tensor(
    [[0.97, 1.02, 0.98], [0.012, -0.008, 0.004]]
)  # gain and offset of a sampler and a VAE, per channel


def scene(frames=5, seed=0, level=0.45):
    """A picture with structure that moves and brightens, away from black and white."""
    y, x = np.mgrid[0:48, 0:64] / 16
    made = [np.stack([np.sin(x + t / 5 + c) * np.cos(y - c) for c in range(3)], -1) for t in range(frames)]
    noise = np.random.default_rng(seed).normal(0, 0.005, (48, 64, 3))
    brighter = 0.01 * np.arange(frames)[:, None, None, None]
    return torch.from_numpy((level + 0.25 * np.stack(made) + noise + brighter).astype(np.float32))


def continued(clip, frames=5):
    """What a model makes of a clip's last frame: first that frame, then motion; all of it drifted."""
    motion = scene(frames, seed=1) - scene(1, seed=1)
    return (clip[-1] + motion) * DRIFT[0] + DRIFT[1]


def test_the_frame_that_both_hold_is_in_it_once():
    first, second = scene(5), scene(9, seed=2)
    joined, _ = join(first, second, match_colours=False)
    assert torch.equal(joined, torch.cat([first, second[1:]]))


def test_a_continuation_takes_on_the_colours_of_its_clip():
    first = scene()
    drifted = continued(first)
    truth = (drifted - DRIFT[1]) / DRIFT[0]
    joined, seam = join(first, drifted)
    assert 255 * (joined[len(first) :] - truth[1:]).abs().max() < 0.01
    assert 255 * seam.before > 0.5
    assert 255 * seam.after < 0.01


@pytest.mark.parametrize(("match", "least", "most"), [(True, 0.0, 0.5), (False, 5.0, 255.0)])
def test_six_hand_overs_drift_by_less_than_half_a_level(match, least, most):
    clip = scene()
    for _ in range(6):
        still = clip[-1:].expand(3, -1, -1, -1) * DRIFT[0] + DRIFT[1]
        clip, _ = join(clip, still, match)
    moved = 255 * (clip[-1].mean((0, 1)) - scene()[-1].mean((0, 1))).abs().max()
    assert least <= moved < most


def test_what_changes_within_a_continuation_stays():
    first = scene()
    second = continued(first, frames=9)
    joined, _ = join(first, second)
    wanted = (second[-1].mean() - second[0].mean()) / DRIFT[0].mean()
    assert float(joined[-1].mean() - first[-1].mean()) == pytest.approx(float(wanted), abs=2e-3)


def test_another_picture_is_not_recoloured():
    first, second = scene(level=0.3), scene(seed=3, level=0.7)
    joined, seam = join(first, second)
    assert torch.equal(joined[len(first) :], second[1:])
    assert seam.before == seam.after
    assert "which is another picture" in describe(5, 5, seam, True)


def test_a_flat_picture_takes_the_level_alone():
    first, second = torch.full((2, 4, 4, 3), 0.5), torch.full((3, 4, 4, 3), 0.47)
    joined, seam = join(first, second)
    assert torch.allclose(joined, torch.full((4, 4, 4, 3), 0.5))
    assert seam.after < 1e-6


def test_frames_that_fit_already_are_left_alone():
    first = scene()
    second = torch.cat([first[-1:], scene(4)])
    joined, seam = join(first, second)
    assert torch.equal(joined[len(first) :], second[1:])
    assert describe(5, 5, seam, True).endswith("Seam: 0.00 of 255, colours as they came.")


def test_a_report_says_both_seams():
    first = scene()
    _, seam = join(first, continued(first))
    assert describe(5, 5, seam, True).startswith(
        "5 + 5 frames -> 9: the frame that both hold is in it once.\nSeam: 0.0"
    )


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((2, 8, 8, 3), (2, 8, 16, 3), r"Both clips must have the same size, got 8x8 and 16x8\. Grow the second"),
        ((0, 8, 8, 3), (2, 8, 8, 3), "Both clips need a frame at least, got 0 and 2 frames"),
    ],
)
def test_clips_without_a_seam_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        join(torch.zeros(first), torch.zeros(second))


CHANNELS = {1: scene()[..., :1], 3: scene(), 4: torch.cat([scene(), torch.full((5, 48, 64, 1), 0.25)], 3)}


@pytest.mark.parametrize("one", CHANNELS)
@pytest.mark.parametrize("other", CHANNELS)
@pytest.mark.parametrize("match", [True, False])
def test_grey_colour_and_transparent_clips_are_joined(one, other, match):
    first, second = CHANNELS[one], CHANNELS[other]
    joined, _ = join(first, second, match)
    assert joined.shape == (9, 48, 64, max(one, other))
    colours = slice(0, 3) if max(one, other) > 1 else slice(0, 1)
    wanted = torch.cat(
        [first[..., :3].expand(-1, -1, -1, colours.stop), second[1:, ..., :3].expand(-1, -1, -1, colours.stop)]
    )
    if not match:
        assert torch.equal(joined[..., colours], wanted)
    if max(one, other) == 4:  # what had no alpha is opaque; colours are matched, alpha is not
        assert torch.equal(joined[:5, ..., 3], torch.full((5, 48, 64), 0.25 if one == 4 else 1.0))
        assert torch.equal(joined[5:, ..., 3], torch.full((4, 48, 64), 0.25 if other == 4 else 1.0))


def test_a_report_says_that_channels_were_added():
    assert (
        note_on_channels(CHANNELS[4], CHANNELS[3]) == "The second clip has no alpha: it is opaque in the joined clip."
    )
    assert (
        note_on_channels(CHANNELS[1], CHANNELS[3])
        == "The first clip is grey: it has three equal colours in the joined clip."
    )
    assert note_on_channels(CHANNELS[1], CHANNELS[4]) == (
        "The first clip is grey, without alpha: it has three equal colours and is opaque in the joined clip."
    )
    assert note_on_channels(CHANNELS[3], CHANNELS[3]) == ""


@pytest.mark.parametrize("one", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("other", [torch.float16, torch.float32])
def test_the_finer_precision_of_the_two_is_kept(one, other):
    first, second = scene().to(one), scene(seed=2).to(other)
    joined, _ = join(first, second, match_colours=False)
    assert joined.dtype == torch.promote_types(one, other)
    assert torch.equal(joined, torch.cat([first.to(joined.dtype), second[1:].to(joined.dtype)]))


def test_a_single_frame_continues_a_clip_and_is_continued():
    assert torch.equal(join(scene(1), scene(3), match_colours=False)[0], torch.cat([scene(1), scene(3)[1:]]))
    assert torch.equal(join(scene(3), scene(1), match_colours=False)[0], scene(3))


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (
            (2, 8, 8, 2),
            torch.float32,
            r"has 1 \(grey\), 3 \(RGB\) or 4 channels \(RGB and alpha\), the second clip has 2",
        ),
        ((8, 8, 3), torch.float32, r"has the shape \[F, H, W, C\], the second clip has \[8, 8, 3\]"),
        ((2, 8, 8, 3), torch.uint8, r"The second clip must hold floating-point numbers in 0\.\.1, got uint8"),
    ],
)
def test_what_is_no_clip_is_refused_by_its_true_reason(shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        join(torch.zeros(2, 8, 8, 3), torch.zeros(shape, dtype=dtype))
