"""Lines of prompts become parts, and what decides a part decides its digest and those after it, and no other."""

import pytest
import torch
from pack.samplers.continuation import continued
from pack.samplers.story import Line, check_loop, digests, parse, part_seed

LONGEST = 8.0


@pytest.mark.parametrize(
    ("prompts", "lines"),
    [
        ("The cat looks up.", [Line("The cat looks up.", 5.0)] * 3),
        ("One.\nTwo.", [Line("One.", 5.0), Line("Two.", 5.0)]),
        ("\r\n  One. \r\n\n \t\nTwo.\n", [Line("One.", 5.0), Line("Two.", 5.0)]),
        ("3 s: One.\n2.5s:Two.\n1,5 sec : Three.", [Line("One.", 3.0), Line("Two.", 2.5), Line("Three.", 1.5)]),
        ("4 seconds: One.", [Line("One.", 4.0)] * 3),
        ("3秒\uff1a猫看过来。\n2 s\uff1a猫走开。", [Line("猫看过来。", 3.0), Line("猫走开。", 2.0)]),
        (
            "In 5 s: it sits.\n10 sheep: white.",
            [Line("In 5 s: it sits.", 5.0), Line("10 sheep: white.", 5.0)],
        ),
        # The mark of byte order of a file, and spaces of no width, as web pages have them.
        ("\ufeff4 s: One.\n\u200b\n \u2060 3 s: Two.\u200b\n", [Line("One.", 4.0), Line("Two.", 3.0)]),
    ],
)
def test_a_line_is_a_part_and_may_set_its_length(prompts, lines):
    assert parse(prompts, 3, 5.0, LONGEST) == lines


@pytest.mark.parametrize(
    ("prompts", "parts", "sentence"),
    [
        ("", 2, r"needs a prompt for each part, a line each, and prompts holds none\."),
        ("\ufeff\n \u200b ", 2, r"prompts holds none\."),
        (" \n\t\n", 2, r"prompts holds none\. Say in a sentence"),
        ("The cat.\n" * 200, 2, r"at most 24 parts, got 200\. Give it fewer lines"),
        ("The cat.", 25, r"at most 24 parts, got 25\."),
        ("One.\n5 s:\nTwo.", 2, r"'5 s:' ends at the colon\. Add one\."),
        ("One.\n9 s: Two.", 2, r"at most 8 seconds, got 9 for 'Two\.'\. Set a shorter time"),
        ("0 s: One.", 2, r"more than 0 and at most 8 seconds, got 0 for 'One\.'"),
        ("99999999 s: " + "a" * 500, 2, r"got 1e\+08 for 'a{40}\.\.\.'"),
    ],
)
def test_what_is_no_story_is_a_sentence(prompts, parts, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(prompts, parts, 5.0, LONGEST)


def test_a_loop_of_one_part_is_a_sentence():
    check_loop(2)
    with pytest.raises(ValueError, match=r"A loop needs 2 parts at least, .*; got 1\. Write a second line"):
        check_loop(1)


def test_every_part_has_a_noise_of_its_own_and_the_first_that_of_the_clip():
    seeds = [part_seed(seed, part) for seed in range(50) for part in range(24)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert [part_seed(seed, 0) for seed in (0, 7, 2**64 - 1)] == [0, 7, 2**64 - 1]


def test_a_change_makes_its_part_and_the_later_ones_new_and_no_other():
    before = digests({"seed": 1}, [["a"], ["b"], ["c"], ["d"]])
    after = digests({"seed": 1}, [["a"], ["b"], ["changed"], ["d"]])
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, False]
    assert digests({"seed": 1}, [["a"], ["b"]]) == before[:2]
    assert not set(before) & set(digests({"seed": 2}, [["a"], ["b"], ["c"], ["d"]]))
    assert len(set(digests({}, [["a"]] * 4))) == 4  # of equal parts, too


def motion_of(count, times=7, before=6, end=False):
    picture = torch.full((1, 16, times, 2, 2), 9.0)
    picture[:, :, 0] = 1.0
    picture[:, :, -1] = 2.0
    mask = torch.ones(1, 4, times, 2, 2)
    mask[:, :, 0] = 0
    if end:
        mask[:, 3, -1] = 0
    latent = torch.arange(before, dtype=torch.float32).reshape(1, 1, -1, 1, 1).expand(1, 16, -1, 2, 2) + 10
    filled = continued(picture, mask, latent, count, torch.zeros(1, 16, 1, 1, 1))
    return filled[0, 3, :, 1, 1].tolist()


def test_motion_is_the_anchor_then_the_last_latent_frames_then_nothing():
    assert motion_of(4) == [1, 12, 13, 14, 15, 0, 0]
    assert motion_of(1) == [1, 15, 0, 0, 0, 0, 0]
    assert motion_of(4, before=3) == [1, 11, 12, 0, 0, 0, 0]  # its first latent frame is of one frame, no motion
    assert motion_of(2, end=True) == [1, 14, 15, 0, 0, 0, 2]  # a loop arrives at a picture


def test_a_part_that_is_shorter_than_the_motion_is_a_sentence():
    with pytest.raises(ValueError, match=r"what it takes over, 17 frames; this one has 17\. Give it more seconds"):
        motion_of(4, times=5)
