"""Long Clip after a run that was cut: what is kept, and the clip that comes of it in the end."""

import re

import comfy.model_management
import pytest
import torch
from pack.nodes import long_run, origins
from pack.tests.comfy.long_clip.clips import PROMPT, STORY, asked, clips, cut, file_of, frames_of, parts_there, start

pytestmark = pytest.mark.comfy


@pytest.mark.parametrize(
    ("way", "number", "error", "kept"),
    [
        ("last_frame", 1, RuntimeError("power"), 0),
        ("last_frame", 4, None, 1),
        ("last_frame", 6, torch.cuda.OutOfMemoryError("CUDA out of memory."), 2),
        ("motion", 6, None, 2),
        ("overlap", 4, RuntimeError("power"), 1),
    ],
    ids=["first step", "cancelled", "out of memory", "motion", "overlap"],
)
def test_a_run_that_was_cut_goes_on_and_gives_the_same_clip_bit_for_bit(
    make, made, high, low, way, number, error, kept, caplog, request
):
    setting = {"continue_by": way, "seconds": 0.6, "motion_latents": 1}
    kind = type(error) if error else comfy.model_management.InterruptProcessingException
    with pytest.raises(kind) as failure:
        make(models=(cut(high, number, error), low), **setting)
    assert len(parts_there()) == kept
    assert clips(request.node.name.split("[")[0]) == []
    wanted = {0: "No part was finished", 1: "Part 1 is kept, of 3", 2: "Parts 1 to 2 are kept, of 3"}[kept]
    assert wanted in caplog.text
    assert (wanted in str(failure.value)) == (kind is RuntimeError)
    if kind is torch.cuda.OutOfMemoryError:
        assert failure.value is error
    made.clear()
    resumed = make(**setting)
    assert len(made) == 3 - kept
    assert f"Made: part {', '.join(str(place) for place in range(kept + 1, 4))}." in resumed[1] or not kept
    for path in parts_there():
        path.unlink()
    whole = make(**setting)
    assert file_of(resumed).read_bytes() == file_of(whole).read_bytes()
    assert resumed[3] == whole[3]
    for path in file_of(whole).parent.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (asked(float("nan")), "SomebodysPatch before this node may give other models"),
        (None, "this node was called without a prompt"),
        ({"1": PROMPT["1"]}, "another node has put this one into the graph"),
    ],
)
def test_parts_that_no_run_finds_again_are_not_called_kept(make, high, low, graph, why):
    with pytest.raises(RuntimeError, match=f"power No part of this run can be used again: {why}"):
        make(models=(cut(high, 4, RuntimeError("power")), low), graph=graph)
    assert f"Warning: The parts of this clip are not found again: {why}" in make("It turns.", parts=1, graph=graph)[1]
    assert "not found again" not in make("It turns.", parts=1)[1]


def test_a_cancel_ends_within_a_step(make, high):
    blocks = high.model.diffusion_model.blocks
    ran = []
    hooks = [
        blocks[0].register_forward_hook(lambda *_: comfy.model_management.interrupt_current_processing()),
        blocks[1].register_forward_hook(lambda *_: ran.append(1)),
    ]
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            make()
    finally:
        comfy.model_management.interrupt_current_processing(False)
        for hook in hooks:
            hook.remove()
    assert ran == []


def test_a_cancel_in_the_decoding_keeps_the_part_and_leaves_no_clip(make, made, wan, request):
    pieces = []

    def cancel(*_):
        pieces.append(len(parts_there()))
        if pieces[-1] == 2:
            comfy.model_management.interrupt_current_processing()

    hook = wan.first_stage_model.decoder.head[-1].register_forward_hook(cancel)
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            make()
    finally:
        comfy.model_management.interrupt_current_processing(False)
        hook.remove()
    assert pieces.count(2) == 1
    assert clips(request.node.name) == []
    made.clear()
    make()
    assert len(made) == 1


def test_all_parts_are_there_and_no_model_is_asked(make, high, low):
    make()
    asked = list(make.words.asked)
    output = make(models=(cut(high, 1, RuntimeError("asked")), cut(low, 1, RuntimeError("asked"))))
    assert "All parts were on the disk." in output[1]
    assert make.words.asked == asked


def test_a_run_that_ends_early_tells_of_all_parts_that_are_there(make, monkeypatch):
    make()

    def fail(*_):
        raise RuntimeError("power")

    monkeypatch.setattr(long_run.Assembly, "add", fail)
    with pytest.raises(RuntimeError, match="Parts 1 to 3 are kept, of 3"):
        make()


def test_a_damaged_part_is_made_again(make, made):
    first = file_of(make()).read_bytes()
    for path in parts_there():
        path.write_bytes(b"broken")
    assert file_of(make()).read_bytes() == first
    assert len(made) == 6


def test_a_picture_of_another_size_is_told_of_and_makes_a_clip_of_its_own(make, made, high, low):
    with pytest.raises(RuntimeError):
        make(models=(cut(high, 4, RuntimeError("power")), low))
    output = make(picture=start(64, 48))
    assert "The parts of this story on the disk are 32x32, and the start image is 64x48 now: all parts" in output[1]
    assert frames_of(output).shape[1:3] == (48, 64)
    assert "The parts of this story" not in make()[1]


def test_parts_that_another_version_sampled_are_made_again_and_a_sentence_says_why(make, made, monkeypatch):
    make(parts=2, prompts="It turns.")
    made.clear()
    before = origins.sampled_by()
    monkeypatch.setattr(origins, "comfyui_version", "9.9")
    report = make(parts=2, prompts="It turns.")[1]
    assert len(made) == 2
    assert f"on the disk were sampled by {before}, and this is {origins.sampled_by()}: all parts" in report
    made.clear()
    assert "were sampled by" not in make(parts=2, prompts="It turns.")[1]
    assert made == []


@pytest.mark.parametrize(("there", "name"), [(2, r"[0-9a-f]{64}\.safetensors"), (3, r"clip\.mp4")])
def test_a_full_disk_is_told_once_and_parts_are_kept(make, request, there, name):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    make(prompts="\n".join(STORY.splitlines()[:there]))
    before = clips(request.node.name.split("[")[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        with pytest.raises(OSError) as failure:  # noqa: PT011  # the whole text is below
            make(crf=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(
        rf"\[Errno \d+\] '{name}' could not be written: [^:.]+\. Make room on the disk, or save to another one\. "
        rf"Nothing half-written was left\. Parts 1 to {there} are kept, of 3: the same inputs go on from there\. ?",
        str(failure.value),
    )
    assert len(parts_there()) == there
    assert clips(request.node.name.split("[")[0]) == before
