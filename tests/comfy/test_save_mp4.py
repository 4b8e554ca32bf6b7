"""Save MP4: files that are decoded and probed, named, tagged, and whole or absent."""

import json
from fractions import Fraction
from pathlib import Path

import av
import comfy.model_management
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from pack.nodes.video import SaveMp4

pytestmark = pytest.mark.comfy

PROMPT = {"1": {"class_type": "Wan22Turbo_Sampler", "inputs": {"seed": 5, "steps": 4}}}
WORKFLOW = {"nodes": [{"id": 1, "title": "小猫"}]}
SETTINGS = {"fps": 16.0, "filename_prefix": "video/clip", "codec": "h264", "crf": 18, "metadata": "workflow"}


def save(video, **changes):
    """Runs the node as ComfyUI does, on a clone that carries the hidden inputs."""
    hidden = {"hidden_inputs": {"prompt": PROMPT, "extra_pnginfo": {"workflow": WORKFLOW}}}
    return SaveMp4.PREPARE_CLASS_CLONE(as_v3_data(hidden)).execute(video, **{**SETTINGS, **changes})


def as_v3_data(hidden):
    from comfy_api.latest import io

    return {"hidden_inputs": {io.Hidden[name]: value for name, value in hidden["hidden_inputs"].items()}}


def path_of(output) -> Path:
    saved = output.ui.as_dict()["images"][0]
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def frames(count=5, height=32, width=48):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(1))


def metadata_of(path):
    with av.open(str(path)) as container:
        return dict(container.metadata)


def test_result_has_the_shape_that_clients_know():
    output = save(frames())
    assert output.ui.as_dict()["animated"] == (True,)
    assert set(output.ui.as_dict()["images"][0]) == {"filename", "subfolder", "type"}
    assert output[0].get_dimensions() == (48, 32)


def test_each_save_gets_a_name_of_its_own():
    first, second = path_of(save(frames())), path_of(save(frames()))
    assert first != second
    assert first.suffix == ".mp4"
    assert first.parent.name == "video"


def test_a_name_with_spaces_and_chinese_characters():
    path = path_of(save(frames(), filename_prefix="我的 clips/小猫 %width%x%height%"))
    assert path.name == "小猫 48x32_00001_.mp4"
    assert path.is_file()


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_plays_everywhere(codec):
    path = path_of(save(frames(17, 64, 64), codec=codec))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        assert (
            stream.codec_context.name.replace("libdav1d", "av1")
            == {"h264": "h264", "h265": "hevc", "av1": "av1"}[codec]
        )
        assert stream.pix_fmt == "yuv420p"
        assert stream.average_rate == 16
    assert len(decoded) == 17
    assert {frame.colorspace for frame in decoded} == {av.video.reformatter.Colorspace.ITU709}


def test_workflow_is_where_comfyui_looks_for_it():
    notes = metadata_of(path_of(save(frames())))
    assert json.loads(notes["workflow"]) == WORKFLOW
    assert json.loads(notes["prompt"]) == PROMPT


def test_recipe_leaves_the_graph_out():
    notes = metadata_of(path_of(save(frames(), metadata="recipe")))
    assert json.loads(notes["recipe"]) == {
        "clip": {"width": 48, "height": 32, "fps": 16.0, "codec": "h264", "crf": 18},
        "models": {},
        "1 Wan22Turbo_Sampler": {"seed": 5, "steps": 4},
    }
    assert not {"prompt", "workflow"} & set(notes)


def test_none_leaves_everything_out():
    assert not {"prompt", "workflow", "recipe"} & set(metadata_of(path_of(save(frames(), metadata="none"))))


def test_a_video_keeps_its_own_rate_and_sound():
    sound = {"waveform": torch.zeros(1, 2, 48000), "sample_rate": 48000}
    parts = Types.VideoComponents(images=frames(12), audio=sound, frame_rate=Fraction(24))
    path = path_of(save(InputImpl.VideoFromComponents(parts)))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 24
        assert container.streams.audio[0].codec_context.name == "aac"


def test_connected_audio_is_cut_to_the_clip():
    tone = torch.sin(torch.arange(96000) * 0.05).expand(1, 2, -1)
    path = path_of(save(frames(16), audio={"waveform": tone, "sample_rate": 48000}))
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(container.streams.audio[0]))
    assert 48000 <= samples <= 48000 + 2048  # AAC comes in frames of 1024


def test_an_odd_size_loses_a_row_and_says_so(caplog):
    assert save(frames(2, 33, 49))[0].get_dimensions() == (48, 32)
    assert "MP4 needs even sides; 49x33 is saved as 48x32." in caplog.text


def test_frames_with_alpha_are_saved_without_it():
    assert save(torch.rand(2, 32, 32, 4))[0].get_dimensions() == (32, 32)


def test_an_interrupt_while_encoding_leaves_no_file():
    folder = Path(folder_paths.get_output_directory()) / "stopped"

    comfy.model_management.interrupt_current_processing()
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            save(frames(3), filename_prefix="stopped/clip")
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert list(folder.iterdir()) == []


def test_colours_survive():
    colour = torch.tensor([0.8, 0.5, 0.4])  # skin, where BT.601 and BT.709 differ by ten levels
    path = path_of(save(colour.expand(3, 64, 64, 3)))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        pixels = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert np.abs(pixels.mean((0, 1)) - 255 * colour.numpy()).max() < 1.5
