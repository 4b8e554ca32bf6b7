"""The share check on files: what it finds, its copies, and its command."""

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from pack.media.codecs import CODECS
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from pack.tests.toy.hiding_in_clips import clip
from pack.tests.toy.private_things import GRAPH, PROMPT, ROOT, SECRETS, WORDS
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from share_check import check, main
from share_read import ShareError, read


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


@pytest.mark.parametrize("escaped", [True, False], ids=["as ComfyUI writes it", "UTF-8"])
@pytest.mark.parametrize("letters", ["1 · café", "猫"])
def test_the_copy_of_a_picture_has_its_letters_in_utf_8(tmp_path, letters, escaped):
    info = PngInfo()
    graph = {"nodes": [{"type": "LoadImage", "widgets_values": ["/home/ada/x", letters]}]}
    info.add_itxt("workflow", json.dumps(graph, ensure_ascii=escaped))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert check(tmp_path / "a.png", False, tmp_path / "shared")
    content = (tmp_path / "shared" / "a.png").read_bytes()
    assert json.dumps(["x", letters], ensure_ascii=escaped).encode() in content  # ComfyUI decodes all text so


@pytest.mark.parametrize("codec", CODECS)
def test_the_copy_of_a_clip_has_its_pictures_and_opens_as_its_graph(tmp_path, codec):
    write_mp4(tmp_path / "a.mp4", codec)
    check(tmp_path / "a.mp4", False, tmp_path / "shared")
    clips = []
    for path in (tmp_path / "a.mp4", tmp_path / "shared" / "a.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [(frame.pts, frame.to_ndarray().tobytes()) for frame in container.decode(stream)]
            clips.append((container.duration, stream.average_rate, frames))
            assert json.loads(container.metadata["workflow"])["nodes"][3]["widgets_values"] == [WORDS]
            assert stream.codec_context.colorspace == 1  # BT.709
            assert stream.codec_context.codec_tag == CODECS[codec].tag  # else QuickTime does not play H.265
    assert clips[0] == clips[1]
    assert (tmp_path / "shared" / "a.mp4").read_bytes().index(b"moov") < 100  # it still starts at once


def test_a_file_without_anything_private_is_made_anew_all_the_same(tmp_path):
    path = tmp_path / "b.json"
    path.write_text(json.dumps(PROMPT, indent=7), encoding="utf-8")
    assert check(path, False, tmp_path / "shared") == []
    assert json.loads((tmp_path / "shared" / "b.json").read_text(encoding="utf-8")) == PROMPT


def test_of_what_is_no_graph_no_copy_is_made(tmp_path, capsys):
    (tmp_path / "b.json").write_text('{"file": "cat.png"}', encoding="utf-8")
    assert main([str(tmp_path / "b.json"), "--strip-to", str(tmp_path / "shared")]) == 2
    assert (
        "A copy is made of what ComfyUI needs of a graph or an API prompt; b.json is neither" in capsys.readouterr().err
    )
    assert not (tmp_path / "shared").exists()


def test_entries_with_the_same_name_are_told_of(tmp_path):
    text = '{"nodes": [{"title": "hf_0123456789abcdef", "title": "A"}]}'
    (tmp_path / "b.json").write_text(text, encoding="utf-8")
    (found,) = check(tmp_path / "b.json", False, tmp_path / "shared")
    assert found.kind == "data"
    assert "hf_0" not in (tmp_path / "shared" / "b.json").read_text(encoding="utf-8")


def test_the_report_lists_what_a_copy_leaves_out(tmp_path, capsys):
    graph = {"nodes": [{"type": "A", "unknown": 1}], "extra": {"ds": {"scale": 1}, "mine": "x"}, "mine": 2}
    (tmp_path / "g.json").write_text(json.dumps(graph), encoding="utf-8")
    assert main([str(tmp_path / "g.json")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "g.json: nothing private",
        "  a copy leaves out nodes[0].unknown",
        "  a copy leaves out extra.mine",
        "  a copy leaves out mine",
    ]


def test_a_copy_lacks_what_comfyui_notes_of_a_nodes_inputs_even_if_it_tells_nothing_private(tmp_path):
    noted = {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}, "is_changed": ["0123"]}}
    (tmp_path / "b.json").write_text(json.dumps(noted), encoding="utf-8")
    assert check(tmp_path / "b.json", True, tmp_path / "shared") == []
    assert "is_changed" not in (tmp_path / "shared" / "b.json").read_text(encoding="utf-8")


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


