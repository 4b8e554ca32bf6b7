"""Prefixes: what a disk takes and ComfyUI shows, and one sentence for everything else."""

import errno
import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.media.filenames import ADDED, check_folder, check_prefix
from pack.tests.toy import refusing_kernel

OUTPUT = "/srv/output"


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [
        ("clip", "clip"),
        ("video/clip", "video/clip"),
        ("clips/", "clips"),
        ("./a//b/.", "a/b"),
        ("a/../b/clip", "b/clip"),
        ("/srv/output/inside", "inside"),
        ("v1.2", "v1.2"),
        ("a..b/clip", "a..b/clip"),
        ("clip_00001_", "clip_00001_"),
        ("%year%-%month%/%width%x%height%", "%year%-%month%/%width%x%height%"),
        ("小猫 🐈‍⬛ été", "小猫 🐈‍⬛ été"),
        ("سلام\u200f", "سلام\u200f"),
        ("-x", "-x"),
        ("CON/aux", "CON/aux"),
        ("a:b?", "a:b?"),
        ("x" * (255 - ADDED), "x" * (255 - ADDED)),
        ("/".join(["y" * 255, "z"]), "/".join(["y" * 255, "z"])),
    ],
)
def test_what_can_be_saved_is_kept_in_its_shortest_form(prefix, kept):
    assert check_prefix(prefix, OUTPUT, windows=False) == kept


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("../x", "'../x' leads out of it. Remove the ../."),
        ("/etc/x", "'/etc/x' leads out of it."),
        ("", "'' holds none. Type one, such as video/wan22-turbo."),
        (".", "'.' holds none."),
        ("a/..", "'a/..' holds none."),
        ("v1..2", "two dots side by side in its name, and filename_prefix ends in 'v1..2'. Write one dot."),
        ("a/clip..", "ends in 'clip..'."),
        ("blake3:x", "begins with 'blake3:'"),
        ("a\nb", "letter 2 of filename_prefix is U+000A, a control character. Remove it."),
        ("a\0", "letter 2 of filename_prefix is U+0000"),
        ("\x85", "U+0085"),
        ("gpj.\u202e4pm", "letter 5 of filename_prefix is U+202E, right-to-left override."),
        ("\u2066x", "U+2066, left-to-right isolate"),
        ("\ud800", "U+D800"),
        ("a\u2028b", "U+2028, line separator"),
        ("x" * 250, f"has up to {255 - ADDED} bytes, got 250"),
        ("小" * 90, f"has up to {255 - ADDED} bytes, got 270"),
        ("y" * 256 + "/z", "has up to 255 bytes, got 256"),
        ("z" * 1_000_000, "has up to 1000 letters, got 1000000. Shorten it."),
    ],
)
def test_what_cannot_be_saved_is_a_sentence(prefix, said):
    with pytest.raises(ValueError, match=re.escape(said)) as failure:
        check_prefix(prefix, OUTPUT, windows=False)
    assert len(str(failure.value)) < 300
    assert str(failure.value).isprintable()


def test_a_path_may_be_too_long_although_its_names_are_not(tmp_path):
    with pytest.raises(ValueError, match="A path has up to 4095 bytes, and filename_prefix makes it"):
        check_prefix("/".join(["小" * 70] * 14), f"/{'d/' * 700}", windows=False)


@pytest.mark.parametrize("prefix", ["a:b", 'a"b', "a<b", "what?", "CON/x", "a/nul.x/clip", "com1", "a./b", "a /b"])
def test_windows_has_rules_of_its_own(prefix):
    if prefix != "com1":  # of which the number makes com1_00001_, a name like others
        with pytest.raises(ValueError, match=r"Windows|every letter"):
            check_prefix(prefix, OUTPUT, windows=True)
    check_prefix(prefix, OUTPUT, windows=False)


def test_a_folder_that_is_there_or_can_be_made_takes_clips(tmp_path):
    check_folder("clip", tmp_path)
    check_folder("a/b/clip", tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_link_to_nowhere_is_no_folder(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("nowhere")
    for name in ("a", "b"):
        for folder in (tmp_path / name, tmp_path / name / "c"):
            with pytest.raises(ValueError, match=f"filename_prefix '{name}/x': '{name}' is no folder"):
                check_folder(f"{name}/x", folder)


@pytest.mark.skipif(not refusing_kernel.available, reason="needs a kernel that refuses on request")
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "Let ComfyUI write there"),
        (errno.EROFS, "Let ComfyUI write there"),
        (errno.EIO, "Let ComfyUI write there"),
        (errno.ENOSPC, "Make room on the disk."),
    ],
)
def test_a_disk_that_takes_no_file(tmp_path, code, remedy):
    with pytest.raises(ValueError, match=rf"'a/x': {os.strerror(code)}\. {remedy}"):
        refusing_kernel.run(lambda: check_folder("a/x", tmp_path / "a"), create=code)
    assert list(tmp_path.iterdir()) == []


def fits(name):
    return all(unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") for letter in name)


@settings(derandomize=True, deadline=None)
@given(st.text(st.sampled_from("ab./\\_ 0%:小\u202e\n\ud800é"), min_size=0, max_size=300))
def test_a_checked_prefix_stays_below_the_folder_and_is_checked_again_to_the_same(prefix):
    with suppress(ValueError):
        kept = check_prefix(prefix, OUTPUT, windows=False)
        check_kept(kept)


def check_kept(kept):
    path = Path(os.path.normpath(os.path.join(OUTPUT, kept)))
    assert path.is_relative_to(OUTPUT)
    assert path.name == os.path.basename(kept)
    assert ".." not in path.name
    assert fits(kept)
    assert check_prefix(kept, OUTPUT, windows=False) == kept


@pytest.mark.parametrize(
    "page",
    ["Wan22Turbo_SaveMp4.md", "Wan22Turbo_SaveMp4/zh.md", "Wan22Turbo_DecodeMp4.md", "Wan22Turbo_DecodeMp4/zh.md"],
)
def test_the_pages_say_how_long_a_name_may_be(page):
    most = 255 - ADDED
    text = (Path(__file__).parents[2] / "web" / "docs" / page).read_text(encoding="utf-8")
    assert re.search(rf"\b{most}\D+{most // 3}\b", text)  # bytes, and letters of three bytes each
