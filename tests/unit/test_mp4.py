"""Files written, read back and probed for real."""

import json
import math
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from pack.media.codecs import CODECS, Codec, Encoder
from pack.media.colour import rgb_to_yuv420
from pack.media.mp4 import Mp4Writer, frame_rate
from pack.media.resolution import Size

SIZE = Size(96, 64)
BT709, LIMITED = 1, 1  # FFmpeg's numbers for the matrix, primaries and transfer, and for the range


def clip(count: int, size: Size = SIZE) -> np.ndarray:
    """A gradient with grain, drifting: float32[F, H, W, 3]. The grain is grey, as 4:2:0 would average colours away."""
    rng = np.random.default_rng(3)
    down, across = np.mgrid[0 : size.height, 0 : size.width] / max(size)
    colours = np.stack([0.2 + 0.6 * across, 0.3 + 0.4 * down, 0.7 - 0.5 * across * down], axis=-1)
    frames = [np.roll(colours, 2 * n, axis=1) + rng.normal(0, 0.02, (*colours.shape[:2], 1)) for n in range(count)]
    return np.clip(frames, 0, 1).astype(np.float32)


def write(path: Path, frames: np.ndarray, **settings) -> Path:
    size = Size(frames.shape[2], frames.shape[1])
    with Mp4Writer(path, size, **settings) as video:
        for frame in frames:
            video.write(frame)
    return path


def decode_planes(path: Path) -> list[list[np.ndarray]]:
    """Per frame: Y, Cb, Cr as stored."""
    with av.open(str(path)) as file:
        return [
            [np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes]
            for frame in file.decode(video=0)
        ]


def decode_exactly(path: Path) -> np.ndarray:
    """float64[F, H, W, 3]: BT.709 undone without rounding; chroma sits left, so columns between are blends."""
    frames = []
    for y, cb, cr in decode_planes(path):
        luma = (y.astype(np.float64) - 16) / 219
        blue, red = luma + 1.8556 * spread(cb), luma + 1.5748 * spread(cr)
        green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
        frames.append(np.stack([red, green, blue], axis=-1))
    return np.stack(frames)


def spread(chroma: np.ndarray) -> np.ndarray:
    columns = np.arange(2 * chroma.shape[1]) / 2
    rows = [np.interp(columns, np.arange(chroma.shape[1]), row) for row in (chroma.astype(np.float64) - 128) / 224]
    return np.repeat(rows, 2, axis=0)


def decode_to_8_bits(path: Path) -> np.ndarray:
    return np.round(255 * decode_exactly(path)) / 255


def top_level_boxes(path: Path) -> list[bytes]:
    data, names, at = path.read_bytes(), [], 0
    while at < len(data):
        names.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return names


