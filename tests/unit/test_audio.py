"""Sound beside a video, written, read back and listened to."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
from pack.media.audio import Audio, clean_audio
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size


def write(path: Path, frames: int, audio: Audio) -> Path:
    with Mp4Writer(path, Size(64, 48), audio=audio) as video:
        for _ in range(frames):
            video.write(np.zeros((48, 64, 3), dtype=np.float32))
    return path


def tone(seconds: float, rate: int, channels: int = 1) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return Audio(np.tile(wave, (channels, 1)), rate)


@pytest.mark.parametrize(
    ("audio", "layout", "rate", "seconds"),
    [
        (tone(5, 44100), "mono", 44100, 2.0),  # cut where the video ends
        (tone(5, 48000, channels=2), "stereo", 48000, 2.0),
        (tone(5, 22000), "mono", 48000, 2.0),  # a rate that AAC does not know
        (tone(1, 44100), "mono", 44100, 1.0),  # a shorter one ends early
    ],
)
def test_sound_ends_with_the_video(tmp_path, audio, layout, rate, seconds):
    with av.open(str(write(tmp_path / "clip.mp4", 32, audio))) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        assert video.duration * video.time_base == 2
        assert (sound.codec_context.name, sound.rate, sound.layout.name) == ("aac", rate, layout)
        assert math.isclose(sound.duration * sound.time_base, seconds, abs_tol=1 / rate)
        heard = np.concatenate([frame.to_ndarray() for frame in file.decode(sound)], axis=1)
    spectrum = np.abs(np.fft.rfft(heard[0, :rate]))
    assert abs(int(spectrum.argmax()) - 440) <= 1


def test_sound_with_gaps_is_silence_there(tmp_path):
    audio = tone(1, 48000)
    audio.waveform[:, 1000:2000] = np.nan
    with av.open(str(write(tmp_path / "clip.mp4", 16, audio))) as file:
        assert np.isfinite(np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)).all()


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (Audio(np.zeros((9, 100)), 48000), r"with 1 to 8 channels, got the shape \[9, 100\]"),
        (Audio(np.zeros((0, 100)), 48000), r"with 1 to 8 channels, got the shape \[0, 100\]"),
        (Audio(np.zeros(100), 48000), r"with 1 to 8 channels, got the shape \[100\]"),
        (Audio(np.zeros((1, 100)), 0), "Audio has 8000 to 192000 samples per second, got 0"),
    ],
)
def test_refuses_what_aac_cannot_hold(audio, message):
    with pytest.raises(ValueError, match=message):
        clean_audio(audio)
