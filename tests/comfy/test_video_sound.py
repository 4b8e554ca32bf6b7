"""The sound of a video that Save MP4 copies or encodes."""

import av
import numpy as np
import pytest
import torch
from pack.tests.toy.video_node import save, save_video
from pack.tests.toy.videos import Voice, make, see

pytestmark = pytest.mark.comfy


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("layout", ["mono", "stereo", "3.0", "5.0", "5.1"])
def test_all_channels_are_kept(tmp_path, always, layout):
    count = av.AudioLayout(layout).nb_channels
    source = make(tmp_path / "a.mp4", voices=[Voice(layout=layout)])
    ((codec, kept, start, peaks, _),) = see(save(source, always_encode=always)[0]).sounds
    assert (codec, kept) == ("aac", layout)
    assert abs(start) < 0.001
    wanted = [200 * (channel + 1) for channel in range(count)]
    assert [peak for n, peak in enumerate(peaks) if n != 3] == [
        peak for n, peak in enumerate(wanted) if n != 3
    ]  # 3: LFE


@pytest.mark.parametrize(
    ("codec", "layout", "kept", "word"),
    [
        ("ac3", "5.1(side)", "5.1", "Sound track 1 was ac3 and is AAC now."),
        ("flac", "5.0", "5.0", "Sound track 1 was flac and is AAC now."),
    ],
)
def test_other_sound_becomes_aac_with_a_word(tmp_path, codec, layout, kept, word):
    path, said = save(make(tmp_path / "a.mkv", voices=[Voice(codec, layout)]))
    assert [sound[:2] for sound in see(path).sounds] == [("aac", kept)]
    assert word in said


@pytest.mark.parametrize("always", [False, True])
def test_every_sound_track_is_kept_with_its_language_and_beginning(tmp_path, always):
    voices = [Voice(pitch=200, language="deu"), Voice(pitch=400, start=0.25, seconds=0.7, language="jpn")]
    source = make(tmp_path / "a.mp4", voices=voices)
    first, second = see(save(source, always_encode=always)[0]).sounds
    assert (first[3], first[4]) == ([200, 400], "deu")
    assert (second[3], second[4]) == ([400, 800], "jpn")
    assert first[2] == pytest.approx(0, abs=0.001)
    assert second[2] == pytest.approx(0.25, abs=0.025)  # a packet of AAC is 21 ms


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(("picture", "sound"), [(0, 0.5), (8, 0.0)])
def test_sound_and_picture_that_begin_at_different_times_stay_so(tmp_path, name, picture, sound):
    times = range(picture, picture + 16)
    source = make(tmp_path / name, times, voices=[Voice(start=sound)])
    for always in (False, True):
        path, _ = save(source, always_encode=always)
        seen = see(path)
        assert float(seen.times[0]) - seen.sounds[0][2] == pytest.approx(picture / 16 - sound, abs=0.045)
        assert np.allclose(np.diff([float(time) for time in seen.times]), 1 / 16, atol=1.1e-3)


def test_sound_that_goes_on_after_the_pictures_is_kept(tmp_path):
    source = make(tmp_path / "a.mkv", voices=[Voice("flac", seconds=2.0)])
    with av.open(str(save(source)[0])) as file:
        assert float(file.streams.audio[0].duration * file.streams.audio[0].time_base) == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize("count", range(1, 9))
def test_sound_of_up_to_eight_channels(count):
    moments = torch.arange(48_000) / 48_000
    wave = torch.stack([0.2 * torch.sin(2 * torch.pi * 200 * (n + 1) * moments) for n in range(count)])[None]
    path, said = save_video(torch.rand(16, 32, 48, 3), audio={"waveform": wave, "sample_rate": 48_000})
    ((codec, layout, _, peaks, _),) = see(path).sounds
    assert codec == "aac"
    if count <= 6:
        assert layout == {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1"}[count]
        assert peaks[:3] == [200, 400, 600][:count]
        assert said == ""
    else:
        assert layout == "5.1"
        assert "are mixed to 5.1" in said


def test_more_channels_are_refused():
    sound = {"waveform": torch.zeros(1, 9, 4800), "sample_rate": 48_000}
    with pytest.raises(ValueError, match=r"with 1 to 8 channels, got the shape \[9, 4800\]\. Mix it down first"):
        save_video(torch.rand(3, 32, 48, 3), audio=sound)


def test_nan_in_the_sound_is_said():
    wave = torch.zeros(1, 1, 48_000)
    wave[0, 0, 100:110] = torch.nan
    _, said = save_video(torch.rand(16, 32, 48, 3), audio={"waveform": wave, "sample_rate": 48_000})
    assert "The sound holds NaN or infinity in 10 of its 48000 samples" in said
