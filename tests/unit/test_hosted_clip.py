"""A clip that promises more work than a clip may be is refused before the work is done, and never read later."""

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pack.hosted import download
from pack.hosted.download import check_clip, check_index, is_sound
from pack.hosted.errors import BrokenError, DownloadError
from pack.tests.toy.clip import clip
from pack.tests.toy.faults import sends
from pack.tests.toy.hosted import client, outcome, request

ROOT = Path(__file__).parents[2]
TICK = Fraction(1, 16)


def film(path, *runs):
    """Writes black frames: runs of (width, height, frames), each size with its own header among the pictures."""
    done = 0
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = *runs[0][:2], "yuv420p"
        for width, height, frames in runs:
            encoder = av.CodecContext.create("libx264", "w") if done else stream.codec_context
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "yuv420p", TICK
            encoder.options = {"preset": "ultrafast", "bf": "0"}
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 128, np.uint8), format="yuv420p")
                frame.pts = number
                for packet in [*encoder.encode(frame), *(encoder.encode() if number == frames - 1 else [])]:
                    packet.stream, packet.time_base = stream, TICK
                    packet.pts = packet.dts = packet.pts + done
                    target.mux(packet)
            done += frames
    return path


@pytest.mark.parametrize("size", [(4096, 4096), (2562, 1440), (16, 4098), (8192, 64)])
def test_pictures_that_are_too_large_are_not_decoded(size, tmp_path):
    film(tmp_path / "a.mp4", (*size, 1))
    with pytest.raises(DownloadError, match=rf"and this one has {size[0]}x{size[1]}\. Nothing was kept") as told:
        check_clip(tmp_path / "a.mp4")
    assert not isinstance(told.value, BrokenError)  # another attempt brings the same
    assert not is_sound(tmp_path / "a.mp4")


def test_pictures_that_grow_on_the_way_are_not_decoded(tmp_path):
    path = film(tmp_path / "a.mp4", (96, 64, 3), (4096, 4096, 2))
    with av.open(str(path)) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(96, 64), (4096, 4096)}
    with pytest.raises(BrokenError, match="cannot be decoded"):
        check_clip(path)


def test_pictures_that_grow_within_the_limits_are_a_clip(tmp_path):
    check_clip(film(tmp_path / "a.mp4", (96, 64, 3), (640, 480, 2)))


@pytest.mark.parametrize(("frames", "taken"), [(download.MAX_FRAMES, True), (download.MAX_FRAMES + 1, False)])
def test_frames_are_counted(frames, taken, tmp_path):
    path = film(tmp_path / "a.mp4", (16, 16, frames))
    assert is_sound(path) == taken
    if taken:
        check_clip(path)
    else:
        with pytest.raises(
            DownloadError, match=rf"900 frames, and 1300 megapixels in all, and this one has {frames} at"
        ):
            check_clip(path)


def test_frames_that_the_header_does_not_count_are_counted(tmp_path):
    """A file in fragments says nowhere how many frames it has."""
    content = fragmented(film(tmp_path / "a.mp4", (16, 16, download.MAX_FRAMES + 1)), tmp_path / "b.mp4")
    with pytest.raises(DownloadError, match="900 frames"):
        check_clip(content)


def fragmented(source, target):
    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options={"movflags": "frag_keyframe+empty_moov"}) as write,
    ):
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                write.mux(packet)
    return target


def test_a_whole_clip_in_fragments_is_one(tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip())
    check_clip(fragmented(tmp_path / "a.mp4", tmp_path / "b.mp4"))
    assert is_sound(tmp_path / "b.mp4")


def test_a_clip_that_lasts_too_long_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for number in (0, 1, 16 * 61):
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts = number
            target.mux(stream.encode(frame))
        target.mux(stream.encode())
    with pytest.raises(DownloadError, match="A clip may have 60 s, and this one has 6"):
        check_clip(path)


def changed(kind, at, values, content=None):
    """The toy clip with other numbers in one of its tables."""
    content = bytearray(content or clip())
    place = content.index(kind) + at
    for number, value in enumerate(values):
        content[place + 4 * number : place + 4 * number + 4] = value.to_bytes(4, "big")
    return bytes(content)


