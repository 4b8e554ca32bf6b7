"""What the share check reads in pictures and clips beside their graphs, and that no copy has it."""

import json
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from av.container import OutputContainer
from pack.media.clip_report import measure
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from private import is_fact
from private_graph import findings
from share_check import check, check_all
from share_read import read

GAP = "mdat, beside its samples"  # FFmpeg reads some samples of titles itself


def places(path):
    return [(finding.kind, finding.place) for finding in check(path, False, None)]


def test_a_pictures_exif_is_read_and_not_copied(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "/home/ada/cat.png"
    exif[ExifTags.Base.XPComment] = "hf_0123456789abcdef".encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + "/home/ada/x".encode("utf-16-le")
    picture = Image.new("RGB", (4, 4))
    picture.save(tmp_path / "a.png", exif=exif)
    assert sorted(places(tmp_path / "a.png")) == [
        ("key", "EXIF.XPComment"),
        ("path", "EXIF.ImageDescription"),
        ("path", "EXIF.UserComment"),
    ]
    check(tmp_path / "a.png", False, tmp_path / "shared")
    assert places(tmp_path / "shared" / "a.png") == []
    with Image.open(tmp_path / "shared" / "a.png") as copy:
        assert not copy.getexif()


@pytest.mark.parametrize(
    "gps",
    [
        {1: "S", 2: [48.0, 51.0, 30.0], 3: "W", 4: [2.0, 17.0, 40.0]},
        {2: 48.8583},
        {22: [2.0, 17.0, 40.0]},
    ],
)
def test_where_a_picture_was_taken_is_read_and_not_copied(tmp_path, gps):
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = gps
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    assert places(tmp_path / "a.png") == [("position", "EXIF.GPSInfo")]
    check(tmp_path / "a.png", False, tmp_path / "shared")
    assert places(tmp_path / "shared" / "a.png") == []
    with Image.open(tmp_path / "shared" / "a.png") as copy:
        assert not copy.getexif()


def test_a_height_is_no_position(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = {5: b"\0", 6: 35.0}
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    assert places(tmp_path / "a.png") == []


def test_a_position_in_xmp_is_read_and_not_copied(tmp_path):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x exif:GPSLatitude="48,51.5N" exif:GPSLongitude="2,17.6E" a="1"/>')
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert places(tmp_path / "a.png") == [("position", "XML:com.adobe.xmp")] * 2
    check(tmp_path / "a.png", False, tmp_path / "shared")
    assert read(tmp_path / "shared" / "a.png") == {}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("com.apple.quicktime.location.ISO6709", "+48.8583+002.2944+035.000/"),
        ("location", "+48.8+002.3/"),
        ("location-eng", "-4851.5+00217.6/"),
        ("comment", "-48.8583-002.2944/"),
    ],
)
def test_where_a_clip_was_taken_is_read_and_not_copied(tmp_path, name, place):
    write_told(tmp_path / "a.mov", {}, told={name: place, "recipe": "1.5"})
    assert ("position", name) in places(tmp_path / "a.mov")
    check(tmp_path / "a.mov", False, tmp_path / "shared")
    assert place.encode() not in (tmp_path / "shared" / "a.mov").read_bytes()
    told = read(tmp_path / "shared" / "a.mov")
    assert {name: told[name] for name in told if not is_fact(name)} == {"recipe": "1.5"}


@pytest.mark.parametrize(
    "text",
    ["M10-12.345-100.500L", "2024-10.123-456.789", "(word:1.2)+12.345-100.000", "-99.999+999.999", "x-12.500+100.000"],
)
def test_numbers_are_no_position(text):
    assert findings({"a": text}) == []


