"""What a file tells about its maker: found and taken out of graphs, prompts, pictures and videos."""

import json
import os
import re
import shutil
import subprocess
import sys
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
from private import is_own_title
from share_check import check, clean, findings, main, read

ROOT = Path(__file__).parents[2]
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


HEX = "0123456789abcdef0123456789abcdef"
UUID = "12345678-90ab-cdef-1234-567890abcdef"


def cleaned(value, prompts=False):
    return clean(value, prompts, lambda _: None)


def node(values, *names, kind="Other", slots="inputs"):
    """A node of a graph, with an input that has no widget before those that have one."""
    widgets = [{"name": name, "type": "STRING", "widget": {"name": name}} for name in names]
    return {"id": 1, "type": kind, slots: [{"name": "image", "type": "IMAGE"}, *widgets], "widgets_values": values}


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        (node(["plain", "cat.png"], "api_key", "file"), ["***", "cat.png"]),
        (node([5, "randomize", "plain"], "seed", "authToken"), [5, "randomize", "***"]),
        (node(["fixed", "plain"], "mode", "password"), ["fixed", "***"]),
        (node(["cat.png", "image", "plain"], "image", "upload", "api_key"), ["cat.png", "image", "***"]),
        (node(["plain", "fixed"], "api_key", slots="outputs"), ["***", "fixed"]),  # a primitive
        (node({"api_key": "plain", "mode": "auto"}, "api_key", "mode"), {"api_key": "***", "mode": "auto"}),
        (
            node(["a.safetensors", 3, "claude-4-20260101", "abcd0123efgh4567"], "lora", "api_key"),
            ["a.safetensors", 3, "claude-4-20260101", "***"],
        ),  # some named
        (node(["auto", HEX, "16:9"]), ["auto", "***", "16:9"]),  # none named
    ],
)
def test_a_key_in_a_widget_is_known_by_the_widgets_name(written, shared):
    assert cleaned(written)["widgets_values"] == shared
    assert kinds(written) == ["key"]
    assert kinds(cleaned(written)) == []


@pytest.mark.parametrize(
    "key",
    [
        HEX,
        HEX * 2,
        f"{UUID}:{HEX}",
        "hf_0123456789abcdef",
        "sk-proj-0123456789abcdef",
        "github_pat_11ABCDEFG0abcdefghij",
        "ghp_0123456789abcdef",
        "gho_0123456789abcdef",
        "ghs_0123456789abcdef",
        "AIzaSyA0123456789abcdefghijklmnopqrstu",
        "r8_0123456789abcdefghij",
        "xoxb-1234567890-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk-_",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abcdefgh12345678==",
    ],
)
def test_a_key_is_known_by_its_looks(key):
    assert cleaned(node([key])) == node(["***"])
    assert cleaned(f"see {key} there") == "see *** there"


@pytest.mark.parametrize(
    ("written", "shared"),
    [
        ("api_key: x", "api_key: ***"),
        ("password=x, then", "password=***, then"),
        ("MY_API_KEY='x'", "MY_API_KEY='***'"),
        ("accessToken: x", "accessToken: ***"),
        ("Authorization: Basic dXNl", "Authorization: ***"),
        ("API key: abcd1234", "API key: ***"),
        ("https://x.org/a.safetensors#token=x", "https://x.org/a.safetensors#token=***"),
        ("https://ada:pa=ss@x.org/", "https://***@x.org/"),
        ({"authToken": "x"}, {"authToken": "***"}),
        ({"accessToken": "x"}, {"accessToken": "***"}),
        ({"X-API-Key": "x"}, {"X-API-Key": "***"}),
        ({"name": "api_key", "value": "x"}, {"name": "api_key", "value": "***"}),
        ({"key": "Authorization", "value": "x"}, {"key": "Authorization", "value": "***"}),
        ({"api_key": "[x"}, {"api_key": "***"}),
    ],
)
def test_a_key_is_known_by_what_it_is_called(written, shared):
    assert cleaned(written) == shared
    assert kinds(written) == ["key"]
    assert kinds(shared) == []