MANY = 40_000_000
SIZES = changed(b"stsz", 8, [1, MANY])
HEAD = b"\0\0\0\x14trun" + bytes(4)
MANY_PARTS = "many empty parts"  # a million, and each is looked at
BOMBS = {  # the first and the last took 2.8 GB and 1.4 GB, the edits minutes, before they were looked at
    "samples": changed(b"stts", 8, [1, MANY, 1], changed(b"stsc", 8, [1, 1, MANY, 1], SIZES)),
    "sizes": SIZES,
    "times": changed(b"stts", 8, [1, MANY, 1]),
    "offsets of times": changed(b"stts", 0, [int.from_bytes(b"ctts", "big"), 0, 1, MANY, 0]),
    "edits": changed(b"elst", 8, [500_000]),
    "an index in one's own format": changed(b"udta", 0, [int.from_bytes(b"cmov", "big")]),
    "a larger index": changed(b"mdat", 0, [int.from_bytes(b"uuid", "big")], clip() + bytes(download.MAX_INDEX)),
    "many tracks": clip() + b"\0\0\2\x08moov" + b"\0\0\0\x08trak" * 64,
    "many tables of times": clip() + b"\0\1\0\x08meta" + (bytes(4) + b"stts") * 0x2000,  # each as long as the rest
    MANY_PARTS: clip() + b"\0\0\0\x08free" * (download.MAX_INDEX // 8),
    "runs of fragments": clip() + b"\0\0\0\x1cmoof" + HEAD + MANY.to_bytes(4, "big") + bytes(4),
}


@pytest.mark.parametrize(
    "kind", [*(kind for kind in BOMBS if kind != MANY_PARTS), pytest.param(MANY_PARTS, marks=pytest.mark.slow)]
)
def test_an_index_that_promises_too_much_is_never_read(kind, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(BOMBS[kind])
    monkeypatch.setattr(download.av, "open", None)
    with pytest.raises(DownloadError, match="A clip may have an index of 8 MB with 100000 samples, and this one has"):
        check_clip(path)
    assert not is_sound(path)


@pytest.mark.parametrize("content", [b"", b"\0", bytes(8), b"\0\0\0\x08ftyp", b"\xff" * 4096,
                                     b"\0\0\0\1ftyp" + b"\xff" * 8, b"\0\0\0\0ftyp", b"\0\0\0\x08ftyp" * 5000,
                                     b"\0\0\0\x07ftypmoov"])  # fmt: skip
def test_what_is_no_mp4_is_broken(content, tmp_path):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(BrokenError):
        check_clip(tmp_path / "a.mp4")
    assert not is_sound(tmp_path / "a.mp4")


def test_every_cut_of_a_clip_is_read_without_harm(tmp_path):
    path = tmp_path / "a.mp4"
    for size in range(0, len(clip()), 97):
        path.write_bytes(clip()[:size])
        with pytest.raises(DownloadError):
            check_clip(path)


def test_a_bomb_from_a_provider_is_told_and_fetched_no_second_time(wavespeed, running, tmp_path):
    bomb = film(tmp_path / "bomb.mp4", (4096, 4096, 1)).read_bytes()
    wavespeed.break_next("download", sends(lambda: bomb)(wavespeed), forever=True)
    got = outcome(client(tmp_path, running), request("wavespeed"))
    assert got.name == "DownloadError"
    assert "3.7 megapixels a frame and 4096 a side, and this one has 4096x4096" in got.text
    assert len(wavespeed.faults["download"]) == 999
    assert list((tmp_path / "clips").iterdir()) == []
    wavespeed.heal()
    assert outcome(client(tmp_path, running), request("wavespeed")).name == "clip"
    assert wavespeed.posts == 1


@pytest.mark.parametrize("content", [b"", BOMBS["samples"], None])
def test_a_clip_that_was_exchanged_on_the_disk_is_fetched_again(content, wavespeed, running, tmp_path):
    path = outcome(client(tmp_path, running), request("wavespeed")).clip.path
    path.write_bytes(film(tmp_path / "bomb.mp4", (4096, 4096, 1)).read_bytes() if content is None else content)
    got = outcome(client(tmp_path, running), request("wavespeed"))
    assert got.clip.path.read_bytes() == clip()
    assert next(iter(wavespeed.jobs.values())).downloads == 2


MEMORY = """
import resource, sys
sys.path.append(sys.argv[1] + "/tools")
from pathlib import Path
from pack.hosted.download import check_clip
from pack.hosted.errors import DownloadError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[2:]:
    try:
        check_clip(Path(name))
    except DownloadError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes are counted there")
@pytest.mark.slow
def test_bombs_take_little_memory(tmp_path):
    films = [film(tmp_path / "large.mp4", (4096, 4096, 2)), film(tmp_path / "grown.mp4", (96, 64, 2), (4096, 4096, 2))]
    for number, content in enumerate(BOMBS.values()):
        films.append(tmp_path / f"{number}.mp4")
        films[-1].write_bytes(content)
    command = [sys.executable, "-c", MEMORY, str(ROOT), *map(str, films)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(answer.stdout) < 100


def test_the_largest_clip_of_any_model_is_one(tmp_path):
    """Eight seconds of 1080p at 30 frames a second keep all limits; decoding them here would take too long."""
    assert download.MAX_PIXELS >= 1920 * 1080
    assert download.MAX_FRAMES >= 8 * 60
    assert download.MAX_WORK >= 8 * 60 * 1920 * 1080
    with av.open(io.BytesIO(clip())) as container:
        assert np.isclose(float(container.duration) / av.time_base, 17 / 16)
    (tmp_path / "a.mp4").write_bytes(clip())
    check_index(tmp_path / "a.mp4")
