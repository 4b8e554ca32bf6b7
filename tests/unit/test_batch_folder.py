"""The folder of a study: its table, its clips, a full disk, another batch in it, and what the command says."""

import json
import os
import re
import sqlite3
import subprocess

import pytest
from pack.client.batch import command, store, study, table
from pack.client.batch.folder import remove
from pack.client.errors import SaveError, UsageError
from pack.client.report.command import make
from pack.tests.toy.studies import arguments, check_all_done, forgetting, rows, run, servers, states, wait_until, write

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None

HOSTED = 'graphs = ["hosted.json"]\n'


@pytest.mark.skipif(os.name == "nt", reason="Windows does not say when a file was changed, but by its own word")
def test_a_picture_in_whose_place_another_of_its_size_and_time_is_copied_is_another(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    there = path.stat()
    with command.opened(tmp_path / "out") as opened:
        first = opened.digest_of(path)
        path.write_bytes(b"two")
        while path.stat().st_ctime_ns == there.st_ctime_ns:  # the clock of files is a coarse one
            os.utime(path)
        os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
        assert opened.digest_of(path) != first


def with_room_for(size, command):
    """Runs a command that can write no file of more bytes, as on a disk that is full."""
    return ended(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


@pytest.mark.slow
@pytest.mark.skipif(resource is None, reason="needs a system that limits the size of files")
def test_a_full_disk_stops_the_study_and_the_same_command_fetches_what_was_made(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    for comfy in two.comfies:
        comfy.size = 2_000_000
    stopped = with_room_for(1_000_000, arguments(path, out, two.addresses))
    assert stopped.returncode == 7
    assert "The clip could not be written: File too large." in stopped.stderr
    assert "Make room, and run the same command again: it fetches this clip and goes on." in stopped.stderr
    assert states(out).get("done", 0) == 0
    assert list((out / "clips").glob("*.mp4")) == []
    wait_until(lambda: two.made().total() == sum(comfy.posted.total() for comfy in two.comfies))
    run(path, out, servers(two.addresses))
    check_all_done(out, 4)
    assert set(two.made().values()) == {1}


@pytest.mark.slow
@pytest.mark.skipif(resource is None, reason="needs a system that limits the size of files")
def test_a_table_that_finds_no_room_is_a_sentence(two, tmp_path):
    path, out = write(tmp_path, 200), tmp_path / "out"
    stopped = with_room_for(50_000, arguments(path, out, two.addresses))
    assert stopped.returncode == 7
    assert re.search(r"The table of the study in out cannot be written \(.+\)\. Make room on that disk", stopped.stderr)
    assert two.made().total() == 0
    run(path, out, servers(two.addresses))
    check_all_done(out, 200)


def test_one_process_at_a_time_works_in_a_folder(two, tmp_path):
    path, out = write(tmp_path, 2), tmp_path / "out"
    held = table.Table(out)
    with pytest.raises(UsageError, match=r"Another batch works in out\. Wait for its end, or use another folder\."):
        run(path, out, servers(two.addresses))
    held.close()
    run(path, out, servers(two.addresses))


@pytest.mark.parametrize("dry", [True, False])
def test_a_folder_whose_name_is_too_long_is_a_sentence(dry, tmp_path):
    with pytest.raises(SaveError, match=r"The results cannot be written into 小+: "):
        command.batch(write(tmp_path, 2), output=tmp_path / ("小" * 300), dry_run=dry)


def test_the_report_of_such_a_folder_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"小+ holds no study: there is no study\.sqlite in it"):
        make(tmp_path / ("小" * 300))


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\ud800", "\x7f", "\x85b", "\u2028b", "\u2029b"])
def test_a_name_that_no_folder_can_have_is_refused(name):
    with pytest.raises(UsageError, match=r"so it is one line, and no path, got 'a"):
        study.name_of(f"a{name}")
    for name in ("👩\u200d👧 小 [1]", "a\tb"):
        assert study.name_of(name) == name


@pytest.mark.parametrize("content", [b"no table at all", None])
def test_a_file_that_is_no_table_is_left_alone(two, tmp_path, content):
    path, out = write(tmp_path, 2), tmp_path / "out"
    out.mkdir()
    if content is None:
        with sqlite3.connect(out / table.FILE) as other:
            other.execute("PRAGMA user_version = 99")
        other.close()
        content = (out / table.FILE).read_bytes()
    else:
        (out / table.FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"is no table of a study|was made by a newer version"):
        run(path, out, servers(two.addresses))
    assert (out / table.FILE).read_bytes() == content


def ended(arguments, **more):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, **more)


@pytest.mark.slow
def test_the_command_says_what_it_will_do_and_does_it(two, tmp_path):
    path, out = write(tmp_path, 4, f"max_usd = 3\n{HOSTED}"), tmp_path / "out"
    dry = ended(arguments(path, out, two.addresses, "--dry-run"))
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout == (
        "study: 4 jobs, 0 done, 4 left.\n    4 x hosted: not timed yet\nTime: not known before a job was timed.\n"
        "Cost: $0.40 for 4 hosted clips. The study's ceiling is $3.00.\n"
    )
    assert not out.exists()
    done = ended(arguments(path, out, two.addresses, "--csv"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'study.sqlite'}\n{out / 'study.csv'}\n{out / 'report.html'}\n"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<video ") == 4
    assert "ComfyUI: 0.30.0; Python: 3.11.2; PyTorch: 2.13.0; device 0: a card" in page
    assert page.count('src="data:image/jpeg;base64,') == 4  # the pictures, small
    assert str(tmp_path) not in page
    assert "4/4  " in done.stderr
    lines = (out / "study.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert "settings.seed" in lines[0]
    again = ended(arguments(path, out, two.addresses, "--dry-run"))
    assert "4 jobs, 4 done, 0 left." in again.stdout
    assert two.made().total() == 4


@pytest.mark.slow
def test_without_parquets_package_it_is_named(two, tmp_path):
    done = ended(arguments(write(tmp_path, 2), tmp_path / "out", two.addresses, "--parquet"))
    has = ended([arguments(tmp_path, tmp_path, [])[0], "-c", "import pyarrow"]).returncode == 0
    assert (done.returncode, (tmp_path / "out" / "study.parquet").exists()) == ((0, True) if has else (2, False))
    assert has or "--parquet needs the package pyarrow. Run: pip install pyarrow" in done.stderr


def test_clips_go_to_any_address_instead(two, tmp_path):
    path, out, away = write(tmp_path, 4), tmp_path / "out", tmp_path / "away 小"
    run(path, out, servers(two.addresses), target=away.as_uri().replace("%20", " "))
    assert states(out) == {"done": 4}
    clips = [json.loads(row["clips"])[0] for row in rows(out)]
    assert all(clip.startswith("file://") for clip in clips)
    assert len(list(away.iterdir() if away.is_dir() else [])) + len(list(tmp_path.glob("away %*/*"))) == 4
    assert list((out / "clips").iterdir()) == []


@pytest.mark.skipif(resource is None, reason="needs a system that limits the size of files")
def test_a_folder_that_clips_go_to_never_has_half_a_clip(tmp_path):
    clip, away = tmp_path / "a.mp4", tmp_path / "away"
    clip.write_bytes(bytes(2_000_000))
    store.send(away.as_uri(), {clip: "b.mp4"})
    assert (away / "b.mp4").read_bytes() == clip.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # of this process, as of a full disk
    try:
        with pytest.raises(SaveError, match=r"The clip could not be written: File too large\."):
            store.send(away.as_uri(), {clip: "c.mp4"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [each.name for each in away.iterdir()] == ["b.mp4"]


def test_the_password_of_an_address_for_clips_is_kept_nowhere(two, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    path, out = write(tmp_path, 2), tmp_path / "out"
    fsspec.register_implementation("toy", fsspec.get_filesystem_class("memory"), clobber=True)
    run(path, out, servers(two.addresses), target="toy://ada:p@ss:w@rd@host/folder")
    assert [json.loads(row["clips"])[0].rpartition("/")[0] for row in rows(out)] == ["toy://host/folder"] * 2


def test_an_address_that_nobody_speaks_to_is_a_sentence(two, tmp_path):
    path, out = write(tmp_path, 2), tmp_path / "out"
    for dry in (True, False):
        with pytest.raises(UsageError, match=r"^Clips cannot be sent to nosuch://\.\.\.: ") as error:
            command.batch(path, two.addresses, output=out, clips="nosuch://user:secret@host/folder", dry_run=dry)
        assert "secret" not in str(error.value)
    assert sum(comfy.posted.total() for comfy in two.comfies) == 0


def test_a_command_that_cannot_begin_leaves_no_folder(two, tmp_path):
    path, out = write(tmp_path, 2), tmp_path / "results" / "小 1"
    nothing = [path.name, "0.png", "1.png", "hosted.json", "own.json"]
    for wrong in ({"server": ["ftp://x"]}, {"server": two.addresses, "depth": [1, 2, 3]}, {"clips": "nosuch://x"},
                  {"start": 1, "comfyui": str(tmp_path)}, {"server": two.addresses * 2},
                  {"server": two.addresses, "start": 1}, {"start": 1, "depth": [1, 2]}):  # fmt: skip
        with pytest.raises(UsageError):
            command.batch(path, output=out, csv=True, **wrong)
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted(nothing), wrong
    path = write(tmp_path, 2, 'graphs = ["nosuch.json"]\n')
    with pytest.raises(UsageError, match=r"nosuch\.json is not"):
        command.batch(path, server=two.addresses, output=out, csv=True)
    assert not out.exists()
    out.mkdir(parents=True)  # one that was there stays
    with pytest.raises(UsageError):
        command.batch(path, server=two.addresses, output=out)
    assert out.is_dir()


def one_removed(two, tmp_path, jobs):
    """Runs a study and removes its first clip; returns study, folder, the clip's path, and what was in it."""
    path, out = write(tmp_path, jobs), tmp_path / "out"
    run(path, out, servers(two.addresses))
    clip = out / json.loads(rows(out)[0]["clips"])[0]
    made = clip.read_bytes()
    clip.unlink()
    return path, out, clip, made


def test_a_clip_that_somebody_removed_is_told_and_got_again_on_request(two, tmp_path):
    path, out, clip, made = one_removed(two, tmp_path, 4)
    said = run(path, out, servers(two.addresses))
    assert "1 jobs are done whose clips are no longer in the folder. --missing gets these again." in said
    assert not clip.exists()
    assert "no longer" not in run(path, out, servers(two.addresses), missing=True)
    assert clip.read_bytes() == made
    check_all_done(out, 4)
    assert two.made().total() == 4  # it was fetched from where it was made
    clip.unlink()
    for comfy in two.comfies:
        two.call(forgetting(comfy))
    run(path, out, servers(two.addresses), missing=True)
    assert clip.read_bytes() == made
    check_all_done(out, 4)
    assert two.made().total() == 5


def test_a_clip_that_is_gone_from_its_server_too_is_made_again(two, tmp_path):
    path, out, clip, made = one_removed(two, tmp_path, 2)
    for comfy in two.comfies:
        comfy.files.clear()  # and the history still tells of it
    run(path, out, servers(two.addresses), missing=True)
    assert clip.read_bytes() == made
    check_all_done(out, 2)
    assert two.made().total() == 3


class Followed(table.Table):
    """One that another process has waited for."""

    def close(self):
        super().close()
        self.next = table.Table(self.folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
def test_the_lock_of_a_batch_that_comes_next_stays(tmp_path):
    first = Followed(tmp_path / "out")
    remove(first, [tmp_path / "out"])
    with pytest.raises(UsageError, match=r"Another batch works in out"):
        table.Table(tmp_path / "out")
    first.next.close()


def test_clips_go_to_an_address_or_into_the_folder(two, tmp_path):
    """Into another folder by its path they would go, and be looked for in this one."""
    (tmp_path / "there" / "clips").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"--clips takes an address, such as s3://bucket/folder or file:///folder"):
        command.batch(write(tmp_path, 2), server=two.addresses, output=tmp_path / "out", clips=str(tmp_path / "there"))
    assert two.made().total() == 0
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_the_comfyuis_that_would_be_started(two, tmp_path, capsys):
    path, out = write(tmp_path, 4), tmp_path / "out"
    run(path, out, servers(two.addresses))
    for where, said in (({"server": two.addresses[:1]}, "on 1 server."), ({"start": 4}, "on 4 servers.")):
        command.batch(write(tmp_path, 8), output=out, dry_run=True, **where)
        assert said in capsys.readouterr().out
