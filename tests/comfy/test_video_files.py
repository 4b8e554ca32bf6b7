"""Save MP4 with videos of other programs: what they bring is in the clip, or the node says that it is not."""

import io as memory
from fractions import Fraction
from pathlib import Path

import av
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types, io
from pack.nodes.video import SaveMp4
from pack.tests.toy.video_node import SETTINGS, save, save_video
from pack.tests.toy.videos import BT709, HLG, PQ, Voice, make, see, turn

pytestmark = pytest.mark.comfy
UNEVEN = [0, 1, 2, 10, 11, 30, 32, 33, 34, 47]  # in sixteenths; a frame is due at 2.00 s


@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_a_frame_due_at_two_seconds_comes_at_two_seconds(tmp_path, codec):
    source = make(tmp_path / "a.mp4", UNEVEN)
    path, said = save(source, codec=codec, always_encode=True)
    assert see(path).times == [Fraction(time, 16) for time in UNEVEN]
    assert said.startswith("Encoded again: always_encode is on.")


@pytest.mark.parametrize("tick", [Fraction(1, 16), Fraction(1, 90_000), Fraction(1, 1_000)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_uneven_times_are_kept_in_any_unit_whether_copied_or_encoded(tmp_path, tick, name):
    times = [round(time / 16 / tick) for time in UNEVEN]
    source = make(tmp_path / name, times, tick, last=round(1 / 4 / tick))
    due = see(source)
    for always in (False, True):
        seen = see(save(source, always_encode=always)[0])
        assert [float(time) for time in seen.times] == pytest.approx([float(time) for time in due.times], abs=1e-5)
        if name != "a.mkv":  # which does not say when its last frame ends
            assert float(seen.seconds) == pytest.approx(47 / 16 + 1 / 4, abs=1e-3)


@pytest.mark.parametrize(("rate", "exact"), [(Fraction(24000, 1001), True), (Fraction(30000, 1001), True), (25, True)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_even_times_stay_exactly_even_though_a_container_rounds_them(tmp_path, rate, exact, name):
    source = make(tmp_path / name, range(40), 1 / Fraction(rate), rate)
    seen = see(save(source, always_encode=True)[0])
    assert seen.stream["rate"] == rate
    assert seen.times == [number / Fraction(rate) for number in range(40)]


def test_a_slow_slide_show_keeps_its_times(tmp_path):
    source = make(tmp_path / "a.mp4", [0, 5, 9, 14], Fraction(1, 1), 1, last=3)
    seen = see(save(source, always_encode=True)[0])
    assert (seen.times, seen.seconds) == ([0, 5, 9, 14], 17)


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("held", ["path", "memory"])
def test_pixels_that_are_not_square_stay_so(tmp_path, always, held):
    source = make(tmp_path / "a.mp4", aspect=Fraction(16, 11))
    given = source if held == "path" else memory.BytesIO(source.read_bytes())
    path, said = save(given, always_encode=always)
    assert see(path).stream["aspect"] == Fraction(16, 11)
    assert ("Copied" in said) != always


@pytest.mark.parametrize("codec", ["h265", "av1"])
def test_pixels_that_are_not_square_stay_so_in_every_codec(tmp_path, codec):
    assert see(save(make(tmp_path / "a.mp4", aspect=Fraction(4, 3)), codec=codec)[0]).stream["aspect"] == Fraction(4, 3)


@pytest.mark.parametrize("tick", [Fraction(1, 16), Fraction(1, 90_000)])
@pytest.mark.parametrize("uneven", [False, True])
def test_a_part_of_a_video_has_its_own_frames_and_sound(tmp_path, tick, uneven):
    due = UNEVEN if uneven else list(range(48))
    source = make(tmp_path / "a.mp4", [round(time / 16 / tick) for time in due], tick, voices=[Voice(seconds=3.0)])
    part = InputImpl.VideoFromFile(str(source)).as_trimmed(0.625, 1.5, strict_duration=False)
    path, said = save_video(part)
    seen = see(path)
    inside = [time for time in due if 10 <= time < 34]
    assert [float(time) for time in seen.times] == pytest.approx([(time - inside[0]) / 16 for time in inside], abs=1e-5)
    with av.open(str(path)) as file:
        assert float(file.streams.audio[0].duration * file.streams.audio[0].time_base) == pytest.approx(1.5, abs=0.03)
    assert "Encoded again: a part of it was chosen." in said


COLOURS = [
    ({"matrix": "bt709"}, ""),
    ({"matrix": "smpte170m", "colorspace": "smpte170m", "color_range": "tv"}, ""),
    ({"matrix": "smpte170m"}, ""),  # does not say, which is BT.601
    ({"matrix": "bt709", "full": True, "color_range": "pc"}, ""),
    ({"matrix": "bt709", "pix_fmt": "yuv420p10le"}, "10 bits per colour became 8."),
    ({"matrix": "bt709", "pix_fmt": "yuv420p10le", "full": True, "codec": "libx265", "color_range": "pc"}, "10 bits"),
    ({"matrix": "bt709", "pix_fmt": "yuv444p"}, ""),
    ({"matrix": "bt709", "pix_fmt": "yuv422p10le"}, "10 bits per colour became 8."),
]


@pytest.mark.parametrize(("settings", "word"), COLOURS)
@pytest.mark.parametrize("size", [(96, 64), (66, 50)])
def test_colours_are_those_that_the_file_means(tmp_path, settings, word, size):
    path, said = save(make(tmp_path / "a.mkv", size=size, **settings))
    seen = see(path)
    assert seen.stream["colours"] == (1, 1, 1, 1)
    assert seen.luma[0] == pytest.approx(16 + 219 * (0.2126 * 0.8 + 0.7152 * 0.5 + 0.0722 * 0.4), abs=1.0)
    with av.open(str(path)) as file:
        cb, cr = (np.frombuffer(memoryview(plane), np.uint8)[0] for plane in next(file.decode(video=0)).planes[1:])
    luma = 0.2126 * 0.8 + 0.7152 * 0.5 + 0.0722 * 0.4
    assert [cb, cr] == pytest.approx([128 + 224 * (0.4 - luma) / 1.8556, 128 + 224 * (0.8 - luma) / 1.5748], abs=1.5)
    assert word in said
    assert word or "became" not in said


@pytest.mark.parametrize(("tags", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_is_copied_in_its_own_codec_and_converted_with_a_word_in_another(tmp_path, tags, name):
    grey = (0.58, 0.58, 0.58) if name == "PQ" else (0.75, 0.75, 0.75)  # white of 203 cd/m2 in both
    settings = {"codec": "libx265", "pix_fmt": "yuv420p10le", "matrix": "bt2020nc", "rgb": grey, "tag": "hvc1", **tags}
    source = make(tmp_path / "a.mp4", **settings)
    path, said = save(source, codec="h265")
    assert said == "Copied without encoding again: crf was not used."
    assert see(path).stream["colours"] == see(source).stream["colours"]
    path, said = save(source)
    assert f"The video is HDR ({name}): its highlights were brought below the white of ordinary video." in said
    assert "Codec h265 copies such a video where it can." in said
    assert see(path).stream["colours"] == (1, 1, 1, 1)
    taken_as_it_is = 16 + 219 * grey[0]
    assert see(path).luma[0] > taken_as_it_is + 15  # white is bright, not grey


@pytest.mark.parametrize(
    "matrix", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0)]
)
def test_a_turned_or_mirrored_video_is_upright(tmp_path, matrix):
    picture = np.full((64, 96), 60, np.uint8)
    picture[:32, :48] = 200  # a bright corner, top left
    source = turn(make(tmp_path / "a.mp4", picture=picture, rgb=(0.4, 0.4, 0.4), aspect=Fraction(2, 1)), matrix)
    path, _ = save(source, always_encode=True)
    seen = see(path)
    a, b, c, d = matrix
    swapped = b != 0
    assert seen.stream["size"] == ((64, 96) if swapped else (96, 64))
    assert seen.stream["aspect"] == (Fraction(1, 2) if swapped else 2)
    with av.open(str(path)) as file:
        shown = next(file.decode(video=0)).to_ndarray(format="gray")
    right, below = (c if swapped else a) < 0, (b if swapped else d) < 0  # where top and left go
    rows, columns = shown.shape
    quarter = shown[below * rows // 2 :, right * columns // 2 :][: rows // 2, : columns // 2]
    assert quarter.mean() > 150
    assert (shown.sum() - quarter.sum()) / (shown.size - quarter.size) < 80


def test_interlaced_pictures_are_said(tmp_path):
    source = make(tmp_path / "a.mkv", interlaced=True, **{"x264-params": "tff=1"})
    assert "The video is interlaced" in save(source)[1]


def test_what_else_a_file_holds_is_said(tmp_path):
    source = make(tmp_path / "a.mkv")
    with av.open(str(source)) as one, av.open(str(source)) as other, av.open(str(tmp_path / "b.mkv"), "w") as both:
        targets = [both.add_stream_from_template(file.streams.video[0], opaque=True) for file in (one, other)]
        for file, target in zip((one, other), targets, strict=True):
            for packet in file.demux(video=0):
                if packet.dts is not None:
                    packet.stream = target
                    both.mux(packet)
    said = save(tmp_path / "b.mkv")[1]
    assert "Left out, as only pictures and sound are saved: 1 further video." in said


def test_frames_say_what_a_video_does_not_hold(caplog):
    frames = torch.rand(3, 33, 48, 4)
    sound = {"waveform": torch.zeros(2, 7, 48_000), "sample_rate": 48_000}
    _, said = save_video(frames, audio=sound)
    assert said.splitlines() == [
        "MP4 needs even sides; 48x33 is saved as 48x32.",
        "Transparency (alpha) is not saved: MP4 has none. Colours are saved as they are under it.",
        "There are 2 sounds in a batch: the first is saved.",
        "The sound's channels (6.1) are mixed to 5.1, the most that players know.",
    ]
    for line in said.splitlines():
        assert line in caplog.text


def test_frames_that_fit_say_nothing():
    hidden = {io.Hidden.prompt: {}, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "1"}
    output = SaveMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden}).execute(torch.rand(3, 32, 48, 3), **SETTINGS)
    shown = output.ui.as_dict()
    assert "text" not in shown


def test_grey_frames_are_saved():
    path, said = save_video(torch.full((3, 32, 48, 1), 0.5))
    assert said == ""
    assert see(path).luma == pytest.approx([125.5] * 3, abs=1)


@pytest.mark.skipif(not hasattr(InputImpl.VideoFromComponents, "get_bit_depth"), reason="this ComfyUI makes 8 bits")
def test_ten_bits_of_create_video_are_said():
    parts = Types.VideoComponents(images=torch.rand(3, 32, 48, 3), frame_rate=Fraction(23.976))
    path, said = save_video(InputImpl.VideoFromComponents(parts, bit_depth=10))
    assert said == "10 bits per colour became 8."
    assert see(path).stream["rate"] == Fraction(24000, 1001)


def test_nan_in_the_frames_leaves_no_clip():
    frames = torch.rand(3, 32, 48, 3)
    frames[2, 4, 5, 0] = torch.nan
    with pytest.raises(ValueError, match=r"There is NaN in frame 3, row 5, column 6, .*No clip was written"):
        save_video(frames, filename_prefix="nan/clip")
    assert not list((Path(folder_paths.get_output_directory()) / "nan").glob("*"))


def test_generations_of_encoding_do_not_darken(tmp_path):
    path = make(tmp_path / "a.mp4", range(4), rgb=(0.7, 0.45, 0.3))
    before = see(path).luma[0]
    for _ in range(4):
        path, _ = save(path, always_encode=True)
    assert see(path).luma[0] == pytest.approx(before, abs=0.5)


def test_tags_of_bt709_are_what_the_fixtures_write(tmp_path):
    assert see(make(tmp_path / "a.mp4", **BT709)).stream["colours"] == (1, 1, 1, 1)
