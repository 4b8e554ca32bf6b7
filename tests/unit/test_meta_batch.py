"""Frames that VideoHelperSuite hands over in batches: the whole clip, or a sentence."""

from types import SimpleNamespace

import pytest
from pack.nodes.meta_batch import batch_of, check_batches, upstream


def prompt_of(combine=False, batched=True, requeue=None):
    """VHS's loader, an upscaler, and our node; as the frontend posts them."""
    manager = {"frames_per_batch": 16} | ({} if requeue is None else {"requeue": requeue})
    prompt = {
        "1": {"class_type": "VHS_BatchManager", "inputs": manager},
        "2": {
            "class_type": "VHS_LoadVideo",
            "inputs": {"video": "a.mp4"} | ({"meta_batch": ["1", 0]} if batched else {}),
        },
        "3": {"class_type": "ImageScaleBy", "inputs": {"image": ["2", 0], "scale_by": 2.0}},
        "4": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"video": ["3", 0], "audio": ["2", 2], "fps": 16}},
    }
    if combine:
        prompt["5"] = {"class_type": "VHS_VideoCombine", "inputs": {"images": ["3", 0], "meta_batch": ["1", 0]}}
    return prompt


def hidden(prompt, node_id="4"):
    return SimpleNamespace(prompt=prompt, unique_id=node_id)


def test_the_first_batch_alone_is_refused():
    with pytest.raises(ValueError, match=r"only the first would be saved.*Disconnect meta_batch from the loader"):
        check_batches(hidden(prompt_of()))


@pytest.mark.parametrize(("requeue", "number"), [(None, 1), (0, 1), (1, 2), (7, 8), ("x", 1)])
def test_each_batch_of_a_run_that_video_combine_repeats_is_a_clip_of_its_own(requeue, number):
    said = check_batches(hidden(prompt_of(combine=True, requeue=requeue)))
    assert said.startswith(f"This clip holds batch {number} of a Meta Batch Manager, and the next batch becomes a clip")


def test_a_video_combine_without_the_manager_asks_for_no_batch():
    prompt = prompt_of(combine=True)
    del prompt["5"]["inputs"]["meta_batch"]
    assert batch_of(prompt, "4") == (1, False)


@pytest.mark.parametrize(
    ("prompt", "node_id"),
    [
        (prompt_of(batched=False), "4"),
        (prompt_of(batched=False, combine=True), "4"),
        (prompt_of(), "1"),
        (prompt_of(), "not in it"),
        ({}, "4"),
        (None, "4"),
        (prompt_of(), None),
    ],
)
def test_frames_that_do_not_come_in_batches(prompt, node_id):
    assert check_batches(hidden(prompt, node_id)) == ""


def test_a_circle_of_links_ends():
    prompt = {"1": {"inputs": {"a": ["2", 0]}}, "2": {"inputs": {"a": ["1", 0], "b": [1, 2], "c": ["gone", 0]}}}
    assert upstream(prompt, "1") == {"1", "2"}
