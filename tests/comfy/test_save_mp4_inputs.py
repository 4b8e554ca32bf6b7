"""Save MP4 and what people connect to it: odd tensors, odd names, sound that does not fit, videos that do."""

import json
import time
from fractions import Fraction
from pathlib import Path

import av
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types, io
from pack.nodes.decode import DecodeMp4
from pack.nodes.saving import SaveSettings
from pack.nodes.video import SaveMp4

pytestmark = pytest.mark.comfy

WORKFLOW = {"nodes": [{"id": 1, "title": "小猫"}]}
SETTINGS = {"fps": 16.0, "filename_prefix": "inputs/clip", "codec": "h264", "crf": 18, "metadata": "workflow"}


def save(video, prompt=None, **changes) -> Path:
    hidden = {io.Hidden.prompt: prompt or {}, io.Hidden.extra_pnginfo: {"workflow": WORKFLOW}}
    output = SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(video, **{**SETTINGS, **changes})
    saved = output.ui.as_dict()["images"][0]
    return Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"]


def ramp(count=5, dtype=torch.float32, device="cpu"):
    """Frames of a grey ramp, whose every value each type of float can hold."""
    row = torch.linspace(0, 1, 65)[:64].expand(count, 48, 64)
    return row[..., None].repeat(1, 1, 1, 3).to(device, dtype)