@pytest.mark.parametrize("behind", [b"/home/ada/cat.png", zlib.compress(b"/home/ada/cat.png"), b"\0"])
def test_what_stands_behind_a_picture_is_told_and_not_copied(tmp_path, behind):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole + behind)
    found = check(tmp_path / "a.png", False, tmp_path / "shared")
    assert str(found[0]) == f"data at behind the picture's end: {len(behind)} bytes"
    assert [one.shown for one in found[1:]] == ["/home/ada/cat.png"] * behind.startswith(b"/")
    check(tmp_path / "shared" / "a.png", False, tmp_path / "again")
    with Image.open(tmp_path / "shared" / "a.png") as copy:
        assert copy.getpixel((0, 0)) == (0, 0, 0)
    assert (tmp_path / "shared" / "a.png").read_bytes().endswith(whole[-12:])  # IEND, as PNG has it


@pytest.mark.parametrize("kind", ["exif", "iptc"])
def test_a_pictures_packed_profile_is_read_and_not_copied(tmp_path, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "/home/ada/cat.png"
    caption = b"/home/ada/films/of the garden/a cat with a long name.png"
    profile = {"exif": exif.tobytes(), "iptc": b"\x1c\x02\x78\x00" + bytes([len(caption)]) + caption}[kind]
    info = PngInfo()
    info.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(profile):8}\n{profile.hex()}\n")  # as ImageMagick does
    info.add_text(f"Raw profile type {kind}", "\nnone\n 0\n\n")  # of equal ones, each is read too
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png", pnginfo=info)
    assert ("path", f"text[0].Raw profile type {kind}") in places(tmp_path / "b.png")
    check(tmp_path / "b.png", False, tmp_path / "shared")
    assert b"Raw profile" not in (tmp_path / "shared" / "b.png").read_bytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("add", [PngInfo.add_text, PngInfo.add_itxt])
def test_of_equal_text_chunks_each_is_read(tmp_path, add, packed):
    info = PngInfo()
    add(info, "workflow", '{"nodes": [], "file": "/home/ada/x.png"}', zip=packed)
    info.add_text("workflow", '{"nodes": []}')
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert places(tmp_path / "a.png") == [("path", "text[0].workflow.file")]
    check(tmp_path / "a.png", False, tmp_path / "shared")
    assert read(tmp_path / "shared" / "a.png") == {"workflow": '{"nodes": []}'}
    assert (tmp_path / "shared" / "a.png").read_bytes().count(b"workflow") == 1


def write_told(path, stream_told, chapters=(), told=()):
    """Writes a clip that tells something, and whose stream and chapters do."""
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width = stream.height = 64
        stream.metadata.update(stream_told)
        container.metadata.update(told)
        if chapters:
            container.set_chapters(chapters)
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for picture in (frame, None):
            container.mux(stream.encode(picture))


def test_what_a_clips_streams_tell_is_read_and_not_copied(tmp_path):
    write_told(tmp_path / "a.mp4", {"handler_name": "/home/ada/cat.mp4"})
    assert places(tmp_path / "a.mp4") == [("path", "streams[0].handler_name")]
    check(tmp_path / "a.mp4", False, tmp_path / "shared")
    assert places(tmp_path / "shared" / "a.mp4") == []
    assert b"/home/ada" not in (tmp_path / "shared" / "a.mp4").read_bytes()


@pytest.mark.skipif(not hasattr(OutputContainer, "set_chapters"), reason="this PyAV knows no chapters")
def test_what_a_clips_chapters_tell_is_read_and_not_copied(tmp_path):
    told = {"title": "/home/ada/cat.mp4"}
    chapter = {"id": 0, "start": 0, "end": 40, "time_base": Fraction(1, 1000), "metadata": told}
    write_told(tmp_path / "a.mp4", {}, [chapter])
    assert ("path", "chapters[0].title") in places(tmp_path / "a.mp4")
    check(tmp_path / "a.mp4", False, tmp_path / "shared")
    assert b"/home/ada" not in (tmp_path / "shared" / "a.mp4").read_bytes()
    with av.open(str(tmp_path / "shared" / "a.mp4")) as copy:
        assert [stream.type for stream in copy.streams] == ["video"]
        assert sum(1 for _ in copy.decode(video=0)) == 1


