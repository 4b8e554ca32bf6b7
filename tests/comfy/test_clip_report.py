"""Clip Report in ComfyUI: frames and videos of every kind, what it tells whom, and its numbers in a saved file."""

import json
from pathlib import Path

import av
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types, io
from pack.media.clip_report import measure
from pack.nodes.clip_report import ClipReport
from pack.nodes.video import SaveMp4
from pack.tiny import drawing, scenes

pytestmark = pytest.mark.comfy

CLIP = drawing.draw(scenes.random_scene(4, kind="moves"), 256, 144, 9, "striped")
FRAMES = torch.from_numpy(CLIP.astype(np.float32) / 255)
SETTINGS = {"fps": 16.0, "filename_prefix": "reported/clip", "codec": "h264", "crf": 12}
GRAPH = {"1": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {"crf": 18}}}


def report(video, fps=16.0, reference=None):
    return ClipReport.execute(video, fps, reference)


def save(video, metadata="workflow", **changes):
    hidden = {io.Hidden.prompt: GRAPH, io.Hidden.extra_pnginfo: {"workflow": {"nodes": []}}}
    node = SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    saved = node.execute(video, **{**SETTINGS, "metadata": metadata, **changes}).ui.as_dict()["images"][0]
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def told(path):
    with av.open(str(path)) as file:
        return dict(file.metadata)


def test_frames_are_measured_as_the_room_does():
    output = report(FRAMES, reference=FRAMES[:1])
    wanted = measure(CLIP, 16, CLIP[0])
    assert output[0] == wanted.report()
    assert json.loads(output[1]) == wanted.as_dict()
    assert output.ui.as_dict() == {"text": (wanted.report(),), "numbers": (wanted.as_dict(),)}


@pytest.mark.parametrize("driven", [False, True])
def test_a_batch_of_frames_is_not_measured_as_if_it_were_the_clip(driven):
    prompt = {
        "1": {"class_type": "VHS_BatchManager", "inputs": {"frames_per_batch": 9}},
        "2": {"class_type": "VHS_LoadVideo", "inputs": {"video": "a.mp4", "meta_batch": ["1", 0]}},
        "3": {"class_type": "Wan22Turbo_ClipReport", "inputs": {"video": ["2", 0], "fps": 16}},
        "4": {"class_type": "VHS_VideoCombine", "inputs": {"meta_batch": ["1", 0]} if driven else {}},
    }
    node = ClipReport.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.prompt: prompt, io.Hidden.unique_id: "3"}})
    first = node.execute(FRAMES, 16.0)[0].splitlines()[0]
    assert first == "Only a part of the clip is measured: batch 1 of a Meta Batch Manager."


def test_a_video_of_frames_has_its_own_rate():
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=FRAMES, frame_rate=24))
    assert report(video, fps=8.0)[1] == report(FRAMES, fps=24.0)[1]


def test_a_file_is_read_frame_by_frame_with_its_own_rate():
    numbers = json.loads(report(InputImpl.VideoFromFile(str(save(FRAMES, fps=24.0))), fps=8.0)[1])
    wanted = measure(CLIP, 24).as_dict()
    assert (numbers["fps"], numbers["frames"], numbers["width"]) == (24.0, 9, 256)
    assert numbers["flicker"] == pytest.approx(wanted["flicker"], abs=2e-3)
    assert numbers["brightness_start"] == pytest.approx(wanted["brightness_start"], abs=1)


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES.half(), FRAMES.double(), FRAMES.bfloat16(), FRAMES[..., :1], FRAMES[:1], FRAMES[:2],
        torch.cat([FRAMES, torch.ones_like(FRAMES[..., :1])], 3), torch.rand(3, 1, 1, 3), FRAMES * torch.nan,
        FRAMES * 1e38, FRAMES.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1),
    ],
    ids=lambda frames: f"{list(frames.shape)} {frames.dtype}",
)  # fmt: skip
def test_whatever_is_wired_is_measured_or_told_of(frames):
    output = report(frames, reference=torch.rand(2, 40, 30, 4))
    numbers = json.loads(output[1], parse_constant=lambda name: pytest.fail(name))
    assert numbers["frames"] == len(frames)
    assert output[0].startswith(f"Frames: {len(frames)}, ")


@pytest.mark.parametrize(
    ("video", "reference", "sentence"),
    [
        (FRAMES[:0], None, "A clip needs a frame at least, got none."),
        (FRAMES[0], None, r"A clip has the shape \[F, H, W, C\], this one has \[144, 256, 3\]"),
        (FRAMES, FRAMES[:0], "reference holds no picture."),
        (FRAMES, FRAMES[..., :2], r"The picture has the shape \[144, 256, 2\]"),
        ((FRAMES * 255).int(), None, r"Frame 1 must hold floating-point numbers in 0\.\.1, got int32\. Look at"),
        (FRAMES, 3, "reference must come from another node, got 3."),
        ("a clip", None, "video must come from another node, got 'a clip'."),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_reason(video, reference, sentence):
    with pytest.raises(ValueError, match=sentence):
        report(video, reference=reference)


def test_what_is_measured_of_transparent_frames_is_what_save_mp4_saves():
    clear = torch.cat([FRAMES, torch.zeros_like(FRAMES[..., :1])], 3)
    clear[3, 0, 0, 3] = torch.nan
    numbers = json.loads(report(clear)[1])
    assert numbers == json.loads(report(FRAMES)[1])
    saved = json.loads(report(InputImpl.VideoFromFile(str(save(clear))))[1])
    assert saved["brightness_start"] == pytest.approx(numbers["brightness_start"], abs=1)
    assert saved["black"] == numbers["black"] == 0


@pytest.mark.parametrize("metadata", ["workflow", "recipe", "none"])
@pytest.mark.parametrize("copied", [False, True])
def test_save_mp4_keeps_the_numbers_in_the_file(metadata, copied):
    numbers = report(FRAMES)[1]
    source = InputImpl.VideoFromFile(str(save(FRAMES, metadata="none"))) if copied else FRAMES
    found, without = (told(save(source, metadata, **given)) for given in ({"numbers": numbers}, {}))
    assert json.loads(found.pop("clip_report", "null")) == (None if metadata == "none" else json.loads(numbers))
    assert found.keys() == without.keys()  # all else is as it was


@pytest.mark.parametrize(
    "numbers", ["hello", "{}", "[]", "NaN", '{"fps": NaN}', '{"fps": 1e999}', '{"fps": "81"}', '{"ada": 1}', "[" * 5000,
                '{"notes": []}', '{"seams_at": ["at home"]}', '{"seams_at": 3}', '{"frames": [1]}']
)  # fmt: skip
def test_what_is_not_clip_reports_does_not_get_into_a_file(numbers):
    with pytest.raises(ValueError, match=r"numbers must be those of Clip Report, and this is another text\."):
        save(FRAMES, numbers=numbers)


def test_numbers_that_are_not_connected_are_not_waited_for():
    connected = {"video": None, **SETTINGS, "metadata": "none"}
    assert SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": {}}).check_lazy_status(**connected) == ["video"]
    both = SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": {}}).check_lazy_status(**connected, numbers=None)
    assert both == ["video", "numbers"]
