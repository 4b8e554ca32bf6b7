"""Files that are read to be encoded again: the times of their frames, and files that are not in order."""

from fractions import Fraction

import av
import numpy as np
import pytest
from pack.media.audio_reading import counted_from, joined, notes_on, sounds_of, start_of
from pack.media.video_reading import Window, frames, look
from pack.tests.toy.videos import SIZE, Voice, make

CHANGING = {SIZE: range(8), (192, 128): range(8, 16)}  # its size -> when its frames are due, in sixteenths of a second


def test_a_file_without_times_has_even_frames(tmp_path):
    path = make(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", full=True)
    pictures = look(path)
    assert (pictures.rate, pictures.tick) == (16, None)
    assert len(list(frames(pictures))) == 16


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_file_that_is_cut_off_gives_what_is_there(tmp_path, name):
    path = make(tmp_path / name, range(40), g="4")
    data = path.read_bytes()
    if name == "a.mp4":  # its index is at the end, without which nobody reads it
        place = data.index(b"mdat") + 4
        path.write_bytes(data[: place + 300] + bytes(600) + data[place + 900 :])
    else:
        path.write_bytes(data[: len(data) // 2])
    got = list(frames(look(path)))
    assert 4 <= len(got) <= 40
    assert all(np.isfinite(rgb).all() for rgb, _, _ in got)


def test_times_that_repeat_are_put_after_each_other(tmp_path):
    path = make(tmp_path / "a.mkv", [0, 10, 20, 30, 5000], Fraction(1, 90_000))  # which counts milliseconds
    times = [time for _, time, _ in frames(look(path))]
    assert times == [0, 1, 2, 3, 56]


@pytest.mark.parametrize("count", [1, 16])
def test_a_last_frame_that_is_held_longer_keeps_its_duration(tmp_path, count):
    path = make(tmp_path / "a.mp4", range(count), last=24)
    pictures = look(path)
    assert pictures.tick is not None
    *_, (_, time, duration) = frames(pictures)
    assert (time * pictures.tick, duration * pictures.tick) == (Fraction(count - 1, 16), Fraction(3, 2))


def test_a_part_without_frames_is_said(tmp_path):
    path = make(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"holds no frame that can be decoded\. Choose another part"):
        look(path, Window(Fraction(50), Fraction(1)))


LAPPED = [("aac", "a.mp4"), ("mp2", "a.ts"), ("mp3", "a.avi")]
OPEN = "open-gop=1:keyint=16:min-keyint=16:bframes=3:b-adapt=0:scenecut=0"  # some frames come after the next key frame


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("first", [13, 15, 16, 30])
def test_a_part_begins_with_its_first_frame_wherever_the_key_frames_are(tmp_path, name, first):
    path = make(tmp_path / name, range(40), **{"x264-params": OPEN})
    begin = min(time for time in times_of(path)) + Fraction(first, 16)
    whole = [rgb.mean() for rgb, _, _ in frames(look(path))]
    part = look(path, Window(begin, Fraction(5, 16)))
    assert [rgb.mean() for rgb, _, _ in frames(part)] == whole[first : first + 5]
    assert part.count == 5


def times_of(path):
    with av.open(str(path)) as file:
        return [packet.pts * packet.time_base for packet in file.demux(video=0) if packet.pts is not None]


def test_a_file_without_a_video_is_said(tmp_path):
    from pack.tests.toy.videos import tone

    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        track = file.add_stream("aac", rate=48_000, layout="stereo")
        file.mux(track.encode(tone(Voice())))
        file.mux(track.encode(None))
    with pytest.raises(ValueError, match=r"This file has no video\. Choose another one"):
        look(path)


def test_a_file_without_sound_has_none(tmp_path):
    path = make(tmp_path / "a.mp4")
    assert (sounds_of(path), start_of([]), notes_on(path)) == ([], None, [])


@pytest.mark.parametrize(
    ("codec", "name"), [("aac", "a.mkv"), ("flac", "a.mkv"), ("pcm_s16le", "a.mov"), ("mp2", "a.ts")]
)
def test_decoded_sound_is_where_it_was(tmp_path, codec, name):
    path = make(tmp_path / name, range(32), voices=[Voice(codec, start=0.5)])
    first = look(path).zero
    (sound,) = counted_from(sounds_of(path), first)
    assert float(sound.start) == pytest.approx(0.5, abs=0.03)
    spectrum = np.abs(np.fft.rfft(sound.waveform[0, 4800:28_800]))
    assert 2 * int(spectrum.argmax()) == 200


def test_a_part_of_decoded_sound_is_cut_to_the_sample(tmp_path):
    path = make(tmp_path / "a.mkv", range(32), voices=[Voice("flac", seconds=2.0)])
    (sound,) = sounds_of(path, Window(Fraction(1, 2), Fraction(3, 4)))
    assert (sound.start, sound.waveform.shape) == (Fraction(1, 2), (2, 36_000))


@pytest.mark.parametrize(
    ("codec", "name", "first"),
    [
        *((codec, name, first) for codec, name in LAPPED for first in (1, 500, 30_001)),
        ("aac", "a.mkv", 1), ("aac", "a.mkv", 500),
    ],
)  # fmt: skip
def test_a_part_of_sound_begins_as_the_whole_sounds_there(tmp_path, codec, name, first):
    """Such codecs lay each packet over the one before, which has to be decoded too, also the one before the first."""
    path = make(tmp_path / name, voices=[Voice(codec, seconds=2.0)])
    (whole,) = sounds_of(path, Window(Fraction(0), Fraction(5)))
    (part,) = sounds_of(path, Window(whole.start + Fraction(first, 48_000), Fraction(1, 2)))
    assert part.waveform.shape[1] == 24_000
    np.testing.assert_allclose(part.waveform, whole.waveform[:, first : first + 24_000], atol=1e-4)


@pytest.mark.parametrize(("codec", "name"), [("aac", "a.mp4"), ("flac", "a.mkv"), ("mp2", "a.ts")])
def test_a_track_that_ended_before_the_part_is_not_in_it(tmp_path, codec, name):
    """It would be called silent, while the other one sounds."""
    path = make(tmp_path / name, range(48), voices=[Voice(codec), Voice(codec, seconds=3.0)])
    window = Window(look(path).zero + Fraction(11, 10), Fraction(1))
    sounds = sounds_of(path, window)
    assert [sound.waveform.shape[1] for sound in sounds] == [48_000]
    assert not any("silent" in note for note in notes_on(path, sounds))


def test_a_gap_that_no_memory_holds_is_an_error_in_the_times():
    wave = np.zeros((2, 480), np.float32)
    with pytest.raises(ValueError, match=r"pauses for 999999999 seconds.* 3600: .*Convert the video first"):
        joined([(Fraction(0), wave, 48_000, "stereo"), (Fraction(10**9), wave, 48_000, "stereo")])
    assert joined([(Fraction(0), wave, 48_000, "stereo"), (Fraction(1), wave, 48_000, "stereo")]).shape == (2, 48_480)


@pytest.mark.parametrize("size", [(192, 128), (48, 32), (64, 96)])
def test_frames_that_change_their_size_are_refused_and_none_is_cropped(tmp_path, size):
    """As in a recording of a window that somebody resizes, or of a telephone that is turned."""
    raw = b"".join(make(tmp_path / f"{each[0]}.h264", range(4), size=each).read_bytes() for each in (SIZE, size))
    (tmp_path / "a.h264").write_bytes(raw)
    pictures = look(str(tmp_path / "a.h264"))
    said = rf"The frames of this video change from 96x64 to {size[0]}x{size[1]} at frame 5, and a clip has one size\."
    with pytest.raises(ValueError, match=said):
        list(frames(pictures))


def test_a_part_of_one_size_is_read_whatever_the_size_before_it(tmp_path):
    parts = (make(tmp_path / f"{size[0]}.ts", times, size=size) for size, times in CHANGING.items())
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    pictures = look(str(tmp_path / "a.ts"), Window(Fraction(1, 2)))
    assert pictures.size == (192, 128)
    assert [frame.shape for frame, *_ in frames(pictures)] == [(128, 192, 3)] * 8
