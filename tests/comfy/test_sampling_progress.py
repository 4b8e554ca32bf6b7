"""What a person sees while it samples: one bar over both experts, the preview, the words, and what the plan says."""

import io
import re

import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from pack.nodes import long_progress
from pack.nodes.progress import StepProgress, duration
from pack.tests.toy.sampling import SHAPE, conditioning, sample, server_hook
from PIL import Image

pytestmark = pytest.mark.comfy


def test_one_bar_runs_over_both_experts_with_an_animated_preview(high, low, monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Auto)
    seen = []
    with server_hook(lambda value, total, preview, **_: seen.append((value, total, preview))):
        sample(high, low, conditioning(1))
    assert [(value, total) for value, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for _, _, (kind, loop, max_size) in seen:
        file = io.BytesIO()
        loop.save(file, format=kind, quality=95, compress_level=1)  # as ComfyUI's server calls it
        assert max_size is None
        with Image.open(file) as picture:
            assert (picture.format, picture.n_frames, picture.size) == ("PNG", 3, (320, 320))


def test_no_preview_where_the_user_wants_none(high, low, monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.NoPreviews)
    seen = []
    with server_hook(lambda value, total, preview, **_: seen.append(preview)):
        sample(high, low, conditioning(1))
    assert set(seen) == {None}


def test_status_names_step_expert_and_time_left(high):
    said = []

    class Speaking(StepProgress):
        def say(self, text):
            said.append(text)

    progress = Speaking(["high", "low"], high.model.latent_format, None)
    progress(0, torch.zeros(SHAPE), torch.zeros(SHAPE), 2)
    progress(1, torch.zeros(SHAPE), torch.zeros(SHAPE), 2)
    assert said[0] == "Step 1 of 2, high-noise expert"
    assert re.fullmatch(r"Step 2 of 2, low-noise expert, about \d+ s left", said[1])
    assert len(said) == 2


def test_a_long_clips_time_left_does_not_count_the_loading_of_the_model(high, monkeypatch):
    said, clock = [], [0.0]
    monkeypatch.setattr(long_progress, "say", lambda text, node_id: said.append(text.partition(", about ")[2]))
    monkeypatch.setattr(long_progress.time, "perf_counter", lambda: clock[0])

    def after(seconds, report, *arguments):
        clock[0] += seconds
        report(*arguments)

    progress = long_progress.StoryProgress(["high", "low"], [True, True], high.model.latent_format, None)
    for part, seconds in enumerate([(60, 5, 3), (5, 5, 3)]):
        progress.sample(part)
        for step in range(2):
            after(seconds[step], progress, step, torch.zeros(SHAPE), torch.zeros(SHAPE), 2)
        progress.decode(part)
        after(seconds[2], progress.finish_part)
    assert said == ["", "", "20 s left", "13 s left", "8 s left", "3 s left"]


def test_a_long_clip_that_is_all_there_tells_the_time_of_its_decoding(high, monkeypatch):
    said = []
    monkeypatch.setattr(long_progress, "say", lambda text, node_id: said.append(text))
    progress = long_progress.StoryProgress(["high"], [False, False], high.model.latent_format, None)
    for part in range(2):
        progress.decode(part)
        progress.finish_part()
    assert said == ["Part 1 of 2, decoding", "Part 2 of 2, decoding, about 1 s left"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (42.4, "42 s"), (99.6, "1 min 40 s"), (605, "10 min 05 s")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text