def test_one_file_that_cannot_be_checked_leaves_none_unchecked(tmp_path, capsys):
    write_graph(tmp_path / "g.json")
    (tmp_path / "torn.mp4").write_bytes(b"torn")
    assert main([str(tmp_path / "torn.mp4"), str(tmp_path / "g.json")]) == 2
    said = capsys.readouterr()
    assert "torn.mp4 is not" in said.err
    assert "g.json: 6 private" in said.out


def test_a_folder_for_copies_that_cannot_be_is_a_sentence(tmp_path, capsys):
    write_graph(tmp_path / "g.json")
    (tmp_path / "a file").write_bytes(b"")
    assert main(["--strip-to", str(tmp_path / "a file"), str(tmp_path / "g.json")]) == 2
    assert "No clean copy can be made of g.json: " in capsys.readouterr().err


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


@pytest.mark.parametrize("name", ["a.json", "a.png", "a.mp4"])
def test_what_is_in_the_folder_already_is_not_replaced_by_another_copy(tmp_path, name):
    """Clips of all folders have the same names, wan22-turbo_00001_.mp4."""
    first, second = tmp_path / "1" / name, tmp_path / "2" / name
    for number, path in enumerate((first, second)):
        path.parent.mkdir()
        words = json.dumps({"nodes": [{"id": number, "type": "A"}]})
        if name == "a.json":
            path.write_text(words, encoding="utf-8")
        elif name == "a.png":
            (info := PngInfo()).add_text("workflow", words)
            Image.new("RGB", (4, 4)).save(path, pnginfo=info)
        else:
            path.write_bytes(clip(workflow=words))
    shared = tmp_path / "s"
    for _ in range(2):  # the same copy again is no harm
        check(first, False, shared)
    before = (shared / name).read_bytes()
    with pytest.raises(ShareError, match=f"There is another {name} in s, which is not replaced"):
        check(second, False, shared)
    assert (shared / name).read_bytes() == before
    assert [path.name for path in shared.iterdir()] == [name]


@pytest.fixture
def package(tmp_path):
    """The pack as ComfyUI-Manager installs it, as far as .comfyignore and this check are concerned."""
    lines = (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
    kept = [line[1:] for line in lines[lines.index("tools/*") + 1 :] if line.startswith("!")]
    assert "tools/" not in lines  # what is in a folder that is left out cannot be kept
    folder = tmp_path / "ComfyUI" / "custom_nodes" / "wan22 turbo 小"
    for room in ("media", "common"):
        shutil.copytree(ROOT / room, folder / room)
    (folder / "tools").mkdir()
    for name in kept:
        shutil.copy(ROOT / name, folder / name)
    return folder


def share_check(package, *arguments):
    """Runs it as the Python of the portable ComfyUI does, which does not look into the script's folder."""
    command = [sys.executable, "-I", *arguments[:-1], str(package / "tools" / "share_check.py"), *arguments[-1]]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=package.parent, check=False)


@pytest.mark.slow
def test_an_installed_pack_checks_a_graph_with_the_standard_library_alone(package, tmp_path):
    write_graph(tmp_path / "g.json")
    done = share_check(package, "-S", [str(tmp_path / "g.json")])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("g.json: 6 private")


@pytest.mark.slow
def test_a_console_that_lacks_letters_still_gets_the_findings(package, tmp_path):
    (tmp_path / "图.json").write_text(json.dumps({"file": "/home/ada/猫.png"}), encoding="utf-8")
    command = [sys.executable, str(package / "tools" / "share_check.py"), str(tmp_path / "图.json")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"/home/ada/\\u732b.png" in done.stdout


@pytest.mark.parametrize("name", ["picture.png", "a clip 小.mp4"])
@pytest.mark.slow
def test_an_installed_pack_cleans_pictures_and_clips(package, tmp_path, name):
    WRITERS[name](tmp_path / name)
    done = share_check(package, ["--strip-to", str(tmp_path / "s"), str(tmp_path / name)])
    assert (done.returncode, done.stderr) == (0, "")
    assert check(tmp_path / "s" / name, False, None) == []
