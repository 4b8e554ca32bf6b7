"""Where a clip goes: a folder, whatever dots it has, or the clip's own name. A wrong one is refused at once."""

import os
from pathlib import Path

import pytest
from pack.client import address, job, save, server
from pack.client.errors import UsageError
from pack.client.progress import Silent
from pack.tests.unit.test_client_network import CLIP, Comfy

FILE = {"filename": "clip.mp4", "subfolder": "video", "type": "output"}
RECORD = {"outputs": {"9": {"images": [FILE], "animated": [True]}}}


@pytest.fixture(scope="module")
def files():
    """A server that gives a clip."""
    comfy = Comfy()
    client = server.Server(address.parse(comfy.address))
    yield client
    client.close()
    comfy.close()


def prompt(*classes):
    return {str(number): {"class_type": name, "inputs": {}} for number, name in enumerate(classes)}


MP4 = prompt("LoadImage", "Wan22Turbo_DecodeMp4")
TWO = prompt("Wan22Turbo_DecodeMp4", "Wan22Turbo_SaveMp4")
OTHER = prompt("SaveWEBM")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("v1.0", "v1.0/clip.mp4"),
        ("new/v1.0/take.2", "new/v1.0/take.2/clip.mp4"),
        ("plain", "plain/clip.mp4"),
        ("mine.mp4", "mine.mp4"),
        ("v1.0/Mine.MP4", "v1.0/Mine.MP4"),
        ("folder.mp4", "folder.mp4/clip.mp4"),
    ],
)
def test_a_target_is_a_folder_unless_it_ends_as_the_clip_does(files, tmp_path, target, path):
    (tmp_path / "folder.mp4").mkdir()
    save.check_target(tmp_path / target, MP4)
    assert save.save_all(files, RECORD, tmp_path / target, overwrite=False) == [tmp_path / path]
    assert (tmp_path / path).read_bytes() == CLIP


@pytest.mark.parametrize(
    ("target", "made", "sentence"),
    [
        ("notes.txt", MP4, "The output must be a folder, or a clip's name in one, but notes.txt is a file."),
        ("file/below/a.mp4", MP4, "The output must be a folder, or a clip's name in one, but file is a file."),
        ("clip.webm", MP4, "The prompt makes an MP4, so its name must end in .mp4, got clip.webm."),
        ("clip.mp4", TWO, "The prompt makes 2 files, so the output must be a folder, got clip.mp4."),
        ("x" * 300, MP4, "The output cannot be written: "),
        ("x" * 300 + ".mp4", MP4, "The output cannot be written: "),
    ],
)
def test_a_wrong_target_is_refused_before_anything_is_sent(tmp_path, target, made, sentence):
    for name in ("notes.txt", "file"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError) as error:
        job.run(None, made, {}, tmp_path / target, Silent())
    assert str(error.value).startswith(sentence)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "notes.txt"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may write everywhere")
def test_a_folder_that_is_closed_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(UsageError, match=r"but closed may not be written to\.$"):
        save.check_target(tmp_path / "closed" / "new", MP4)


@pytest.mark.parametrize(("target", "made"), [("clip.webm", OTHER), ("v1.0", TWO), ("there.mp4", MP4), ("", TWO)])
def test_a_target_that_may_be_right_is_left_alone(tmp_path, target, made, monkeypatch):
    (tmp_path / "there.mp4").touch()
    save.check_target(tmp_path / target, made)
    monkeypatch.chdir(tmp_path)
    save.check_target(Path(target), made)