@pytest.mark.parametrize(
    "public",
    [
        {"sha256": HEX, "model_hash": HEX, "hashes": {"model": HEX}, "models": {"a b.safetensors": HEX}},
        {"properties": {"cnr_id": "a-pack", "ver": HEX + "01234567"}, "id": UUID, "type": UUID},
        {"extra": {"node_versions": {"a-pack": HEX + "01234567"}}},
        {"api_key": ["4", 0], "token_normalization": "mean", "max_tokens": "512"},
        f"https://huggingface.co/a/b/resolve/{HEX}/c.safetensors",
        f"pasted/{HEX}.png",
        ["hf_wan22_high.safetensors", "r8_wan22turbo_v2.gguf", "hf_transfer/wan22"],
        f"sha256: {HEX}",
        "API key: set it in the settings. Secret: the garden, token: a trigger word.",
    ],
)
def test_hashes_ids_links_and_prose_are_no_keys(public):
    assert findings(public) == []


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
        "a torch bearer standing by the door",
        "hf_transfer, with 50/50 light and/or rain",
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
        ("see C:\\Users\\Ada Lovelace\\models\\x", "see x"),
        ("see C:\\Users\\Ada Lovelace\\models\\x, please", "see x, please"),
        ("in /Users/Ada Lovelace/My Films/a.mp4 or films/b", "in a.mp4 or films/b"),
        ("/mnt/c/Users/Ada", "***"),
        ("from /home/ada", "from ***"),  # of a home folder, the name is the person's
        ("from C:\\Users\\Ada Lovelace, as ever", "from ***, as ever"),
        ("on /Volumes/Ada's disk/a.png", "on a.png"),
        ("'/tmp/x/a.png' and '/tmp/x/b.png'", "'a.png' and 'b.png'"),
        ("PATH=/usr:/home/ada/bin", "PATH=/usr:bin"),
        ("https://ada:pass@x.org/a?api_key=k1&type=M", "https://***@x.org/a?api_key=***&type=M"),
    ],
)
def test_of_a_path_the_name_is_left_and_of_an_address_the_address(written, shared):
    assert clean(written, False, lambda _: None) == shared


@pytest.mark.parametrize(
    "folder",
    [
        "/Volumes/", "/content/", "/kaggle/", "/storage/", "/srv/", "/notebooks/", "/runpod-volume/", "$HOME/",
        "${HOME}/", "%USERPROFILE%\\", "file:/home/", "file:///C:/", "~\\",
    ],
)  # fmt: skip
def test_folders_that_machines_keep_their_files_in_are_private(folder):
    assert cleaned(node([f"see {folder}ada/a.png"])) == node(["see a.png"])


@pytest.mark.parametrize("name", ["positive", "negative", "text_g", "text_l", "wildcard_text", "caption", "prompt_2"])
def test_one_word_under_the_name_of_a_text_is_a_prompt(name):
    assert kinds({"1": {"class_type": "Other", "inputs": {name: "ada"}}}, prompts=True) == ["prompt"]
    assert kinds({"nodes": [node(["ada"], name)]}, prompts=True) == ["prompt"]


@pytest.mark.parametrize(
    "words", ["Ada waves", "ada,waves", "一只猫在花园里", '{"0": "Ada waves"}', "[Ada:Eve:0.5] waves"]
)
def test_words_under_any_name_are_a_prompt(words):
    for graph in ({"1": {"class_type": "Other", "inputs": {"x": words}}}, {"nodes": [node([words])]}):
        assert kinds(graph, prompts=True) == ["prompt"]
        assert "Ada" not in (text := json.dumps(cleaned(graph, True), ensure_ascii=False))
        assert "猫" not in text


def test_files_options_numbers_and_links_are_no_prompts():
    values = {
        "a": "wan 2.2.safetensors",
        "b": "cat 2.png [input]",
        "c": "lanczos",
        "d": "1.0 .93 | .5",
        "text": ["4", 0],
    }
    assert findings({"1": {"class_type": "Other", "inputs": values}}, prompts=True) == []
    option = node(["nearest exact"], "method")
    option["inputs"][1]["type"] = "COMBO"
    assert findings({"nodes": [option]}, prompts=True) == []


def test_no_option_of_this_packs_nodes_is_a_prompt():
    schemas = json.loads((ROOT / "tests" / "data" / "schemas.json").read_text(encoding="utf-8"))
    inputs = [(name, given) for schema in schemas.values() for name, given in schema["inputs"].items()]
    options = [(name, option) for name, given in inputs for option in given.get("options", [])]
    assert len(options) > 50
    for name, option in options:
        assert findings({"1": {"class_type": "Other", "inputs": {name: option}}}, prompts=True) == []
        assert findings({"nodes": [node([option])]}, prompts=True) == []  # as in graphs that do not name their widgets


