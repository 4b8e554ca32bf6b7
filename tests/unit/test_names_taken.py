"""No finished file is ever replaced: races, odd disks, odd neighbours."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pack.media.publish import NextName, Place, check_writable, publish
from pack.tests.toy import refusing_kernel

TOY = Path(__file__).parents[1] / "toy"
PAIRS = int(os.environ.get("WAN22_TURBO_TEST_RACES", "5"))  # 200 by hand: a minute
on_linux = pytest.mark.skipif(not refusing_kernel.available, reason="needs a kernel that refuses on request")


def save(place, text="new"):
    with publish(place) as temporary:
        temporary.write_text(text)
    return place.path.name


def names(folder):
    return sorted(os.listdir(folder))


def race(folder, stem, *suffixes):
    """Lets two processes finish a file of one series at the same time, and returns the names that they got."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-S", str(TOY / "racer.py"), str(folder), stem, suffix, f"{stem} {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, suffix in enumerate(suffixes)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    got = [racer.communicate()[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    return got


@pytest.mark.slow
def test_pairs_of_processes_never_lose_a_clip(tmp_path):
    got = [name for _ in range(PAIRS) for name in race(tmp_path, "clip", ".mp4", ".mp4")]
    assert sorted(got) == [f"clip_{number:05}_.mp4" for number in range(1, 2 * PAIRS + 1)]
    assert names(tmp_path) == sorted(got)
    assert len({(tmp_path / name).read_text() for name in got}) == 2


def test_latents_of_two_processes_get_numbers_of_their_own(tmp_path):
    got = race(tmp_path, "clip", ".latent", ".latent")
    assert sorted(got) == names(tmp_path) == ["clip_00001_.latent", "clip_00002_.latent"]


def test_a_series_goes_on_where_it_ended(tmp_path):
    for name in ("clip_00001_.png", "clip_00007.mp4", "other_00099_.mp4", "clip_no_.mp4"):
        (tmp_path / name).touch()
    assert save(NextName(tmp_path, "clip", ".mp4")) == "clip_00008_.mp4"
    assert save(NextName(tmp_path, "clip", ".latent")) == "clip_00009_.latent"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ("clip_99999_.mp4", "clip_100000_.mp4"),
        ("clip_123456_.mp4", "clip_123457_.mp4"),
        ("clip_20260101123456_.mp4", "clip_00001_.mp4"),  # a date is no number of the series
        (f"clip_{'9' * 200}_.mp4", "clip_00001_.mp4"),
        ("clip_00001__00005_.mp4", "clip_00002_.mp4"),
    ],
)
def test_numbers_of_any_length(tmp_path, there, expected):
    (tmp_path / there).touch()
    assert save(NextName(tmp_path, "clip", ".mp4")) == expected


@pytest.mark.parametrize("stem", ["clip_00001_", "a.b", "小猫", "%", "[a]*?", "("])
def test_any_stem_counts(tmp_path, stem):
    got = [save(NextName(tmp_path, stem, ".mp4"), str(number)) for number in range(3)]
    assert got == [f"{stem}_{number:05}_.mp4" for number in (1, 2, 3)]
    assert [(tmp_path / name).read_text() for name in got] == ["0", "1", "2"]


def keep(folder, number):
    path = folder / f"clip_{number:05}_.latent"
    path.write_text("latent")
    return path


@pytest.mark.parametrize(
    "occupy",
    [
        lambda path: path.write_text("old"),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to("clip_00001_.latent"),
        lambda path: os.link(path.with_suffix(".latent"), path),
    ],
    ids=["file", "folder", "dangling link", "link", "hard link"],
)
def test_whatever_has_the_name_stays(tmp_path, occupy):
    latent = keep(tmp_path, 1)
    taken = tmp_path / "clip_00001_.mp4"
    occupy(taken)
    before = taken.lstat()
    assert save(NextName(tmp_path, "clip", ".mp4", latent)) == "clip_00002_.mp4"
    assert (tmp_path / "clip_00002_.mp4").read_text() == "new"
    assert (taken.lstat().st_ino, taken.lstat().st_size) == (before.st_ino, before.st_size)
    assert names(tmp_path) == ["clip_00001_.mp4", "clip_00002_.latent", "clip_00002_.mp4"]


def test_a_clip_has_the_number_of_its_latent(tmp_path):
    place = NextName(tmp_path, "clip", ".mp4", keep(tmp_path, 4))
    assert save(place) == "clip_00004_.mp4"
    assert place.latent == tmp_path / "clip_00004_.latent"


def test_the_latent_goes_along_where_its_number_is_taken(tmp_path):
    latent = keep(tmp_path, 4)
    for name in ("clip_00004_.mp4", "clip_00005_.latent", "clip_00006_.mp4"):
        (tmp_path / name).write_text("old")
    place = NextName(tmp_path, "clip", ".mp4", latent)
    assert save(place) == "clip_00007_.mp4"
    assert place.latent.name == "clip_00007_.latent"
    assert place.latent.read_text() == "latent"
    assert {path.name for path in tmp_path.iterdir() if path.read_text() == "old"} == {
        "clip_00004_.mp4",
        "clip_00005_.latent",
        "clip_00006_.mp4",
    }
    assert len(names(tmp_path)) == 5