@pytest.mark.parametrize(
    ("codec", "decoder", "tag"), [("h264", "h264", "avc1"), ("h265", "hevc", "hvc1"), ("av1", "libdav1d", "av01")]
)
def test_every_codec_makes_a_file_that_plays_everywhere(tmp_path, codec, decoder, tag):
    path = write(tmp_path / "clip.mp4", clip(9), codec=codec)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.codec_tag) == (decoder, tag)
        assert (context.width, context.height, context.pix_fmt) == (*SIZE, "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc) == (BT709, BT709, BT709)
        assert context.color_range == LIMITED
        assert len(list(file.decode(stream))) == 9
    boxes = top_level_boxes(path)
    assert boxes.index(b"moov") < boxes.index(b"mdat")


@pytest.mark.parametrize("codec", CODECS)
def test_colours_survive_every_codec(tmp_path, codec):
    frames = clip(5, Size(128, 96))
    decoded = decode_exactly(write(tmp_path / "clip.mp4", frames, codec=codec))
    assert np.abs(decoded.mean(axis=(0, 1, 2)) - frames.mean(axis=(0, 1, 2))).max() < 0.5 / 255
    assert np.abs(decoded - frames).mean() < 4 / 255


def test_planes_reach_the_encoder_as_they_were_made(tmp_path):
    frames = clip(3)
    for decoded, frame in zip(decode_planes(write(tmp_path / "clip.mp4", frames, crf=1)), frames, strict=True):
        for plane, expected in zip(decoded, rgb_to_yuv420(frame), strict=True):
            assert np.abs(plane.astype(int) - expected).max() <= 2  # CRF 1 is not quite lossless


@pytest.mark.parametrize("decode", [decode_exactly, decode_to_8_bits])
def test_six_generations_do_not_drift(tmp_path, decode):
    original = frames = clip(2, Size(320, 192))
    for generation in range(6):
        path = write(tmp_path / f"{generation}.mp4", frames)
        frames = np.repeat(decode(path)[-1:], 2, axis=0).astype(np.float32)  # the last frame starts the next clip
    moved = 255 * (frames[-1].mean(axis=(0, 1)) - original[-1].mean(axis=(0, 1)))
    assert np.abs(moved).max() < 0.5  # truncating once per generation moves it by 3 and more


@pytest.mark.parametrize("fps", [16, 24, 12.5, Fraction(30000, 1001)])
@pytest.mark.parametrize("count", [1, 3, 81])
def test_frame_rate_and_duration_are_exact(tmp_path, fps, count):
    fade = np.linspace(0.1, 0.9, count)[:, None, None, None] * np.ones((64, 96, 3))  # makes encoders reorder frames
    with av.open(str(write(tmp_path / "clip.mp4", fade, fps=fps))) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == Fraction(fps)
        assert stream.frames == count
        assert stream.start_time == 0
        assert stream.duration * stream.time_base == count / Fraction(fps)
        times = [frame.pts * frame.time_base for frame in file.decode(stream)]
    assert times == [n / Fraction(fps) for n in range(count)]


@pytest.mark.parametrize("nominal", [12, 15, 24, 30, 48, 60, 120, 240])
@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_a_rate_of_television_is_exact_however_it_is_rounded(nominal, decimals):
    exact = Fraction(1000 * nominal, 1001)  # 23.976 means 24000/1001
    typed = round(float(exact), decimals)
    assert frame_rate(typed) == exact
    assert frame_rate(Fraction(typed)) == exact  # as ComfyUI's Create Video hands it on
    assert frame_rate(exact) == exact


@pytest.mark.parametrize("fps", [*range(1, 241), 12.5, 7.5, 24.5, 29.9, 59.9, 23.9, 8.25, 16.5])
def test_other_rates_stay_what_they_are(fps):
    assert frame_rate(fps) == Fraction(fps).limit_denominator(1001)
    assert float(frame_rate(fps)) == fps


def test_a_measured_fraction_is_not_taken_for_a_rounded_one():
    assert frame_rate(Fraction(2997, 125)) == Fraction(2997, 125)  # a file that was made with 23.976, which is its rate


def test_typed_rates_are_in_the_file(tmp_path):
    with av.open(str(write(tmp_path / "clip.mp4", clip(3), fps=23.976))) as file:
        assert file.streams.video[0].average_rate == Fraction(24000, 1001)


def test_metadata_comes_back_to_the_letter(tmp_path):
    metadata = {
        "workflow": json.dumps({"nodes": ['节点 \\ "quoted" 🎬\n'] * 10_000}, ensure_ascii=False),
        "prompt": "{}",
        "Wan 2.2 recipe": "steps=4; crf=18",
    }
    assert len(metadata["workflow"]) > 200_000
    with av.open(str(write(tmp_path / "clip.mp4", clip(2), metadata=metadata))) as file:
        assert {key: file.metadata[key] for key in metadata} == metadata


def test_a_name_with_spaces_and_chinese_characters_works(tmp_path):
    folder = tmp_path / "my clips 视频"
    folder.mkdir()
    path = write(folder / "小猫 100% [1].mp4", clip(2))
    assert os.listdir(folder) == [path.name]
    assert len(decode_exactly(path)) == 2


def test_takes_torch_tensors(tmp_path):
    array, tensor = clip(2), torch.from_numpy(clip(2))
    assert write(tmp_path / "a.mp4", array).read_bytes() == write(tmp_path / "t.mp4", tensor).read_bytes()


def test_the_same_frames_make_the_same_file_and_no_file_is_replaced(tmp_path):
    first, second = (write(tmp_path / name, clip(3)).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second
    with pytest.raises(FileExistsError, match=r"'a\.mp4' could not be written .*File exists\. Choose another name"):
        write(tmp_path / "a.mp4", clip(2))
    assert (tmp_path / "a.mp4").read_bytes() == first
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]


def fail_after(count: int, path: Path, error: type[BaseException]) -> None:
    with Mp4Writer(path, SIZE) as video:
        for frame in clip(count):
            video.write(frame)
        (hidden,) = os.listdir(path.parent)
        assert hidden.startswith(".")
        assert hidden.endswith(".part")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
@pytest.mark.parametrize("count", [0, 1, 60])
def test_an_exception_leaves_nothing_behind(tmp_path, error, count):
    with pytest.raises(error):
        fail_after(count, tmp_path / "clip.mp4", error)
    assert os.listdir(tmp_path) == []


def test_an_exception_leaves_the_older_clip_alone(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("an older clip")
    with (
        pytest.raises(ValueError, match="Every frame of this video is 96x64, got 64x96"),
        Mp4Writer(path, SIZE) as video,
    ):
        video.write(np.zeros((96, 64, 3), np.float32))
    assert path.read_text() == "an older clip"
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_no_frame_is_an_error_and_no_file(tmp_path):
    with pytest.raises(ValueError, match="A video needs at least one frame"), Mp4Writer(tmp_path / "clip.mp4", SIZE):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, share):
    import resource

    frames = np.random.default_rng(0).random((4, 192, 320, 3), dtype=np.float32)
    path = write(tmp_path / "clip.mp4", frames)
    size = path.stat().st_size
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))  # writes past it fail as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path, frames)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "clip.mp4", clip(1))


