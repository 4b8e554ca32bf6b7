"""The share check's copies are made of what is allowed: whatever stands elsewhere in a file is in no copy."""

import json
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from pack.tests.toy import hiding_in_clips, hiding_places
from pack.tests.toy.hiding_places import CANARY, GRAPH, WORDS
from pack.tests.toy.private_things import ROOT
from pack.tests.toy.secrets_of_all_kinds import secrets
from PIL import Image
from private import clean_text
from private_graph import clean
from share_check import check, check_all, main
from share_read import ShareError, read

CLIPS, PICTURES, GRAPHS = hiding_in_clips.clips(), hiding_places.pictures(), hiding_places.graphs()


def frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("place", CLIPS)
def test_a_clip_has_its_secret_in_no_copy(tmp_path, place):
    (tmp_path / "a.mp4").write_bytes(CLIPS[place]())
    content = (tmp_path / "a.mp4").read_bytes()
    assert CANARY.encode() in content or CANARY.encode("utf-16-le") in content or place == "the name of a track"
    found = check(tmp_path / "a.mp4", False, tmp_path / "shared")
    assert found or place == "the name of a track"  # which has room for half of it alone
    copy = (tmp_path / "shared" / "a.mp4").read_bytes()
    assert b"canary" not in copy
    assert b"c\0a\0n\0a" not in copy
    assert frames(tmp_path / "shared" / "a.mp4") == frames(tmp_path / "a.mp4")
    assert json.loads(read(tmp_path / "shared" / "a.mp4")["workflow"]) == GRAPH
    assert check(tmp_path / "shared" / "a.mp4", True, None) == []


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_a_clip_without_a_secret_is_nothing_private_and_plays_as_before(tmp_path, codec):
    (tmp_path / "a.mp4").write_bytes(hiding_in_clips.clip(codec))
    assert check_all(tmp_path / "a.mp4", True, tmp_path / "shared") == ([], [])
    assert frames(tmp_path / "shared" / "a.mp4") == frames(tmp_path / "a.mp4")
    assert b"x26" not in (tmp_path / "shared" / "a.mp4").read_bytes()  # what encoders write of themselves
    assert check_all(tmp_path / "shared" / "a.mp4", True, tmp_path / "again") == ([], [])
    assert frames(tmp_path / "again" / "a.mp4") == frames(tmp_path / "a.mp4")


@pytest.mark.parametrize("place", PICTURES)
def test_a_picture_has_its_secret_in_no_copy(tmp_path, place):
    (tmp_path / "a.png").write_bytes(PICTURES[place]())
    assert check(tmp_path / "a.png", False, tmp_path / "shared")
    copy = tmp_path / "shared" / "a.png"
    assert b"canary" not in copy.read_bytes()
    assert json.loads(read(copy)["workflow"]) == GRAPH
    assert check(copy, True, tmp_path / "again") == []
    assert (tmp_path / "again" / "a.png").read_bytes() == copy.read_bytes()
    with Image.open(tmp_path / "a.png") as one, Image.open(copy) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
        assert set(other.info) == {"workflow"}


@pytest.mark.parametrize(("name", "words"), [("prompt", WORDS), ("/home/canary/workflow", json.dumps(GRAPH))])
def test_a_text_is_copied_only_if_it_is_a_graph_under_its_very_name(tmp_path, name, words):
    (tmp_path / "a.png").write_bytes(hiding_places.text(name, words))
    assert check_all(tmp_path / "a.png", False, tmp_path / "shared").left
    assert b"canary" not in (tmp_path / "shared" / "a.png").read_bytes()


