"""Whole or absent: files that are killed, that nobody has room for, that somebody else still writes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from pack.media.publish import Place, publish, remove_leftovers

TOY = Path(__file__).parents[1] / "toy"
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and locks")


def test_the_file_has_its_name_when_the_block_ends(tmp_path):
    path = tmp_path / "小猫 1.bin"
    with publish(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == [path.name]


def fail(path, error):
    with publish(path) as temporary:
        temporary.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        fail(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_no_room_is_said_in_a_sentence_without_the_folder(tmp_path, code):
    with pytest.raises(OSError, match=r"'a\.bin' could not be written: .*\. Make room on the disk") as failure:
        fail(tmp_path / "a.bin", OSError(code, os.strerror(code), str(tmp_path)))
    assert failure.value.errno == code
    assert str(tmp_path) not in str(failure.value)
    assert os.listdir(tmp_path) == []


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), publish(tmp_path / "nowhere" / "a.bin"):
        pass


@posix
def test_what_somebody_still_writes_is_not_a_leftover(tmp_path):
    with publish(tmp_path / "a.bin") as first:
        first.write_bytes(b"1")
        with publish(tmp_path / "b.bin") as second:
            second.write_bytes(b"2")
            remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]


class Judged(Place):
    """A place in a folder into which another ComfyUI writes, while a content filter looks at the finished clip."""

    def take(self, file):
        remove_leftovers(file.parent)
        super().take(file)


@pytest.mark.parametrize("has_locks", [pytest.param(True, marks=posix), False])
def test_a_finished_file_that_is_about_to_get_its_name_is_not_a_leftover(tmp_path, monkeypatch, has_locks):
    if not has_locks:  # as on Windows, which renames closed files only
        monkeypatch.setattr("pack.media.publish.fcntl", None)
    with publish(Judged(tmp_path / "clip.mp4")) as temporary:
        temporary.write_bytes(b"minutes of work")
    assert (tmp_path / "clip.mp4").read_bytes() == b"minutes of work"


def test_only_files_of_this_pack_are_leftovers(tmp_path):
    names = [".wan22-turbo-1.part", ".other.part", "wan22-turbo-1.part", "clip.mp4"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))  # Windows, which has no such locks, keeps those of today
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


@posix
@pytest.mark.slow
def test_fifty_kills_leave_no_broken_clip_and_the_next_run_cleans_up(tmp_path):
    subprocess.run([sys.executable, str(TOY / "killed.py"), str(tmp_path), "50"], check=True, timeout=120)
    clips = list(tmp_path.glob("*.mp4"))
    assert len(clips) > 10
    for path in clips:
        with av.open(str(path)) as file:
            assert file.metadata["workflow"] == "x" * 10_000
            assert len(list(file.decode(video=0))) == 12
    assert list(tmp_path.glob(".*.part"))  # some died in the middle of a file
    with publish(tmp_path / "next.bin"):
        pass
    assert list(tmp_path.glob(".*")) == []
