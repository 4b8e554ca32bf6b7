"""What a file tells about its maker: found and taken out of graphs, prompts, pictures and videos."""

import json
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from pack.hosted import masking
from pack.media.codecs import CODECS
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from share_check import check, clean, findings, main, read

NAMED = re.search(r"\(\?:(.+?)\)=", masking._TOKEN.pattern)[1].replace(r"[\w-]*", "x-").split("|")
WORDS = "My neighbour waves from her garden."
SECRETS = [
    "C:\\Users\\ada\\models\\cat.safetensors",
    "/home/ada/pictures/cat.png",
    "hf_0123456789abcdef",
    "token=s3cret",
]
GRAPH = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["/home/ada/pictures/cat.png", "image"]},
        {"id": 2, "type": "UNETLoader", "widgets_values": ["C:\\Users\\ada\\models\\cat.safetensors"]},
        {
            "id": 3,
            "type": "Wan22Turbo_HostedLora",
            "widgets_values": ["https://x.org/a.safetensors?type=M&token=s3cret"],
        },
        {"id": 4, "type": "CLIPTextEncode", "widgets_values": [WORDS]},
        {"id": 5, "type": "MarkdownNote", "widgets_values": ["A note for everybody who opens this."]},
        {"id": 6, "type": "Other", "widgets_values": ["sent as Bearer hf_0123456789abcdef", 7, None, True]},
    ],
    "extra": {"api_key": "plain words", "nested": json.dumps({"file": "/mnt/disk/x.png"})},
}
PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
    "2": {"class_type": "Wan22Turbo_Lora", "inputs": {"prompt": WORDS, "trigger_words": "ada", "strength_high": 1.0}},
}


def kinds(value, **options):
    return sorted(finding.kind for finding in findings(value, **options))


def test_paths_and_keys_are_found_and_prompts_on_request():
    assert kinds(GRAPH) == ["key", "key", "key", "path", "path", "path"]
    assert kinds(GRAPH, prompts=True).count("prompt") == 2  # any text of several words
    assert kinds(PROMPT) == []
    assert kinds(PROMPT, prompts=True) == ["prompt", "prompt"]


def test_a_finding_does_not_repeat_the_key():
    told = "\n".join(map(str, findings(GRAPH)))
    assert "hf_0123456789abcdef" not in told
    assert "s3cret" not in told
    assert "path at nodes[0].widgets_values[0]: /home/ada/pictures/cat.png" in told


@pytest.mark.parametrize("mark", "?&#")
@pytest.mark.parametrize("name", NAMED)
def test_what_hosted_nodes_hide_in_an_address_is_found_here_too(name, mark):
    address = f"https://x.org/a.safetensors?type=M{mark}{name}=s3cret"
    assert masking.without_tokens(address) == clean(address, False, lambda _: None)
    assert kinds(address) == ["key"]


@pytest.mark.parametrize(
    "harmless",
    [
        "video/wan22-turbo",
        "https://huggingface.co/a/b/resolve/main/home/c.safetensors",
        "wan\\wan2.2_high.safetensors",
        "1.0000 .9375 | .8333 .6250",
        "either/or, 16:9, A: yes",
        "https://x.org/a.safetensors?token=***",
        "{not json",
    ],
)
def test_what_everybody_may_read_is_left_alone(harmless):
    assert findings({"widgets_values": [harmless]}) == []


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ("C:\\Users\\Ada Lovelace\\我的 模型\\cat 2.safetensors", "cat 2.safetensors"),
        ("/home/ada/Wan 2.2/", "Wan 2.2"),
        ("\\\\nas\\films\\a.mp4", "a.mp4"),
        ("see ~/notes/a.txt and D:/b.png", "see a.txt and b.png"),
        ("https://ada:pass@x.org/a?api_key=k1&type=M", "https://***@x.org/a?api_key=***&type=M"),
    ],
)
def test_of_a_path_the_name_is_left_and_of_an_address_the_address(written, shared):
    assert clean(written, False, lambda _: None) == shared


def write_graph(path):
    path.write_text(json.dumps(GRAPH), encoding="utf-8")


