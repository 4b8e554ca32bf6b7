"""What is saved is what its name says, under a name that every system takes. Real files, by Pillow, PyAV and wave."""

import io
import json
import os
import struct
import wave

import av
import numpy as np
import pytest
from pack.client import files
from pack.client.errors import SaveError
from pack.client.printable import printable, short
from pack.client.publish import replaced
from pack.tests.toy.clip import clip
from PIL import Image
from safetensors.numpy import save as tensors


def picture(kind, **options):
    made = io.BytesIO()
    Image.new("RGB", (8, 8)).save(made, kind, **options)
    return made.getvalue()


def sound(kind, codec):
    made = io.BytesIO()
    with av.open(made, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=48000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        resampler = av.AudioResampler(stream.format, "mono", 48000, frame_size=stream.frame_size or None)
        for part in [*resampler.resample(frame), None]:
            container.mux(stream.encode(part))
    return made.getvalue()


def film(kind, codec="mpeg4", **options):
    made = io.BytesIO()
    with av.open(made, "w", format=kind, **options) as container:
        stream = container.add_stream(codec, rate=16)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode())
    return made.getvalue()


def pcm():
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(100))
    return made.getvalue()


WHOLE = {
    "ours.mp4": clip(),
    "fragments.mp4": film("mp4", options={"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": film("mov"), "a.mkv": film("matroska"), "a.webm": film("webm", "libvpx-vp9"), "a.avi": film("avi"),
    "a.m4a": sound("ipod", "aac"), "a.flac": sound("flac", "flac"), "a.mp3": sound("mp3", "mp3"),
    "a.opus": sound("opus", "libopus"), "a.aac": sound("adts", "aac"), "a.wav": pcm(),
    "a.png": picture("PNG"), "a.jpg": picture("JPEG"), "a.JPEG": picture("JPEG"), "a.webp": picture("WEBP"),
    "a.gif": picture("GIF"), "a.avif": picture("AVIF"), "a.bmp": picture("BMP"), "a.tiff": picture("TIFF"),
    "a.apng": picture("PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]),
    "a.latent": tensors({"latent_tensor": np.zeros(4, np.float32)}),
    "a.json": json.dumps({"a": "小"}).encode(), "a.txt": "words 小".encode(), "utf16.txt": "words".encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_what_nodes_make_is_taken(name):
    files.check_kind(name)
    assert files.fault(io.BytesIO(WHOLE[name]), name) == ""


@pytest.mark.parametrize("name", [name for name in WHOLE if not name.endswith((".txt", ".json"))])
def test_no_page_and_no_other_file_is_taken_for_it(name):
    for other in (b"<!DOCTYPE html><html>", b"{}", b"MZ\x90\0\3\0\0\0", b"\x1f\x8b\x08\0" + bytes(60)):
        assert files.fault(io.BytesIO(other), name) != ""
    assert files.fault(io.BytesIO(b""), name) == "it is empty"


@pytest.mark.parametrize("name", ["ours.mp4", "fragments.mp4", "a.mov", "a.m4a"])
def test_a_clip_without_its_end_is_none(name):
    whole = WHOLE[name]
    for part in (len(whole) - 1, len(whole) // 2, 40, 9):
        assert "without" in files.fault(io.BytesIO(whole[:part]), name)
    assert "without" in files.fault(io.BytesIO(whole + b"\0\0\0"), name)


def test_boxes_without_end_are_not_counted_for_ever():
    endless = struct.pack(">I4s", 8, b"free") * 50_000
    assert "without" in files.fault(io.BytesIO(struct.pack(">I4s", 8, b"ftyp") + endless), "a.mp4")
    large = struct.pack(">I4sQ", 1, b"ftyp", 16) + struct.pack(">I4s", 0, b"moov") + bytes(50)
    assert files.fault(io.BytesIO(large), "a.mp4") == ""  # sizes of 64 bits, and "to the end"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a:b?.mp4", "a_b_.mp4"), ("con.mp4", "_con.mp4"), ("CON.x.mp4", "_CON.x.mp4"), ("LPT9.png", "_LPT9.png"),
        ("clip .mp4", "clip.mp4"), ("小 图.mp4", "小 图.mp4"), ("a\u3000b.mp4", "a\u3000b.mp4"),
        ("a\n\tb.mp4", "ab.mp4"),
        ("x.mp4. . .", "x.mp4"), ("é" * 200 + ".mp4", "é" * 73 + ".mp4"), ("a\ud800b.mp4", "ab.mp4"),
        ("\u200f\u202eclip.mp4", "clip.mp4"), ("C:\\con\\nul.mp4", "_nul.mp4"),
    ],
)  # fmt: skip
def test_names_are_what_every_system_takes(name, plain):
    assert files.plain_name(name) == plain
    assert files.plain_name(plain) == plain


@pytest.mark.parametrize("name", ["setup.exe", "a.mp4.lnk", "run.bat", "a.html", "a.hta", "mp4", "a.mp4.", "x.desktop"])
def test_only_kinds_that_nodes_make_are_saved(name):
    with pytest.raises(SaveError, match="no kind of file"):
        files.check_kind(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"), ("\x1b]0;title\x07x", "x"), ("\x9b2Jx\x9d0;t\x9cy", "xy"), ("a\x1bcb", "ab"),
        ("a\tb\rc", "a b c"), ("one\ntwo", "one\ntwo"), ("\u202egnp.exe", "gnp.exe"), ("小 é 🙂", "小 é 🙂"),
        ("\x00\x7f\u2028\ud800", " "), (5, "5"), (None, "None"), (["\x1b"], "['\\x1b']"),
    ],
)  # fmt: skip
def test_texts_of_others_steer_no_terminal(text, shown):
    assert printable(text) == shown


def test_texts_of_others_are_cut_where_that_is_said():
    assert printable("x" * 50, 50) == "x" * 50
    assert printable("x" * 51, 50) == "x" * 50 + "..."
    assert printable("\x1b[31m" * 100_000, 50).endswith("...")
    assert short("two\n lines") == "two lines"


def test_two_who_write_the_same_file_do_not_write_into_each_others(tmp_path):
    """A batch that ends makes its report while somebody makes it by hand: each is whole, and the last one stays."""
    path = tmp_path / "report.html"
    with replaced(path) as first:
        first.write_text("first", encoding="utf-8")
        with replaced(path) as second:
            second.write_text("second, which is longer", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "second, which is longer"
    assert path.read_text(encoding="utf-8") == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_old(tmp_path):
    """Another one may be at work on a new one."""
    path = tmp_path / "report [1].html"
    old, new, others = (
        tmp_path / f".{name}.part" for name in ("report [1].html.a", "report [1].html.b", "report 1.html.c")
    )
    for each in (old, others):
        each.touch()
        os.utime(each, (0, 0))
    new.touch()
    with replaced(path) as part:
        part.touch()
    assert set(tmp_path.iterdir()) == {path, new, others}
