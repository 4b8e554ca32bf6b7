"""A picture is looked at before it is sent: refused, turned and converted, or sent as it is. Real files, by Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from pack.client import job, pictures
from pack.client.errors import UsageError
from pack.client.settings import Setting
from PIL import Image, ImageOps

CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
COLOURS = Image.fromarray(CORNERS.repeat(16, axis=0).repeat(32, axis=1))  # 64 x 32, each corner another colour
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8))
SAME = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


@pytest.fixture
def file(tmp_path):
    """Writes a picture, and returns where it is."""

    def write(name, image=COLOURS, **options):
        if isinstance(image, bytes):
            (tmp_path / name).write_bytes(image)
        else:
            image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def turned(orientation):
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    return exif


def sent(ready):
    """Returns the picture that the server gets."""
    return Image.open(io.BytesIO(ready.content))


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("orientation", [2, 4, 5, 7])
def test_a_mirrored_picture_is_sent_upright(file, kind, orientation):
    path = file(f"a.{kind.lower()}", exif=turned(orientation), **SAME[kind])
    ready = pictures.ready(path)
    assert ready.said == f"{path.name} was taken mirrored: it is sent as a PNG that ComfyUI reads right."
    assert ready.path.name == "a.png"
    picture = sent(ready)
    assert picture.getexif().get(pictures.ORIENTATION, 1) == 1
    assert np.array_equal(picture, ImageOps.exif_transpose(Image.open(path)))


@pytest.mark.parametrize("kind", SAME)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_picture_is_sent_as_it_is_since_comfyui_turns_it(file, kind, orientation):
    path = file(f"a.{kind.lower()}", exif=turned(orientation), **SAME[kind])
    assert pictures.ready(path) == pictures.Ready(path)


def test_a_mirrored_photograph_with_others_behind_it_is_turned_too(file):
    ready = pictures.ready(file("a.mpo", exif=turned(5), save_all=True, append_images=[NOISE], quality=95))
    assert sent(ready).size == (32, 64)


def test_a_moving_picture_that_is_converted_says_what_is_left_of_it(file):
    ready = pictures.ready(file("a.avif", save_all=True, append_images=[COLOURS, COLOURS]))
    assert ready.said.endswith("ComfyUI reads right. Of its 3 pictures, the first is sent.")


def test_a_picture_whose_turn_is_said_in_xmp_alone_is_turned_here(file):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    ready = pictures.ready(file("a.jpg", xmp=xmp))
    assert sent(ready).size == (32, 64)
    assert "was taken turned" in ready.said


@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("grey.png", COLOURS.convert("L"), {}),
        ("bit.png", COLOURS.convert("1"), {}),
        ("palette.gif", COLOURS.convert("P"), {}),
        ("alpha.png", COLOURS.convert("RGBA"), {}),
        ("alpha.webp", COLOURS.convert("RGBA"), {}),
        ("grey alpha.png", COLOURS.convert("LA"), {}),
        ("小.bmp", COLOURS, {}),
        ("progressive.jpg", COLOURS, {"progressive": True}),
        ("two.mpo", COLOURS, {"save_all": True, "append_images": [NOISE]}),
    ],
)
def test_what_comfyui_reads_is_sent_as_it_is(file, name, image, options):
    path = file(name, image, **options)
    ready = pictures.ready(path)
    assert ready == pictures.Ready(path)


@pytest.mark.parametrize(
    ("name", "image", "why", "mode"),
    [
        ("cmyk.jpg", COLOURS.convert("CMYK"), "is in the colours CMYK", "RGB"),
        ("cmyk.tiff", COLOURS.convert("CMYK"), "is in the colours CMYK", "RGB"),
        ("lab.tiff", COLOURS.convert("LAB"), "is in the colours LAB", "RGB"),
        ("deep.png", Image.fromarray(np.full((32, 64), 0x8000, np.uint16)), "has 16 bits of grey", "L"),
        ("a.avif", COLOURS, "is in the format AVIF", "RGB"),
        ("a.jp2", COLOURS, "is in the format JPEG2000", "RGB"),
        ("a.ico", COLOURS.resize((64, 64)), "is in the format ICO", "RGB"),
    ],
)
def test_what_some_comfyui_reads_wrongly_is_converted(file, name, image, why, mode):
    path = file(name, image)
    ready = pictures.ready(path)
    assert ready.said == f"{name} {why}: it is sent as a PNG that ComfyUI reads right."
    picture = sent(ready)
    assert (picture.format, picture.mode.replace("A", ""), picture.size) == ("PNG", mode, image.size)
    expected = [128] if mode == "L" else [255, 0, 0]
    assert np.abs(np.atleast_1d(np.array(picture)[4, 4])[: len(expected)].astype(int) - expected).max() < 12


@pytest.mark.parametrize(
    "name", ["half.jpg", "half.png", "half.webp", "half.gif", "half.tiff", "half.bmp", "half.avif"]
)
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_half_a_picture_is_refused(file, name, part):
    whole = file(name, NOISE).read_bytes()
    with pytest.raises(UsageError, match=rf"{name} (is damaged or ends too early|is no picture)"):
        pictures.ready(file(name, whole[: int(len(whole) * part)]))


def test_a_file_of_nothing_is_refused_whatever_it_is(file):
    for picture in (True, False):
        with pytest.raises(UsageError, match=r"a\.png is empty, 0 bytes\. Copy or download it again\."):
            pictures.ready(file("a.png", b""), picture)


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>", b"\0" * 100, b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"x"]
)
def test_what_is_no_picture_is_refused(file, content):
    with pytest.raises(UsageError, match=r"a\.png (is no picture that can be read here|is damaged)"):
        pictures.ready(file("a.png", content))
    assert pictures.ready(file("a.wav", content), picture=False).content is None


@pytest.mark.parametrize("brands", [b"heicmif1heic", b"mif1heicmiaf", b"heix\0\0\0\0mif1", b"msf1\0\0\0\0hevc"])
def test_heic_is_refused_with_what_helps(file, brands):
    head = struct.pack(">I", 12 + len(brands)) + b"ftyp" + brands[:4] + b"\0\0\0\0" + brands[4:]
    with pytest.raises(UsageError, match=r"is a HEIC picture.*Save it as JPEG or PNG"):
        pictures.ready(file("IMG_0001.HEIC", head + bytes(100)))


def png_of(width, height):
    """A PNG that says it is so large, in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 10_000), (13_000, 12_000), (60_000, 60_000)])
