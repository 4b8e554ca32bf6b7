"""The formula of motion, in plain numbers. Its place in a graph has its turn in tests/comfy/test_picture.py."""

import pytest
import torch
from pack.media.motion import LIMIT, livelier


def frames(*values):
    """Tensor[1, channels, T, 1, pixels] of a list of channels, each a list of frames of pixels."""
    return torch.tensor(values)[None, :, :, None]


FIRST = frames([[4.0, 0.0]], [[0.0, 0.0]])
BLANK = frames([[1.0, 1.0]], [[0.0, -1.0]])  # d is -3, 1, 0, -1 and m -0.75


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (1.0, [[[1.0, 1.0]], [[0.0, -1.0]]]),
        (1.5, [[[-0.125, 1.875]], [[0.375, -1.125]]]),
        (2.0, [[[-1.25, 2.75]], [[0.75, -1.25]]]),
    ],
)
def test_the_difference_is_multiplied_and_its_mean_is_not(motion, expected):
    assert livelier(FIRST, BLANK, motion).equal(frames(*expected))


def test_motion_1_changes_no_bit():
    blank = torch.randn(2, 16, 5, 4, 4, generator=torch.Generator().manual_seed(3))
    assert livelier(torch.full((2, 16, 1, 4, 4), 0.1), blank, 1.0).equal(blank)


def test_every_clip_and_frame_has_its_own_mean():
    numbers = torch.Generator().manual_seed(3)
    first, blank = torch.randn(2, 16, 1, 4, 4, generator=numbers), torch.randn(2, 16, 3, 4, 4, generator=numbers)
    together = livelier(first, blank, 1.3)
    for clip in range(2):
        for frame in range(3):
            alone = livelier(first[clip : clip + 1], blank[clip : clip + 1, :, frame : frame + 1], 1.3)
            torch.testing.assert_close(together[clip, :, frame], alone[0, :, 0])
    torch.testing.assert_close(together.mean(dim=(1, 3, 4)), blank.mean(dim=(1, 3, 4)))


def test_no_latent_goes_further_than_any_of_a_picture():
    assert livelier(frames([[9.0, -9.0]]), frames([[0.0, 0.0]]), 2.0).equal(frames([[-LIMIT, LIMIT]]))
