"""What players and ComfyUI's frontend look for in a file, read by a parser of its own, not by FFmpeg.

Boxes: ISO 14496-12. Metadata by key: QuickTime File Format, "Metadata item keys atom" and "Metadata item list atom".
H.264 configuration: ISO 14496-15, 5.3.3.1.
"""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from pack.media.codecs import CODECS, Codec, Encoder
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size

READ_BY_COMFYUI = 64 * 2**20  # bytes of a dropped file that the frontend looks at
CONTAINERS = (b"moov", b"udta", b"trak", b"mdia", b"minf", b"stbl")
EDGE = 16  # pixels: the block at an edge, where compression rings
BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)]
WORKFLOW = json.dumps({"nodes": [{"title": "小猫"}], "filler": "x" * 1_000_000}, ensure_ascii=False)


def write(path: Path, frames, size: Size, **settings) -> Path:
    with Mp4Writer(path, size, **settings) as video:
        for frame in frames:
            video.write(frame)
    return path


def boxes(data: bytes, start: int = 0, end: int | None = None):
    """Yields type, first and last byte of the content of each box."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, head = int.from_bytes(data[start : start + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        yield data[start + 4 : start + 8], start + head, min(start + size, end)
        start += size


def find(data: bytes, *path: bytes, start: int = 0, end: int | None = None):
    """Returns the content of the first box at a path, such as moov, udta, meta."""
    for kind, first, last in boxes(data, start, end):
        if kind == path[0]:
            first += 4 if kind in (b"meta", b"stsd", b"keys") else 0  # version and flags
            first += 4 if kind == b"stsd" else 0  # number of entries
            first += 78 if kind in (b"avc1", b"hvc1") else 0  # the fields of a picture
            if len(path) == 1:
                return data[first:last]
            found = find(data, *path[1:], start=first, end=last)
            if found is not None:
                return found
    return None


def metadata(data: bytes) -> dict[str, str]:
    """Reads text by key from moov, udta, meta, keys and ilst."""
    meta = find(data, b"moov", b"udta", b"meta")
    assert meta is not None
    keys, at = [], 4  # after their number
    listed = find(meta, b"keys")
    while at < len(listed):
        size = int.from_bytes(listed[at : at + 4], "big")
        keys.append(listed[at + 8 : at + size].decode())
        at += size
    values = {}
    for kind, first, last in boxes(find(meta, b"ilst")):
        item = find(meta, b"ilst", kind)
        assert last - first == len(item)
        values[keys[int.from_bytes(kind, "big") - 1]] = item[16:].decode()  # data box: size, name, type, locale
    return values


def test_the_workflow_is_where_comfyui_looks_for_it(tmp_path):
    frames = np.zeros((2, 64, 96, 3), np.float32)
    data = write(tmp_path / "a.mp4", frames, Size(96, 64), metadata={"workflow": WORKFLOW, "prompt": "{}"}).read_bytes()
    assert metadata(data)["workflow"] == WORKFLOW
    assert metadata(data)["prompt"] == "{}"


@pytest.mark.slow
def test_also_in_a_file_above_64_mib(tmp_path, monkeypatch):
    quick = Codec("H.264", Encoder("libx264", {"preset": "ultrafast"}), Encoder("none", {}), range(1, 52), "avc1")
    monkeypatch.setitem(CODECS, "h264", quick)
    noise = np.random.default_rng(0)
    frames = (noise.random((720, 1280, 3), dtype=np.float32) for _ in range(48))
    path = write(tmp_path / "a.mp4", frames, Size(1280, 720), crf=1, metadata={"workflow": WORKFLOW})
    assert os.path.getsize(path) > READ_BY_COMFYUI
    with path.open("rb") as file:
        head = file.read(READ_BY_COMFYUI)
    assert [kind for kind, _, _ in boxes(head)][:2] == [b"ftyp", b"moov"]
    assert metadata(head)["workflow"] == WORKFLOW


@pytest.mark.parametrize(
    ("size", "level"), [(Size(1280, 720), 31), (Size(832, 480), 30), (Size(480, 832), 30), (Size(416, 240), 13)]
)
def test_profile_and_level_are_those_that_phones_and_quicktime_take(tmp_path, size, level):
    frames = np.zeros((20, size.height, size.width, 3), np.float32)
    data = write(tmp_path / "a.mp4", frames, size).read_bytes()
    config = find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"avcC")
    assert config[0] == 1
    assert config[1] == 100  # High; baseline 66, main 77, high 10 bit 110
    assert config[3] <= level
    colour = find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"colr")
    assert colour == b"nclx" + bytes([0, 1, 0, 1, 0, 1, 0])  # primaries, transfer, matrix BT.709; limited range


def test_h265_is_main_profile_under_the_tag_of_quicktime(tmp_path):
    data = write(tmp_path / "a.mp4", np.zeros((3, 64, 96, 3), np.float32), Size(96, 64), codec="h265").read_bytes()
    config = find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1", b"hvcC")
    assert config[1] & 31 == 1  # Main


@pytest.mark.parametrize("size", [Size(1280, 720), Size(832, 480)])
def test_colour_bars_come_back_from_ffmpeg(tmp_path, size):
    path = write(tmp_path / "a.mp4", [bars(size)] * 3, size)
    with av.open(str(path)) as file:
        frames = [as_tagged(frame) for frame in file.decode(video=0)]
    width = size.width // len(BARS)
    for number, colour in enumerate(BARS):
        inside = frames[-1][:, number * width + EDGE : (number + 1) * width - EDGE]
        assert np.abs(inside - 255.0 * np.array(colour)).max() <= 2


def as_tagged(frame: av.VideoFrame) -> np.ndarray:
    """RGB by the matrix that the file names, as the ffmpeg program converts; older PyAV does not look by itself."""
    assert frame.colorspace == Colorspace.ITU709
    return frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()


def bars(size: Size) -> np.ndarray:
    columns = np.arange(size.width) * len(BARS) // size.width
    return np.broadcast_to(np.array(BARS, np.float32)[columns], (size.height, size.width, 3))


@pytest.mark.parametrize("count", [1, 1000])
@pytest.mark.slow
def test_one_frame_and_a_thousand(tmp_path, count):
    frame = np.random.default_rng(0).random((64, 96, 3), dtype=np.float32)
    path = write(tmp_path / "a.mp4", (np.roll(frame, shift, axis=1) for shift in range(count)), Size(96, 64))
    with av.open(str(path)) as file:
        assert len(list(file.decode(video=0))) == count
        assert file.duration == count * av.time_base // 16
