"""Clip Report in a real ComfyUI process: what the API is told of a clip that was just made, and what its file keeps."""

import json
from pathlib import Path

import av
import pytest
from pack.client.errors import RunError
from pack.media import video_reading
from pack.media.clip_report import measure
from pack.tests.toy.runs import run

pytestmark = pytest.mark.server

PROMPT = Path(__file__).parents[2] / "workflows" / "api" / "wan22_turbo_i2v.json"
DRAFT = {
    "Wan22Turbo_Resolution": {"tier": "240p"},
    "Wan22Turbo_ImageToVideo": {"seconds": 0.25},
    "Wan22Turbo_Sampler": {"seed": 4115},  # of this file alone, or ComfyUI's cache would answer for it
}
FRAMES = 5
SAVING = {"fps": 16, "filename_prefix": "reported/clip", "codec": "h264", "crf": 18, "metadata": "workflow"}


def reported():
    """The shipped prompt, whose saved clip, decoded frames and picture go into reports, and a report into a file."""
    prompt = json.loads(PROMPT.read_text(encoding="utf-8"))
    for node in prompt.values():
        node["inputs"].update(DRAFT.get(node["class_type"], {}))
    of = {node["class_type"]: name for name, node in prompt.items()}
    loaded, latent = [of["Wan22Turbo_Loader"], 3], [of["Wan22Turbo_Sampler"], 0]
    picture, video = [of["Wan22Turbo_Resolution"], 0], [of["Wan22Turbo_DecodeMp4"], 0]
    added = {
        "of the file": ("Wan22Turbo_ClipReport", {"video": video, "fps": 8}),
        "frames": ("VAEDecode", {"samples": latent, "vae": loaded}),
        "of the frames": ("Wan22Turbo_ClipReport", {"video": ["frames", 0], "reference": picture, "fps": 16}),
        "saved": ("Wan22Turbo_SaveMp4", {"video": ["frames", 0], "numbers": ["of the frames", 1], **SAVING}),
    }
    return prompt | {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in added.items()}, of


@pytest.fixture(scope="module")
def finished(server):
    prompt, of = reported()
    outputs = run(server, prompt)

    def path(name):
        saved = outputs[name]["images"][0]
        return server.base / "output" / saved["subfolder"] / saved["filename"]

    return outputs, path(of["Wan22Turbo_DecodeMp4"]), path("saved")


def test_the_api_is_told_the_numbers_and_the_report(finished):
    outputs, _, _ = finished
    (numbers,), (text,) = outputs["of the frames"]["numbers"], outputs["of the frames"]["text"]
    assert (numbers["frames"], numbers["fps"], numbers["width"] % 16) == (FRAMES, 16, 0)
    assert -1 <= numbers["likeness"] <= 1
    assert text.startswith(f"Frames: {FRAMES}, {numbers['width']}x{numbers['height']}, 16 a second, 0.31 seconds.")


def test_a_saved_clip_is_measured_from_its_file(finished):
    outputs, clip, _ = finished
    pictures = video_reading.look(str(clip))
    wanted = measure((frame for frame, *_ in video_reading.frames(pictures)), float(pictures.rate)).as_dict()
    assert outputs["of the file"]["numbers"] == [wanted]
    assert wanted["fps"] == 16


def test_save_mp4_keeps_the_numbers_beside_the_prompt(finished):
    outputs, _, saved = finished
    with av.open(str(saved)) as file:
        assert json.loads(file.metadata["clip_report"]) == outputs["of the frames"]["numbers"][0]
        assert json.loads(file.metadata["prompt"])["saved"]["inputs"]["numbers"] == ["of the frames", 1]


def test_a_text_that_is_no_numbers_is_said_before_a_file_is_begun(server):
    prompt, _ = reported()
    prompt["saved"]["inputs"] |= {"numbers": "my cat", "filename_prefix": "reported/never"}
    with pytest.raises(RunError, match="numbers must be those of Clip Report"):
        run(server, prompt)
    assert not list((server.base / "output" / "reported").glob("never*"))