def test_a_picture_that_is_a_bomb_is_refused_by_its_size_alone(file, size):
    with pytest.raises(UsageError, match=r"a\.png has .*(million pixels|too many pixels).*Make it smaller"):
        pictures.ready(file("a.png", png_of(*size)))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_of_an_animation_all_is_sent_and_the_user_told(file, kind, monkeypatch):
    path = file(f"moving.{kind}", COLOURS, save_all=True, append_images=[NOISE.resize((64, 32)), COLOURS])
    ready = pictures.ready(path)
    assert ready == pictures.Ready(
        path, None, f"moving.{kind} holds 3 pictures. All are sent, and a clip starts from the first."
    )
    monkeypatch.setattr(pictures, "MOST", 64 * 32 * 2)
    with pytest.raises(UsageError, match=r"has 64x32, 3 times"):
        pictures.ready(path)


def test_32_bits_a_channel_have_no_black_and_white(file):
    deep = Image.fromarray(np.linspace(0, 9, 64 * 32, dtype=np.float32).reshape(32, 64))
    with pytest.raises(UsageError, match=r"a\.tiff has 32 bits a channel.*Save it as PNG"):
        pictures.ready(file("a.tiff", deep))


def test_no_word_of_where_it_was_taken_goes_along_with_a_converted_picture(file):
    exif = turned(5)
    exif[0x010E] = "my garden"
    assert b"my garden" not in pictures.ready(file("a.jpg", exif=exif)).content


class Recording:
    """A server that is asked to take files."""

    def __init__(self, info):
        self.info, self.taken = info, []

    def object_info(self, classes):
        return self.info

    def upload(self, path, content=None):
        self.taken.append((path.name, content))
        return path.name


INFO = {"LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}}}
PROMPT = {"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "Your picture"}}}


def test_nothing_is_sent_if_one_of_the_pictures_is_damaged(file):
    two = {**PROMPT, "2": {**PROMPT["1"], "_meta": {"title": "Last picture"}}}
    recording = Recording(INFO)
    values = {"picture": str(file("good.png")), "last_picture": str(file("empty.png", b""))}
    with pytest.raises(UsageError, match=r"empty\.png is empty"):
        job.prepare(recording, two, values, [].append)
    assert recording.taken == []


def test_a_turned_picture_is_sent_under_its_new_name_and_the_user_told(file):
    recording, said = Recording(INFO), []
    made = job.prepare(recording, PROMPT, {"picture": str(file("me.jpg", exif=turned(7)))}, said.append)
    assert made["1"]["inputs"]["image"] == "me.png"
    ((name, content),) = recording.taken
    assert (name, content[:4]) == ("me.png", b"\x89PNG")
    assert said == ["me.jpg was taken mirrored: it is sent as a PNG that ComfyUI reads right."]


def test_sound_is_not_looked_at_as_a_picture(file):
    assert Setting("a", "1", "a", "A", "string", "").pictures is False
    sound = {"LoadAudio": {"input": {"required": {"audio": ["COMBO", {"options": [], "audio_upload": True}]}}}}
    prompt = {"1": {"class_type": "LoadAudio", "inputs": {"audio": "a.wav"}, "_meta": {"title": "Your sound"}}}
    recording = Recording(sound)
    job.prepare(recording, prompt, {"sound": str(file("b.wav", b"RIFF"))}, [].append)
    assert recording.taken == [("b.wav", None)]


@pytest.mark.parametrize("inputs", [{"picture": "a\udcff.png"}, {"prompt": "She looks \udcff."}])
def test_letters_that_are_no_text_are_told(inputs):
    """So Python reads a file's name or an argument that is not in UTF-8."""
    known = {"LoadImage": INFO["LoadImage"], "Say": {"input": {"required": {"prompt": ["STRING", {}]}}}}
    prompt = {**PROMPT, "2": {"class_type": "Say", "inputs": {"prompt": ""}}}
    recording = Recording(known)
    with pytest.raises(UsageError, match=r"has letters that are no text\. Rename the file, or write it anew in UTF-8"):
        job.prepare(recording, prompt, inputs, [].append)
    assert recording.taken == []