@pytest.mark.skipif(not hasattr(OutputContainer, "set_chapters"), reason="this PyAV writes no subtitles")
def test_a_clips_subtitles_are_read_and_not_copied(tmp_path):
    lines = [b"/home/ada/films/cat.mp4 shows what we saw there.", b"A garden."]
    assert chr(len(lines[0])) == "0"  # after a letter or a digit, no path would begin
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        picture = container.add_stream("libx264", rate=24)
        picture.width = picture.height = 64
        titles = container.add_stream("mov_text")
        titles.codec_context.subtitle_header = b"[Script Info]\n"
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(picture.encode(None))
        for index, line in enumerate(lines):
            packet = av.Packet(len(line).to_bytes(2, "big") + line)
            packet.stream, packet.time_base, packet.duration = titles, Fraction(1, 1000), 10
            packet.pts = packet.dts = 20 * index
            container.mux(packet)
    assert [kind for kind, place in places(tmp_path / "a.mp4") if place != GAP] == ["path"]
    found = check(tmp_path / "a.mp4", True, tmp_path / "shared")
    assert [finding.kind for finding in found if finding.place != GAP] == ["path", "prompt"]
    assert b"cat.mp4" not in (content := (tmp_path / "shared" / "a.mp4").read_bytes())
    assert b"garden" not in content


def test_a_pictures_own_words_are_prompts(tmp_path):
    told = {
        "parameters": "a garden, a cat\nSteps: 4",
        "Author": "ada",
        "Software": "Two Words",
        "date:create": "1 May",
        "workflow": '{"nodes": []}',
    }
    info = PngInfo()
    for name, text in told.items():
        info.add_text(name, text)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert check(tmp_path / "a.png", False, None) == []
    found = check(tmp_path / "a.png", True, tmp_path / "shared")
    assert [(finding.kind, finding.place) for finding in found] == [("prompt", "parameters"), ("prompt", "Author")]
    assert read(tmp_path / "shared" / "a.png") == {"parameters": "", "workflow": '{"nodes": []}'}


def test_a_clips_own_words_are_prompts(tmp_path):
    write_told(tmp_path / "b.mp4", {"handler_name": "Core Media Video"}, told={"comment": "ada", "title": "A garden"})
    assert check(tmp_path / "b.mp4", False, None) == []
    found = check(tmp_path / "b.mp4", True, tmp_path / "shared")
    assert sorted((finding.kind, finding.place) for finding in found) == [("prompt", "comment"), ("prompt", "title")]
    assert check(tmp_path / "shared" / "b.mp4", True, None) == []


def numbers(**changes):
    return json.dumps({**measure(np.zeros((3, 64, 64, 3), np.uint8), 16).as_dict(), **changes})


def test_a_clips_numbers_are_copied(tmp_path):
    write_told(tmp_path / "a.mp4", {}, told={"clip_report": numbers(brightness_start=48.8583, colour_drift=2.2944)})
    for prompts in (False, True):
        assert check(tmp_path / "a.mp4", prompts, tmp_path / "shared") == []
        assert read(tmp_path / "shared" / "a.mp4")["clip_report"] == read(tmp_path / "a.mp4")["clip_report"]


@pytest.mark.parametrize(
    "told", ["a cat of ada", numbers(frames="of ada"), numbers(ada=1), numbers(seams_at=[["ada"]]), "[1, 2]", "{}"]
)
def test_what_is_not_a_clips_numbers_is_not_copied_under_their_name(tmp_path, told):
    write_told(tmp_path / "a.mp4", {}, told={"clip_report": told})
    checked = check_all(tmp_path / "a.mp4", False, tmp_path / "shared")
    assert "clip_report" in checked.left
    assert "clip_report" not in read(tmp_path / "shared" / "a.mp4")
    assert b"ada" not in (tmp_path / "shared" / "a.mp4").read_bytes()
