"""Long Clip on tiny random models: what is sampled, and the clip that comes of it."""

import gc
import json
import weakref

import av
import pytest
import torch
from pack.nodes import long_run, sampling
from pack.samplers.guider import TwoExpertGuider
from pack.tests.comfy.long_clip.clips import PROMPT, SETTINGS, STORY, Words, file_of, frames_of, parts_there, start
from pack.weights.loading import TRAINING
from pack.weights.wan.training import LIGHTWAN

pytestmark = pytest.mark.comfy


def test_a_story_becomes_one_clip_with_its_report_chart_and_numbers(make, made):
    output = make()
    assert len(frames_of(output)) == 5 + 4 + 4
    assert len(set(made)) == 3
    assert made[0] == 5
    assert make.words.asked == ["It turns.", "It jumps.", "It sits."]
    report, chart, numbers = output[1], output[2], json.loads(output[3])
    assert report.startswith("3 parts, 13 frames, 0.81 seconds; continued by last frame, anchored colours.\nAll parts")
    assert "Each part: 2 high | .9950 .9338" in report
    assert (chart.shape[0], chart.shape[3]) == (1, 3)
    assert [part["frames"] for part in numbers["parts"]] == [5, 4, 4]
    assert [seam["frame"] for seam in numbers["seams"]] == [6, 10]
    assert len(parts_there()) == 3


def test_one_line_is_all_parts_and_a_line_may_set_its_length(make, made):
    assert len(frames_of(make("It turns.", parts=2))) == 9
    assert len(frames_of(make("0.6 s: It turns.\nIt jumps."))) == 9 + 4
    assert make.words.asked == ["It turns.", "It turns.", "It jumps."]


def test_the_first_part_is_the_clip_that_the_other_nodes_make(make, high, low, wan):
    make()
    words = Words().encode_from_tokens_scheduled("It turns.")
    from pack.nodes.picture import ImageToVideo

    with torch.inference_mode():
        prepared = ImageToVideo.execute(words, wan, start(), 0.3)
        alone = sampling.Sampler.execute(
            high, low, prepared[0], prepared[2], **{name: SETTINGS[name] for name in (
                "seed", "steps", "schedule", "mode", "cfg", "sigma_max", "shift", "boundary")}
        )[0]["samples"]  # fmt: skip
    from safetensors.torch import load_file

    kept = [load_file(path)["latent"] for path in parts_there()]
    assert any(torch.equal(alone.cpu(), latent) for latent in kept)


def test_motion_gives_anchor_and_last_latents_and_overlap_the_last_frames(make, monkeypatch):
    seen = []
    check = TwoExpertGuider.check_conditioning

    def note(guider, latent):
        seen.append(guider.original_conds["positive"][0])
        check(guider, latent)

    monkeypatch.setattr(TwoExpertGuider, "check_conditioning", note)
    make(continue_by="motion", seconds=1.0, motion_latents=2, parts=2, prompts="It turns.")
    from safetensors.torch import load_file

    latents = {path.name: load_file(path)["latent"] for path in parts_there()}
    first, second = seen
    assert torch.equal(first["concat_latent_image"][:, :, 0], second["concat_latent_image"][:, :, 0])
    assert any(torch.equal(latent[:, :, -2:], second["concat_latent_image"][:, :, 1:3]) for latent in latents.values())
    grey = second["concat_latent_image"][:, :, 3:]
    assert torch.equal(grey, grey[:, :, :1, :1, :1].expand_as(grey))
    assert second["concat_mask"][0, 0, :, 0, 0].tolist() == [0, 1, 1, 1, 1]
    seen.clear()
    make(continue_by="overlap", seconds=1.0, overlap_frames=9, parts=2, prompts="It turns.")
    assert seen[0]["concat_mask"][0, 0, :, 0, 0].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("way", "encoded"), [("motion", [9, 13]), ("last_frame", [9, 9, 13])], ids=["motion", "last frame"]
)
def test_the_anchor_of_motion_is_encoded_once_for_parts_of_one_length(make, wan, monkeypatch, way, encoded):
    frames, encode = [], wan.encode

    def note(pixels):
        frames.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(wan, "encode", note)
    make("0.6 s: It turns.\n0.6 s: It jumps.\n0.8 s: It sits.", continue_by=way, motion_latents=1, steps=1)
    assert frames == encoded


@pytest.mark.parametrize(
    ("changes", "frames"),
    [
        ({"loop": True}, 13 + 12 + 11),
        ({"continue_by": "overlap", "loop": True}, 13 + 8 + 3),
        ({"continue_by": "motion", "motion_latents": 1, "loop": True}, 13 + 8 + 7),
        ({"continue_by": "overlap", "overlap_frames": 9}, 13 + 4 + 12),  # the second part has 4 of its own to fade
        (  # the loop arrives at all of its first part, and no more
            {
                "continue_by": "overlap",
                "overlap_frames": 9,
                "loop": True,
                "prompts": "0.3 s: It turns.\n1 s: It jumps.",
            },
            5 + 7,
        ),
    ],
    ids=str,
)
def test_each_frame_is_in_the_clip_once(make, changes, frames):
    output = make(seconds=0.8, steps=1, **changes)
    assert len(frames_of(output)) == frames
    assert f"parts, {frames} frames" in output[1]
    assert bool(json.loads(output[3])["loop"]) == bool(changes.get("loop"))