def test_a_missing_encoder_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(
        CODECS, "h266", Codec("H.266", Encoder("no_such_encoder", {}), Encoder("none", {}), range(1, 52), "h266")
    )
    with pytest.raises(RuntimeError, match=r"H\.266 needs the encoder no_such_encoder.*Choose another codec"):
        write(tmp_path / "clip.mp4", clip(1), codec="h266")
    assert os.listdir(tmp_path) == []


def test_what_an_encoder_refuses_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(
        CODECS,
        "h264",
        Codec("H.264", Encoder("libx264", {"preset": "impossible"}), Encoder("none", {}), range(1, 52), "avc1"),
    )
    with pytest.raises(RuntimeError, match=r"The encoder libx264 here refuses 96x64: .* Choose another"):
        Mp4Writer(tmp_path / "clip.mp4", SIZE).__enter__()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": Size(63, 48)}, "even sides of at least 16 pixels, got 63x48"),
        ({"size": Size(8, 8)}, "even sides of at least 16 pixels, got 8x8"),
        ({"size": Size(48, 96), "codec": "h265"}, r"H\.265 video in 4:2:0 needs even sides of at least 64 pixels"),
        ({"codec": "vp9"}, "Codec is one of h264, h265, av1, got 'vp9'"),
        ({"crf": 52}, r"H\.264 takes a CRF of 1 \(best\) to 51, got 52\. Begin with 18"),
        ({"crf": 0, "codec": "av1"}, r"AV1 takes a CRF of 1 \(best\) to 63, got 0"),
        ({"fps": 0}, "A video has 1 to 240 frames per second, got 0"),
        ({"fps": math.nan}, "A video has 1 to 240 frames per second, got nan"),
    ],
)
def test_refuses_settings_that_no_player_would_take(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        Mp4Writer(tmp_path / "clip.mp4", **{"size": SIZE, **settings})
