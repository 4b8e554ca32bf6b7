"""Every engine does what `engine.Engine` says: the same tests for servers that run already, and for started ones."""

import json
import os
import signal
import threading
import time

import pytest
from pack.client import follow, server
from pack.client.batch import runner
from pack.client.batch.machine import FOLDER, Machine, Recipe, Started
from pack.client.errors import RefusedError, UnreachableError, UsageError
from pack.tests.toy.comfies import MADE, folder_of_one
from pack.tests.toy.studies import rows, run, servers, write

JOBS = 16
posix = pytest.mark.skipif(os.name == "nt", reason="kills by signals")


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(server, "PAUSES", (0.05,))
    monkeypatch.setattr(follow, "SILENCE", 0.3)
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.1)


class Kind:
    """An engine of two ComfyUIs.

    Args:
        folder: For all that it makes.
    """

    def __init__(self, folder):
        self.folder = folder
        self.comfyui = str(folder_of_one(folder / "comfyui"))

    def recipe(self, *arguments):
        return Recipe(self.comfyui, arguments=arguments)

    def processes(self):
        """The numbers of the ComfyUIs' processes."""
        mark = str(self.folder / "comfyui" / "main.py")
        return [int(each.name) for each in processes() if mark in words_of(each)[:2]]

    def made(self):
        """What was computed, each as often as it was."""
        logs = [*self.folder.glob(f"own/*/output/{MADE}"), *self.folder.glob(f"out/{FOLDER}/*/output/{MADE}")]
        return [line for path in logs for line in path.read_text(encoding="utf-8").splitlines()]

    def end(self):
        """Ends what `make` does not."""


class ServersKind(Kind):
    def make(self, out, *arguments):
        self.machines = [Machine(self.recipe(*arguments).found(), self.folder / "own" / name) for name in "ab"]
        return servers([machine.start() for machine in self.machines], patience=1.0)

    def end(self):
        for machine in self.machines:
            machine.stop()


class StartedKind(Kind):
    def make(self, out, *arguments):
        return Started(self.recipe(*arguments), 2, 2, out, lambda text: None)


KINDS = {"servers": ServersKind, "started": StartedKind}


def processes():
    """Folders of /proc, of those that can be read."""
    return [path for path in (os.scandir("/proc") if os.path.isdir("/proc") else ()) if path.name.isdigit()]


def words_of(process):
    try:
        with open(f"{process.path}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


@pytest.fixture(params=list(KINDS))
def kind(request, tmp_path):
    made = KINDS[request.param](tmp_path)
    yield made
    made.end()


def done(out):
    """The rows, all of which are done, each with its clip."""
    found = rows(out)
    assert {row["state"] for row in found} == {"done"}, [row["error"] for row in found]
    clips = {clip for row in found for clip in json.loads(row["clips"])}
    assert clips == {f"clips/{path.name}" for path in (out / "clips").iterdir()}
    assert len(found) == len(clips) == JOBS
    return found


def test_all_jobs_are_done_once_on_both(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    run(path, out, kind.make(out), patience=60)
    found = done(out)
    assert len({row["server"] for row in found}) == 2
    assert len(kind.made()) == len(set(kind.made())) == JOBS
    assert all(json.loads(row["stages"]) for row in found)


@posix
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")
def test_one_that_is_killed_costs_no_clip(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    killed = []

    def kill_one():
        deadline = time.monotonic() + 30
        while len(kind.made()) < JOBS // 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.append(kind.processes()[-1])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    run(path, out, kind.make(out), patience=2 if isinstance(kind, ServersKind) else 60)
    thread.join()
    assert killed
    done(out)
    assert set(kind.made()) == {line for line in kind.made() if kind.made().count(line) <= 2}


def test_one_that_lacks_a_node_is_a_sentence_and_nothing_runs(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    with pytest.raises(RefusedError, match=r"(?s)16 jobs are left\..*the server has no node of the class 'Sample'"):
        run(path, out, kind.make(out, "--lacks", "Sample"))
    assert kind.made() == []


def test_nothing_that_was_started_is_left_behind(kind, tmp_path):
    path, out = write(tmp_path, 2, pictures=1), tmp_path / "out"
    run(path, out, kind.make(out), patience=60)
    kind.end()
    assert kind.processes() == []


def test_what_is_no_comfyui_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"--comfyui must be a ComfyUI's folder, with its main\.py; .+ has none\."):
        Started(Recipe(str(tmp_path)), 1, 1, tmp_path, lambda text: None)


def test_one_that_does_not_start_tells_its_last_words(tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit('No GPU here.')", encoding="utf-8")
    path, out = write(tmp_path, 2), tmp_path / "out"
    with pytest.raises(UnreachableError, match=r"(?s)2 jobs are left\..*did not start here.+No GPU here\."):
        run(path, out, Started(Recipe(str(tmp_path)), 1, 1, out, lambda text: None), patience=0.5)
    assert (out / FOLDER).is_dir()