def sized(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + hiding_places.chunk(b"IHDR", head)


def with_frame(width, height):
    size = struct.pack(">II", width, height)
    frame = hiding_places.chunk(b"fcTL", bytes(4) + size + bytes(14))
    return hiding_places.behind_header(hiding_places.chunk(b"acTL", struct.pack(">II", 1, 0)) + frame)


HOSTILE = {  # small files that would take much time or memory, or ended in a traceback
    "a picture of 2^62 pixels": (
        "a.png",
        "at most",
        lambda: sized(2**31 - 1, 2**31 - 1) + hiding_places.chunk(b"IEND", b""),
    ),
    "a frame larger than its picture": ("a.png", "does not fit", lambda: with_frame(60000, 60000)),
    "lists in a text": ("a.json", "nested", lambda: json.dumps({"nodes": [{"title": "[" * 100_000}]}).encode()),
    "lists in lists": ("a.json", "nested", lambda: b'{"nodes": [' + b"[" * 900 + b"]" * 900 + b"]}"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_would_take_much_time_or_memory_is_refused_with_a_sentence(tmp_path, kind):
    name, reason, make = HOSTILE[kind]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ShareError, match=reason):
        check(tmp_path / name, False, tmp_path / "shared")
    assert not (tmp_path / "shared" / name).exists()


def test_pixels_in_many_chunks_are_joined(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 255, (20, 20), dtype=np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    pieces = b"".join(hiding_places.chunk(b"IDAT", data[at : at + 1]) for at in range(len(data)))
    (tmp_path / "a.png").write_bytes(sized(20, 20) + pieces + hiding_places.chunk(b"IEND", b""))
    assert check(tmp_path / "a.png", False, tmp_path / "shared") == []
    with Image.open(tmp_path / "shared" / "a.png") as copy:
        assert np.array_equal(np.asarray(copy), pixels)


@pytest.mark.parametrize("words", ["a" * 1900 + ".b", "a1" * 950 + ".b", "-eyJ" * 50_000], ids=["a", "a1", "-eyJ"])
def test_words_that_are_almost_a_key_are_read_in_linear_time(words):
    assert clean_text(words, lambda _: None, "").endswith(words[-1])  # the first would take minutes, the last an hour


def test_what_the_report_shows_of_a_file_is_printable(tmp_path, capsys):
    graph = {"nodes": [], "\x1b[2J": 1, "extra": {"a\nb": "/home/ada/x\x1b[31m"}}
    (tmp_path / "g.json").write_text(json.dumps(graph), encoding="utf-8")
    main([str(tmp_path / "g.json")])
    shown = capsys.readouterr().out
    assert "a copy leaves out ?[2J" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_of_every_kind_keep_their_pixels(tmp_path, mode):
    pixels = np.random.default_rng(1).integers(0, 255, (13, 11, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels) if mode != "I;16" else Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    picture = picture if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "a.png", dpi=(72, 72), **({"transparency": 3} if mode == "P" else {}))
    assert check(tmp_path / "a.png", True, tmp_path / "shared") == []
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "shared" / "a.png") as other:
        assert (one.mode, one.info) == (other.mode, other.info)
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_interlaced_and_moving_pictures_keep_their_pixels(tmp_path):
    frames_of = [Image.fromarray(np.full((9, 7, 3), level, np.uint8)) for level in (10, 90, 200)]
    frames_of[0].save(tmp_path / "a.png", save_all=True, append_images=frames_of[1:], duration=[40, 80, 120])
    assert check(tmp_path / "a.png", True, tmp_path / "shared") == []
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "shared" / "a.png") as other:
        assert one.n_frames == other.n_frames == 3
        for index in range(3):
            one.seek(index)
            other.seek(index)
            assert one.info == other.info
            assert np.array_equal(np.asarray(one.convert("RGB")), np.asarray(other.convert("RGB")))
    interlaced = hiding_places.interlaced()
    (tmp_path / "b.png").write_bytes(interlaced)
    assert check(tmp_path / "b.png", True, tmp_path / "shared") == []
    with Image.open(tmp_path / "b.png") as one, Image.open(tmp_path / "shared" / "b.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("place", GRAPHS)
def test_what_comfyui_does_not_need_of_a_graph_is_in_no_copy(tmp_path, place):
    (tmp_path / "a.json").write_text(json.dumps(GRAPHS[place]), encoding="utf-8")
    checked = check_all(tmp_path / "a.json", False, tmp_path / "shared")
    copy = (tmp_path / "shared" / "a.json").read_text(encoding="utf-8")
    assert WORDS not in copy
    assert "cat.png" in copy or place == "a node's place"
    assert checked.left or place == "ComfyUI's note"


@pytest.mark.parametrize("place", GRAPHS)
def test_a_key_is_found_wherever_it_stands_in_a_graph(tmp_path, place):
    text = json.dumps(GRAPHS[place]).replace(WORDS, CANARY)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert [finding.kind for finding in check(tmp_path / "a.json", False, tmp_path / "shared")] == ["key"]
    assert "canary" not in (tmp_path / "shared" / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", secrets())
def test_a_secret_of_every_kind_is_known_by_its_looks(kind):
    secret = secrets()[kind]
    for form in ("{}", "see {} there", "first line\n{}\nlast line", "({})", '"{}"'):
        found = []
        shared = clean_text(form.format(secret), found.append, "")
        assert found, form
        assert not any(part in shared for part in (secret, secret[-12:], secret[len(secret) // 2 :])), form
        assert secret not in str(found)


def test_a_number_may_be_a_secret_too():
    node = {"class_type": "A", "inputs": {"api_key": 12345678, "latitude": 48.85837, "phone": 442079460958, "seed": 5}}
    hidden = {"api_key": "***", "latitude": "***", "phone": "***", "seed": 5}
    assert clean({"1": node}, False, lambda _: None)["1"]["inputs"] == hidden


SHIPPED = [
    path for folder in ("workflows", "subgraphs", "tests/data/graphs") for path in (ROOT / folder).rglob("*.json")
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_harmless_graph_is_the_same_in_its_copy(tmp_path, path):
    assert check_all(path, False, tmp_path) == ([], [])
    assert json.loads((tmp_path / path.name).read_text("utf-8")) == json.loads(path.read_text("utf-8"))


@pytest.mark.slow
def test_of_comfyuis_own_templates_nothing_that_matters_is_lost(tmp_path):
    spec = find_spec("comfyui_workflow_templates_json") or find_spec("comfyui_workflow_templates")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    packages = Path(spec.submodule_search_locations[0]).parent.glob("comfyui_workflow_templates*")  # one or more
    files = sorted(path for package in packages for path in package.rglob("*.json"))
    graphs = [path for path in files if not path.name.startswith("index") and '"nodes"' in path.read_text("utf-8")]
    lost = {}
    for path in graphs[::8]:
        checked = check_all(path, False, tmp_path)
        left = {place for place in checked.left if place not in ("extra.prompt", "extra.comfy_fork_version")}
        if left or any(finding.kind != "key" for finding in checked.found):
            lost[path.name] = checked
    assert len(graphs[::8]) >= 30
    assert lost == {}


@pytest.mark.parametrize("kind", [["A", "B"], None, -1, "*"])
def test_a_link_of_any_kind_that_graphs_have_is_kept(tmp_path, kind):
    graph = {"nodes": [], "links": [[1, "2", 0, 3, 0, kind]]}
    (tmp_path / "a.json").write_text(json.dumps(graph), encoding="utf-8")
    assert check_all(tmp_path / "a.json", False, tmp_path / "shared") == ([], [])
    assert json.loads((tmp_path / "shared" / "a.json").read_text("utf-8")) == graph