def test_the_titles_that_people_gave_are_prompts():
    graph = {
        "nodes": [{**node([]), "title": "Ada's birthday"}, {**node([], kind="VAEDecode"), "title": "VAE Decode"}],
        "groups": [{"title": "For Eve", "bounding": [0, 0, 1, 1]}, {"title": "Group", "bounding": [0, 0, 1, 1]}],
        "definitions": {"subgraphs": [{"id": UUID, "name": "Ada's", "nodes": [], "inputNode": {}}]},
    }
    prompt = {"1": {"class_type": "LoadImage", "inputs": {}, "_meta": {"title": "Ada at home"}}}
    assert kinds([graph, prompt]) == []
    assert kinds([graph, prompt], prompts=True) == ["prompt"] * 4
    assert [part["title"] for part in cleaned(graph, True)["nodes"]] == ["", "VAE Decode"]
    assert cleaned(prompt, True)["1"]["_meta"] == {"title": ""}


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("UNETLoader", "Load Diffusion Model"),
        ("CLIPTextEncode", "CLIP Text Encode (Prompt)"),
        ("KSamplerAdvanced", "KSampler (Advanced)"),
        ("EmptyHunyuanLatentVideo", "Empty HunyuanVideo 1.0 Latent"),
        ("Wan22Turbo_Resolution", "Fit to 720p"),
        ("MarkdownNote", "Markdown Note"),
        (UUID, "New Subgraph"),
    ],
)
def test_the_titles_that_comfyui_gives_are_not(kind, title):
    assert is_own_title(title, kind)
    assert findings({"1": {"class_type": kind, "inputs": {}, "_meta": {"title": title}}}, prompts=True) == []


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


@pytest.mark.parametrize("second", ["graph.json", "Graph.JSON"])
def test_two_files_that_would_become_one_copy_are_refused_before_anything_is_written(tmp_path, capsys, second):
    for path in (one := tmp_path / "a" / "graph.json", other := tmp_path / "b" / second):
        path.parent.mkdir()
        write_graph(path)
    shared = tmp_path / "s"
    assert main([str(one), str(other), "--strip-to", str(shared)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"The copies of {one} and {other} would be one file in {shared}" in told.err
    assert not shared.exists()
    assert main([str(one), str(one), "--strip-to", str(shared)]) == 0  # the same file twice is no harm


def test_a_copy_that_would_replace_another_file_to_be_copied_is_refused(tmp_path, capsys):
    (tmp_path / "b").mkdir()
    for path in (one := tmp_path / "first.json", other := tmp_path / "b" / "second.json"):
        write_graph(path)
    assert main([str(one), str(other), "--strip-to", str(tmp_path / "b")]) == 2
    assert "The copy of second.json would replace the file" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["second.json"]


@pytest.fixture
def package(tmp_path):
    """The pack as ComfyUI-Manager installs it, as far as .comfyignore and this check are concerned."""
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
    kept = [line[1:] for line in lines[lines.index("tools/*") + 1 :] if line.startswith("!")]
    assert "tools/" not in lines  # what is in a folder that is left out cannot be kept
    folder = tmp_path / "ComfyUI" / "custom_nodes" / "wan22 turbo 小"
    shutil.copytree(ROOT / "media", folder / "media")
    (folder / "tools").mkdir()
    for name in kept:
        shutil.copy(ROOT / name, folder / name)
    return folder


def share_check(package, *arguments):
    """Runs it as the Python of the portable ComfyUI does, which does not look into the script's folder."""
    command = [sys.executable, "-I", *arguments[:-1], str(package / "tools" / "share_check.py"), *arguments[-1]]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=package.parent, check=False)


def test_an_installed_pack_checks_a_graph_with_the_standard_library_alone(package, tmp_path):
    write_graph(tmp_path / "g.json")
    done = share_check(package, "-S", [str(tmp_path / "g.json")])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("g.json: 6 private")


def test_a_console_that_lacks_letters_still_gets_the_findings(package, tmp_path):
    (tmp_path / "图.json").write_text(json.dumps({"file": "/home/ada/猫.png"}), encoding="utf-8")
    command = [sys.executable, str(package / "tools" / "share_check.py"), str(tmp_path / "图.json")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"/home/ada/\\u732b.png" in done.stdout


@pytest.mark.parametrize("name", ["picture.png", "a clip 小.mp4"])
def test_an_installed_pack_cleans_pictures_and_clips(package, tmp_path, name):
    WRITERS[name](tmp_path / name)
    done = share_check(package, ["--strip-to", str(tmp_path / "s"), str(tmp_path / name)])
    assert (done.returncode, done.stderr) == (0, "")
    assert check(tmp_path / "s" / name, False, None) == []


@pytest.mark.parametrize(
    "folder", ["workflows", "workflows/api", "subgraphs", "tests/data/graphs/0.1.0", "tests/data/graphs/0.1.0/api"]
)
def test_what_is_shipped_tells_nothing_private(folder):
    files = list((ROOT / folder).glob("*.json"))
    assert files
    assert {path.name: found for path in files if (found := check(path, False, None))} == {}