def test_sound_is_as_long_as_the_clip_and_settings_are_in_the_recipe(make):
    tone = {"waveform": torch.sin(torch.arange(480000) * 0.05)[None, None], "sample_rate": 48000}
    graph = {**PROMPT, "9": {**PROMPT["9"], "inputs": {**PROMPT["9"]["inputs"], "prompts": "Ada.", "steps": 2,
             "schedule": "rcm", "sigma_max": 200.0, "shift": 5.0}}}  # fmt: skip
    path = file_of(make(audio=tone, metadata="recipe", graph=graph))
    with av.open(str(path)) as file:
        sound, video = file.streams.audio[0], file.streams.video[0]
        assert abs(float(sound.duration * sound.time_base) - float(video.duration * video.time_base)) < 1 / 16
        told = json.loads(file.metadata["recipe"])
    assert told["9 Wan22Turbo_LongClip"]["sigmas"] == [0.995, 0.9338, 0.0]
    assert "Ada." not in json.dumps(told)


def test_a_sound_that_is_shorter_than_the_clip_ends_before_it(make):
    tone = {"waveform": torch.sin(torch.arange(19200) * 0.05)[None, None], "sample_rate": 48000}
    with av.open(str(file_of(make(audio=tone)))) as file:
        sound, video = file.streams.audio[0], file.streams.video[0]
        assert float(video.duration * video.time_base) == 13 / 16
        assert float(sound.duration * sound.time_base) == pytest.approx(0.4, abs=1 / 16)


def test_the_largest_seed_is_a_seed_and_other_than_what_a_processor_word_keeps_of_it(make, made):
    make(seed=2**64 - 1, steps=1)
    make(seed=2**32 - 1, steps=1)
    assert made[0] == 2**64 - 1
    assert len(parts_there()) == 6


def test_a_picture_that_is_opaque_all_over_is_the_same_picture(make, made):
    picture = start()
    make(picture=picture, steps=1)
    output = make(picture=torch.cat([picture, torch.ones_like(picture[..., :1])], 3), steps=1)
    assert len(made) == 3
    assert "All parts were on the disk." in output[1]


def test_guidance_reads_the_negative_prompt(make, made):
    make(cfg=2.0, negative_prompt="dark", steps=1)
    assert "dark" in make.words.asked
    made.clear()
    make(cfg=2.0, negative_prompt="bright", steps=1)
    assert len(made) == 3


def test_the_bar_counts_all_parts_and_tells_time_left(make, monkeypatch):
    from pack.nodes import long_progress

    said, counted = [], []
    monkeypatch.setattr(long_progress, "say", lambda text, _: said.append(text))

    class Bar:
        def __init__(self, total, node_id=None):
            counted.append((0, total))

        def update_absolute(self, value, total=None, preview=None):
            counted.append((value, total))

    monkeypatch.setattr(long_progress.comfy.utils, "ProgressBar", Bar)
    make()
    assert counted == [(done, 9) for done in range(10)]  # of 3 parts: 2 steps and the file
    assert said[0] == "Part 1 of 3, step 1 of 2, high-noise expert"
    assert said[3].startswith("Part 2 of 3, step 1 of 2, high-noise expert, about ")
    counted.clear()
    make(prompts=STORY + "\nIt sleeps.")
    assert counted == [(done, 6) for done in range(7)]


def test_memory_does_not_grow_with_the_number_of_parts(make, monkeypatch):
    """The tensors that are alive at the end of part 2, 8 and 24, in bytes."""
    alive, parts = [], iter(range(1, 25))
    add = long_run.Assembly.add

    def count(assembly, frames, joint):
        add(assembly, frames, joint)
        if next(parts) in (2, 8, 24):
            kept = [each for each in gc.get_objects() if type(each) is torch.Tensor]
            alive.append(sum(each.numel() * each.element_size() for each in kept))

    monkeypatch.setattr(long_run.Assembly, "add", count)
    make("It turns.", parts=24, steps=1, seconds=0.25)
    assert len(alive) == 3
    assert max(alive) <= 1.05 * alive[0]


def test_the_frames_of_a_part_are_gone_when_the_next_one_is_sampled(make, monkeypatch):
    alive, there = weakref.WeakSet(), []
    begin, sample = long_run.PartFrames.__init__, long_run.LongRun._sample

    def note(frames):
        begin(frames)
        alive.add(frames)

    def count(run, place, *rest):
        there.append(len(alive))
        return sample(run, place, *rest)

    monkeypatch.setattr(long_run.PartFrames, "__init__", note)
    monkeypatch.setattr(long_run.LongRun, "_sample", count)
    make()
    assert there == [0, 0, 0]


def test_the_schedule_auto_is_that_of_the_files_and_the_report_and_the_recipe_tell_it(make, high, low):
    models = [model.clone() for model in (high, low)]
    for model in models:
        model.set_attachments(TRAINING, LIGHTWAN)
    graph = {**PROMPT, "9": {**PROMPT["9"], "inputs": {**PROMPT["9"]["inputs"], "schedule": "auto"}}}
    output = make("It turns.", parts=1, steps=4, models=models, graph=graph, schedule="auto", metadata="recipe")
    plan = "Each part: 2 high + 2 low | 1.0000 .9545 | .8750 .7000"
    assert plan in output[1]
    assert "Warning: These files were trained for sparse attention (LightWan2.2), and attention was dense." in output[1]
    with av.open(str(file_of(output))) as file:
        assert plan in file.metadata["recipe"]
