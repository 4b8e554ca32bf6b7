"""Videos that fit are copied packet by packet; others say why they do not."""

import io
import os
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from pack.media.audio import Audio
from pack.media.mp4 import Mp4Writer
from pack.media.remux import copy_mp4, frame_count, misfit
from pack.media.resolution import Size

TONE = Audio(0.3 * np.sin(np.arange(96_000) * 0.05)[None], 48_000)


@pytest.fixture
def source(tmp_path):
    """Makes a clip of 20 frames that move, with sound and somebody else's metadata."""

    def make(codec="h264", audio=TONE):
        path = tmp_path / "source.mp4"
        frame = np.random.default_rng(0).random((96, 128, 3), dtype=np.float32)
        with Mp4Writer(path, Size(128, 96), 24, codec, metadata={"prompt": "secret"}, audio=audio) as video:
            for shift in range(20):
                video.write(np.roll(frame, shift, axis=1))
        return path

    return make


def probe(path):
    """Returns what a player sees, and every packet."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        facts = (context.codec_tag, stream.average_rate, stream.start_time, stream.duration * stream.time_base)
        colours = (context.colorspace, context.color_range, context.profile)
        packets = [(float(p.pts * p.time_base), bytes(p)) for p in file.demux(stream) if p.dts is not None]
        return (*facts, *colours), packets


def sounds(path):
    with av.open(str(path)) as file:
        return [(s.codec_context.name, float(s.duration * s.time_base)) for s in file.streams.audio]


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_a_copy_has_the_same_packets_tags_and_times(tmp_path, source, codec):
    path = source(codec)
    assert misfit(path, codec) is None
    copy_mp4(path, tmp_path / "copy.mp4", {"workflow": "{}"})
    assert probe(tmp_path / "copy.mp4") == probe(path)
    assert sounds(tmp_path / "copy.mp4") == sounds(path)
    data = (tmp_path / "copy.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_only_this_graphs_metadata_is_in_a_copy(tmp_path, source):
    copy_mp4(source(), tmp_path / "copy.mp4", {"workflow": "{}"})
    with av.open(str(tmp_path / "copy.mp4")) as file:
        assert file.metadata["workflow"] == "{}"
        assert "prompt" not in file.metadata


def test_connected_sound_takes_the_place_of_the_videos_own(tmp_path, source):
    copy_mp4(source(), tmp_path / "copy.mp4", {}, Audio(np.zeros((2, 441_000)), 44_100))
    ((name, seconds),) = sounds(tmp_path / "copy.mp4")
    assert name == "aac"
    assert abs(seconds - 20 / 24) < 1 / 44_100
    assert probe(tmp_path / "copy.mp4")[1] == probe(tmp_path / "source.mp4")[1]


def test_sound_that_aac_cannot_hold_is_refused_and_gaps_in_it_are_silence(tmp_path, source):
    path = source()
    with pytest.raises(ValueError, match="1 to 8 channels"):
        copy_mp4(path, tmp_path / "copy.mp4", {}, Audio(np.zeros((9, 100)), 48_000))
    assert os.listdir(tmp_path) == ["source.mp4"]
    copy_mp4(path, tmp_path / "copy.mp4", {}, Audio(np.full((1, 48_000), np.nan), 48_000))
    with av.open(str(tmp_path / "copy.mp4")) as file:
        assert not any(frame.to_ndarray().any() for frame in file.decode(audio=0))


def test_a_file_in_memory_is_copied_too(tmp_path, source):
    held = io.BytesIO(source().read_bytes())
    assert misfit(held, "h264") is None
    assert frame_count(held) == 20
    copy_mp4(held, tmp_path / "copy.mp4", {})
    assert probe(tmp_path / "copy.mp4") == probe(tmp_path / "source.mp4")


def test_a_stopped_copy_leaves_nothing(tmp_path, source):
    path = source()
    with pytest.raises(KeyboardInterrupt):
        copy_mp4(path, tmp_path / "copy.mp4", {}, on_frame=stop)
    assert os.listdir(tmp_path) == ["source.mp4"]


def stop():
    raise KeyboardInterrupt


def foreign(path, codec="libx264", pix_fmt="yuv420p", sound=None, first=0, **options):
    """Writes a clip as other programs do."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=16)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pix_fmt
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 16)
        voice = file.add_stream(sound, rate=48_000) if sound else None
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 40 * number, np.uint8), format="rgb24")
            frame.pts = first + number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if voice:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 9216), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 48_000
            file.mux(voice.encode(silence))
            file.mux(voice.encode(None))
    return path


BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("a.mp4", BT709, None),
        ("a.mov", BT709, None),
        ("a.mkv", BT709, "its container is matroska,webm"),
        ("a.mp4", {}, "it is not tagged as limited-range BT.709"),
        ("a.mp4", {**BT709, "colorspace": "smpte170m"}, "it is not tagged as limited-range BT.709"),
        ("a.mp4", {**BT709, "color_range": "pc"}, "its pixels are yuvj420p"),
        ("a.mp4", {**BT709, "pix_fmt": "yuv444p"}, "its pixels are yuv444p"),
        ("a.mp4", {**BT709, "pix_fmt": "yuv420p10le"}, "its pixels are yuv420p10le"),
        ("a.mp4", {**BT709, "codec": "libx265"}, "it is not H.264 in the form that every player takes (avc1)"),
        ("a.mp4", {**BT709, "sound": "libmp3lame"}, "its sound is mp3float"),
    ],
)
def test_what_does_not_fit_says_why(tmp_path, name, settings, reason):
    path = foreign(tmp_path / name, **settings)
    assert misfit(path, "h264") == reason
    if settings.get("sound"):
        assert misfit(path, "h264", keep_sound=False) is None


def test_frames_that_an_edit_list_hides_stay_hidden(tmp_path):
    path = foreign(tmp_path / "a.mp4", first=-2, **BT709)
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == 1
    assert misfit(path, "h264") == "it has frames that its edit list hides"


def test_a_turned_video_does_not_fit(tmp_path):
    path = foreign(tmp_path / "a.mp4", **BT709)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # version 0: 4 bytes of type, then 40 of fields
    turned = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    path.write_bytes(data)
    assert misfit(path, "h264") in ("it is turned by -90 degrees", "it is turned by 90 degrees")


def test_h265_that_quicktime_refuses_does_not_fit(tmp_path):
    path = foreign(tmp_path / "a.mp4", codec="libx265", **BT709)  # tagged hev1
    assert misfit(path, "h265") == "it is not H.265 in the form that every player takes (hvc1)"


def test_what_is_no_video_does_not_fit(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a video")
    assert misfit(path, "h264") == "it cannot be read: Invalid data found when processing input"


def test_a_profile_that_browsers_do_not_play_does_not_fit(tmp_path):
    path = foreign(tmp_path / "lossless.mp4", qp="0")
    assert misfit(path, "h264") == "its profile is High 4:4:4 Predictive, which not every player takes"


def test_a_file_that_was_cut_off_does_not_fit(tmp_path, source):
    whole = source(audio=None).read_bytes()  # the index comes first
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    reason = misfit(cut, "h264")
    assert reason is not None
    assert re.fullmatch(r"it is cut off after \d+ of its 20 frames|it cannot be read: .*", reason)