def test_a_latent_that_somebody_removed_costs_no_clip(tmp_path):
    latent = keep(tmp_path, 1)
    latent.unlink()
    (tmp_path / "clip_00001_.mp4").write_text("old")
    assert save(NextName(tmp_path, "clip", ".mp4", latent)) == "clip_00002_.mp4"
    assert names(tmp_path) == ["clip_00001_.mp4", "clip_00002_.mp4"]


@on_linux
@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EACCES])
def test_a_disk_without_hard_links(tmp_path, code):
    latent = keep(tmp_path, 1)
    for name in ("clip_00001_.mp4", "clip_00002_.latent"):
        (tmp_path / name).write_text("old")
    place = NextName(tmp_path, "clip", ".mp4", latent)
    assert refusing_kernel.run(lambda: save(place), link=code) == "clip_00003_.mp4"
    assert (tmp_path / "clip_00003_.mp4").read_text() == "new"
    assert (tmp_path / "clip_00003_.latent").read_text() == "latent"
    assert (tmp_path / "clip_00001_.mp4").read_text() == "old"
    assert len(names(tmp_path)) == 4


@on_linux
def test_a_disk_that_takes_no_new_name_at_the_end_leaves_nothing_empty(tmp_path):
    place = NextName(tmp_path, "clip", ".mp4")
    with pytest.raises(OSError, match=r"'clip\.mp4' could not be written into the folder .*: Input/output error"):
        refusing_kernel.run(lambda: save(place), link=errno.EPERM, rename=errno.EIO)
    assert names(tmp_path) == []


@on_linux
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO, errno.EOPNOTSUPP])
def test_a_disk_whose_fsync_fails_keeps_the_clip_and_says_so(tmp_path, code):
    place = NextName(tmp_path, "clip", ".mp4")
    assert refusing_kernel.run(lambda: save(place), fsync=code) == "clip_00001_.mp4"
    assert (tmp_path / "clip_00001_.mp4").read_text() == "new"
    assert place.warning == (
        f"The disk did not confirm that 'clip_00001_.mp4' is stored for good ({os.strerror(code)}). "
        "The file is there; copy it to another disk if you need it."
    )


@on_linux
@pytest.mark.parametrize("refused", [{}, {"link": errno.EPERM}])
def test_a_disk_that_removes_nothing_keeps_the_clip_and_its_latent(tmp_path, refused):
    latent = keep(tmp_path, 1)
    (tmp_path / "clip_00001_.mp4").write_text("old")
    place = NextName(tmp_path, "clip", ".mp4", latent)
    assert refusing_kernel.run(lambda: save(place), unlink=errno.EIO, **refused) == "clip_00002_.mp4"
    assert (tmp_path / "clip_00002_.mp4").read_text() == "new"
    assert (tmp_path / "clip_00002_.latent").read_text() == "latent"
    assert (tmp_path / "clip_00001_.mp4").read_text() == "old"


@on_linux
def test_a_disk_that_removes_nothing_hides_no_error(tmp_path):
    def fail():
        with publish(NextName(tmp_path, "clip", ".mp4")):
            raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        refusing_kernel.run(fail, unlink=errno.EIO)


@on_linux
def test_a_disk_that_notices_only_at_the_end_that_it_is_full(tmp_path):
    with pytest.raises(OSError, match=r"'clip\.mp4' could not be written: No space left on device") as failure:
        refusing_kernel.run(lambda: save(NextName(tmp_path, "clip", ".mp4")), fsync=errno.ENOSPC)
    assert failure.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_one_name_is_taken_once(tmp_path):
    assert save(Place(tmp_path / "a.bin"), "old") == "a.bin"
    with pytest.raises(
        FileExistsError, match=r"'a\.bin' could not be written into .*File exists\. Choose another name"
    ):
        save(Place(tmp_path / "a.bin"))
    assert (tmp_path / "a.bin").read_text() == "old"
    assert names(tmp_path) == ["a.bin"]


def test_no_error_names_the_temporary_file_or_the_folders_above(tmp_path):
    folder = tmp_path / "gone"
    for attempt in (lambda: save(NextName(folder, "clip", ".mp4")), lambda: save(Place(folder / "clip.mp4"))):
        with pytest.raises(FileNotFoundError) as failure:
            attempt()
        assert ".part" not in str(failure.value)
        assert str(tmp_path) not in str(failure.value)
        assert "'clip.mp4' could not be written into the folder 'gone'" in str(failure.value)


def test_asking_whether_a_folder_takes_files_leaves_none(tmp_path):
    check_writable(tmp_path)
    assert names(tmp_path) == []