def planes(path):
    """The luma of all frames, as stored."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray()[: frame.height] for frame in file.decode(video=0)]).astype(int)


def packets(path):
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(video=0)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_of_the_frames_does_not_matter(dtype):
    np.testing.assert_array_equal(planes(save(ramp(dtype=dtype))), planes(save(ramp())))


@pytest.mark.gpu
def test_frames_on_a_gpu():
    np.testing.assert_array_equal(planes(save(ramp(device="cuda"))), planes(save(ramp())))


def test_frames_in_any_memory_layout():
    planar = ramp().permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    np.testing.assert_array_equal(planes(save(planar)), planes(save(ramp())))


def test_values_outside_the_range_are_clamped():
    wild = ramp(3) * 4 - 2
    tame = wild.clamp(0, 1)
    np.testing.assert_array_equal(planes(save(wild)), planes(save(tame)))


@pytest.mark.parametrize(("height", "width", "saved"), [(33, 48, (48, 32)), (32, 49, (48, 32)), (17, 17, (16, 16))])
def test_odd_sizes(height, width, saved):
    with av.open(str(save(torch.rand(2, height, width, 3)))) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == saved


def test_what_is_too_small_is_said():
    with pytest.raises(ValueError, match=r"even sides of at least 16 pixels, got 8x8\. Resize the frames"):
        save(torch.rand(2, 8, 9, 3))


def test_no_frame_is_said():
    with pytest.raises(ValueError, match="A video needs at least one frame, got none"):
        save(torch.rand(0, 32, 32, 3))


@pytest.mark.parametrize(("seconds", "heard"), [(3.0, 1.0), (0.25, 0.25)])
def test_sound_longer_and_shorter_than_the_clip(seconds, heard):
    tone = torch.sin(torch.arange(int(48_000 * seconds)) * 0.05).expand(1, 2, -1)
    with av.open(str(save(ramp(16), audio={"waveform": tone, "sample_rate": 48_000}))) as file:
        assert file.streams.video[0].duration * file.streams.video[0].time_base == 1
        assert abs(file.streams.audio[0].duration * file.streams.audio[0].time_base - heard) < 0.001


def test_sound_that_holds_none_is_said():
    with pytest.raises(ValueError, match=r"audio holds no sound, but an empty batch\. Look at the node"):
        save(ramp(), audio={"waveform": torch.zeros(0, 2, 100), "sample_rate": 48_000})
    sound = {"waveform": torch.zeros(1, 2, 0), "sample_rate": 48_000}
    assert SaveSettings(**SETTINGS, audio=sound).notes_on_sound() == ["The sound has no samples: the clip is silent."]


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_of_whole_numbers_do_not_become_white(channels):
    frames = (ramp(2)[..., :channels] * 255).to(torch.uint8)
    with pytest.raises(ValueError, match=r"A frame must hold floating-point numbers in 0\.\.1, got uint8\. Look at"):
        save(frames, filename_prefix="whole/clip")
    assert not list((Path(folder_paths.get_output_directory()) / "whole").iterdir())


@pytest.mark.parametrize("prefix", ["../outside", "video/../../outside", "/tmp/outside"])
def test_a_name_outside_the_output_folder_is_refused(prefix):
    with pytest.raises(ValueError, match=r"saved below ComfyUI's output folder, and '.*outside' leads out") as failure:
        save(ramp(), filename_prefix=prefix)
    assert folder_paths.get_output_directory() not in str(failure.value)


def test_a_name_that_goes_up_and_comes_back_is_fine():
    assert save(ramp(), filename_prefix="a/../inputs/back").parent.name == "inputs"


def test_a_date_in_the_name():
    path = save(ramp(), filename_prefix="inputs/%year%-%month%-%day%/clip_%height%")
    assert path.parent.name == time.strftime("%Y-%m-%d")
    assert path.name == "clip_48_00001_.mp4"


def saved_video(**changes):
    """A VIDEO as Load Video gives it: a file of ours."""
    return InputImpl.VideoFromFile(str(save(torch.rand(12, 64, 96, 3), **changes)))


def test_a_video_that_fits_is_copied_and_carries_this_graph(caplog):
    source = saved_video(metadata="none", crf=30)
    with caplog.at_level("INFO"):
        path = save(source, crf=18)
    assert packets(path) == packets(source.get_stream_source())
    assert "copied without encoding it again" in caplog.text
    with av.open(str(path)) as file:
        assert json.loads(file.metadata["workflow"]) == WORKFLOW


def test_a_copy_leaves_the_sources_metadata_behind():
    with av.open(str(save(saved_video(metadata="workflow"), metadata="none"))) as file:
        assert "workflow" not in file.metadata


def test_a_copy_takes_connected_sound():
    path = save(saved_video(), audio={"waveform": torch.zeros(1, 1, 48_000), "sample_rate": 48_000})
    with av.open(str(path)) as file:
        assert file.streams.audio[0].duration * file.streams.audio[0].time_base == Fraction(12, 16)


def test_a_video_is_encoded_again_where_that_is_asked_for():
    source = saved_video(crf=10)
    path = save(source, always_encode=True, crf=40)
    assert sum(map(len, packets(path))) < sum(map(len, packets(source.get_stream_source()))) / 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda video: video.as_trimmed(0.25, 0.25), "a part of it was chosen"),
        (lambda video: video, "it is not H.265 in the form that every player takes"),
    ],
    ids=["trimmed", "codec"],
)
def test_a_video_that_does_not_fit_is_encoded_and_the_log_says_why(change, reason, caplog):
    with caplog.at_level("INFO"):
        path = save(change(saved_video()), codec="h265" if "H.265" in reason else "h264")
    assert f"The video is encoded again: {reason}" in caplog.text
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames == (4 if "part" in reason else 12)


def test_a_video_of_tensors_is_encoded():
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=ramp(4), frame_rate=Fraction(24)))
    assert len(planes(save(video))) == 4


def nvenc_works():
    from pack.media.codecs import check_available

    try:
        check_available("h264", "nvenc")
    except RuntimeError:
        return False
    return True


def test_the_recipe_names_the_frame_rate_that_the_file_has():
    measured = Fraction(359_999, 15_001)  # of a file whose frames do not come evenly
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=ramp(4), frame_rate=measured))
    path = save(video, prompt={"1": {"class_type": "LoadVideo", "inputs": {}}}, metadata="recipe")
    with av.open(str(path)) as file:
        told = json.loads(file.metadata["recipe"])["clip"]["fps"]
        assert told == float(file.streams.video[0].average_rate)


@pytest.mark.parametrize("node", [SaveMp4, DecodeMp4])
@pytest.mark.skipif(nvenc_works(), reason="this machine encodes on its card")
def test_nvenc_that_is_not_there_is_refused_before_anything_runs(node):
    said = node.validate_inputs(codec="h264", encoder="nvenc")
    assert said.startswith("h264_nvenc needs an NVIDIA card that encodes H.264 at 640x480, and its driver")
    assert said.endswith("Choose the encoder cpu.")
    with pytest.raises(RuntimeError, match=r"at 64x48.*Choose the encoder cpu\."):
        save(ramp(), encoder="nvenc")


@pytest.mark.skipif(not nvenc_works(), reason="needs a card that encodes")
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_nvenc_encodes_what_the_processor_does(codec):
    frames = torch.rand(20, 256, 256, 3).cumsum(1) / 256
    on_card, on_cpu = (planes(save(frames, codec=codec, encoder=encoder)) for encoder in ("nvenc", "cpu"))
    assert np.abs(on_card - on_cpu).mean() < 3


def test_settings_are_checked_before_anything_runs():
    assert SaveMp4.validate_inputs(codec="h264") is True
    assert SaveMp4.validate_inputs(codec=None, encoder=None) is True
    assert SaveMp4.validate_inputs(codec="vp9") == "Codec is one of h264, h265, av1, got 'vp9'."
    assert SaveMp4.validate_inputs(codec="av1", encoder="qsv") == "Encoder is one of cpu, nvenc, got 'qsv'."