def write_png(path):
    info = PngInfo()
    info.add_text("workflow", json.dumps(GRAPH))
    info.add_text("prompt", json.dumps(PROMPT))
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(path, pnginfo=info)


def write_mp4(path, codec="h264"):
    text = {"workflow": json.dumps(GRAPH), "prompt": json.dumps(PROMPT)}
    with Mp4Writer(path, Size(64, 64), Fraction(24000, 1001), codec, metadata=text) as video:
        for level in (0.2, 0.5, 0.8):
            video.write(np.full((64, 64, 3), level, np.float32))


WRITERS = {"graph.json": write_graph, "picture.png": write_png, "a clip 小.mp4": write_mp4}


@pytest.mark.parametrize("name", WRITERS)
def test_a_copy_holds_nothing_private_and_the_file_is_as_it_was(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()
    assert check(path, True, tmp_path / "shared")
    copy = tmp_path / "shared" / name
    assert path.read_bytes() == before
    assert check(copy, True, None) == []
    text = json.dumps(read(copy), ensure_ascii=False)
    assert not [secret for secret in [*SECRETS, WORDS, "ada"] if secret in text]
    assert "cat.safetensors" in text  # what it needs is still named
    assert "A note for everybody" in text


def test_the_copy_of_a_picture_has_its_pixels(tmp_path):
    write_png(tmp_path / "a.png")
    check(tmp_path / "a.png", False, tmp_path / "shared")
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "shared" / "a.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("codec", CODECS)
def test_the_copy_of_a_clip_has_its_packets_and_opens_as_its_graph(tmp_path, codec):
    write_mp4(tmp_path / "a.mp4", codec)
    check(tmp_path / "a.mp4", False, tmp_path / "shared")
    clips = []
    for path in (tmp_path / "a.mp4", tmp_path / "shared" / "a.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            clips.append((container.duration, [bytes(packet) for packet in container.demux(stream)]))
            assert json.loads(container.metadata["workflow"])["nodes"][3]["widgets_values"] == [WORDS]
            assert stream.codec_context.colorspace == 1  # BT.709
            assert stream.codec_context.codec_tag == CODECS[codec].tag  # else QuickTime does not play H.265
    assert clips[0] == clips[1]
    assert (tmp_path / "shared" / "a.mp4").read_bytes().index(b"moov") < 100  # it still starts at once


def test_a_file_without_anything_private_is_copied_byte_by_byte(tmp_path):
    path = tmp_path / "b.json"
    path.write_text(json.dumps(PROMPT, indent=7), encoding="utf-8")
    assert check(path, False, tmp_path / "shared") == []
    assert (tmp_path / "shared" / "b.json").read_bytes() == path.read_bytes()


def test_the_command_says_what_it_found_and_ends_with_it(tmp_path, capsys):
    write_graph(tmp_path / "g.json")
    assert main([str(tmp_path / "g.json")]) == 1
    assert capsys.readouterr().out.startswith("g.json: 6 private\n  path at nodes[0].widgets_values[0]: /home/ada")
    assert main(["--strip-to", str(tmp_path / "s"), str(tmp_path / "g.json")]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "s" / "g.json")]) == 0
    assert capsys.readouterr().out == "g.json: nothing private\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.json", "A file must be readable to be checked; gone.json is not"),
        ("torn.mp4", "A file must be readable to be checked; torn.mp4 is not"),
        ("graph.yaml", r"The check reads .json, .png, .mp4, .mov, .m4v; graph.yaml is none of these."),
    ],
)
def test_files_that_cannot_be_checked_are_named(tmp_path, capsys, name, message):
    if not name.startswith("gone"):
        (tmp_path / name).write_bytes(b"torn")
    assert main([str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_is_not_replaced_by_its_copy(tmp_path, capsys):
    write_graph(tmp_path / "g.json")
    assert main(["--strip-to", str(tmp_path), str(tmp_path / "g.json")]) == 2
    assert "would replace the file" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["workflows", "workflows/api", "subgraphs", "tests/data/graphs/0.1.0"])
def test_what_is_shipped_tells_nothing_private(folder):
    files = list((Path(__file__).parents[2] / folder).glob("*.json"))
    assert files
    assert {path.name: found for path in files if (found := check(path, False, None))} == {}
