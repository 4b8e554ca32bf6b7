"""Every engine does what `engine.Engine` says: the same tests for servers that run already, for those that a study
starts, and for those of a Ray cluster, where there is Ray (`pip install ray`; the set-up does not install it).
"""

import importlib.util
import json
import os
import signal
import subprocess
import time

import pytest
from pack.client.batch.machine import FOLDER, Machine, Recipe
from pack.tests.toy.comfies import MADE, folder_of_one
from pack.tests.toy.studies import arguments, rows, write

JOBS = 60 if int(os.environ.get("WAN22_TURBO_TEST_RACES", "4")) > 4 else 16
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs Ray, which the set-up does not install")
kills = pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes in /proc")


class Kind:
    """An engine of two ComfyUIs, used by the command.

    Args:
        folder: For all that it makes.
    """

    def __init__(self, folder):
        self.folder = folder
        self.comfyui = str(folder_of_one(folder / "comfyui"))
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = {}
        self.running = None

    def options(self, out, *more):
        """The options that choose it. More go to each ComfyUI."""
        return ["--comfyui", self.comfyui, *(part for each in more for part in ("--comfyui-arg", each))]

    def start(self, path, out, *more):
        ray = {"RAY_AUTH_MODE": "disabled", "RAY_DISABLE_IMPORT_WARNING": "1"}
        own = {**os.environ, "HOME": str(self.home), **ray, **self.environment}
        command = arguments(path, out, [], *self.options(out, *more))
        self.running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own)

    def end(self, seconds=300):
        """Waits for the command, and returns its exit code and what it said."""
        _, said = self.running.communicate(timeout=seconds)
        return self.running.returncode, said

    def run(self, path, out, *more):
        self.start(path, out, *more)
        return self.end()

    def processes(self, mark=""):
        """The numbers of the ComfyUIs' processes, or of those of another mark."""
        mark = mark or str(self.folder / "comfyui" / "main.py")
        return [int(each.name) for each in processes() if any(mark in word for word in words_of(each)[:2])]

    def made(self):
        """What was computed, each as often as it was."""
        places = ("own", f"out/{FOLDER}", f"home/.cache/wan22-turbo/machines/*/*/{FOLDER}")
        logs = [path for place in places for path in self.folder.glob(f"{place}/*/output/{MADE}")]
        return [line for path in logs for line in path.read_text(encoding="utf-8").splitlines()]

    def wait_for(self, count):
        """Waits until so many jobs were computed."""
        self.wait_until(lambda: len(self.made()) >= count)

    def wait_until(self, what):
        """Waits for something that happens while the command runs."""
        deadline = time.monotonic() + 300
        while not what():
            assert self.running.poll() is None, self.running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def clean(self):
        """Ends what is left."""
        if self.running is not None and self.running.poll() is None:
            self.running.send_signal(signal.SIGINT)
            self.running.communicate()


class ServersKind(Kind):
    machines = ()

    def options(self, out, *more):
        recipe = Recipe(self.comfyui, arguments=more).found()
        self.machines = [Machine(recipe, self.folder / "own" / name) for name in "ab"]
        addresses = [machine.start() for machine in self.machines]
        return [*(part for each in addresses for part in ("--server", each)), "--patience", "2"]

    def clean(self):
        super().clean()
        for machine in self.machines:
            machine.stop()


class StartedKind(Kind):
    def options(self, out, *more):
        return ["--start", "2", *super().options(out, *more)]


class RayKind(Kind):
    def options(self, out, *more):
        return ["--ray", "local", "--cores", "1", "--start", "2", *super().options(out, *more)]


KINDS = [ServersKind, StartedKind, pytest.param(RayKind, marks=needs_ray)]


def processes():
    """Folders of /proc, of those that can be read."""
    return [path for path in (os.scandir("/proc") if os.path.isdir("/proc") else ()) if path.name.isdigit()]


def words_of(process):
    try:
        with open(f"{process.path}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    made = request.param(tmp_path)
    yield made
    made.clean()


def done(out):
    """The rows, all of which are done, each with its clip."""
    found = rows(out)
    assert {row["state"] for row in found} == {"done"}, [row["error"] for row in found]
    clips = {clip for row in found for clip in json.loads(row["clips"])}
    assert clips == {f"clips/{path.name}" for path in (out / "clips").iterdir()}
    assert len(found) == len(clips) == JOBS
    return found


def test_all_jobs_are_done_once_on_both_and_nothing_that_was_started_is_left(kind, tmp_path):
    path, out, met = write(tmp_path, JOBS), tmp_path / "out", tmp_path / "met"
    met.mkdir()
    code, said = kind.run(path, out, "--meet", str(met))  # else a busy machine starts one when the other has done all
    assert code == 0, said
    assert "Traceback" not in said
    found = done(out)
    assert len({row["server"] for row in found}) == 2
    assert len(kind.made()) == len(set(kind.made())) == JOBS
    assert any(json.loads(row["stages"]) for row in found)
    kind.clean()
    assert kind.processes() == []


@kills
def test_one_that_is_killed_costs_no_clip(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    kind.start(path, out)
    kind.wait_for(JOBS // 4)
    os.kill(kind.processes()[-1], signal.SIGKILL)
    code, said = kind.end()
    assert code == 0, said
    done(out)


@kills
def test_a_client_that_is_killed_takes_what_it_started_with_it_and_goes_on(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    kind.start(path, out)
    kind.wait_for(JOBS // 4)
    kind.running.kill()
    kind.running.communicate()
    if not isinstance(kind, ServersKind):
        deadline = time.monotonic() + 300
        while kind.processes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    for machine in getattr(kind, "machines", ()):
        machine.stop()
    code, said = kind.run(path, out)
    assert code == 0, said
    done(out)


def test_one_that_lacks_a_node_is_a_sentence_and_nothing_runs(kind, tmp_path):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    code, said = kind.run(path, out, "--lacks", "Sample")
    assert code == 3
    assert f"{JOBS} jobs are left." in said
    assert "Sampler: the server has no node of the class 'Sample'." in said
    assert kind.made() == []


def ended(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stderr


def test_what_is_no_comfyui_is_a_sentence(tmp_path):
    path = write(tmp_path, 2)
    code, said = ended(arguments(path, tmp_path / "out", [], "--start", "1", "--comfyui", str(tmp_path)))
    assert code == 2
    assert said == f"--comfyui must be a ComfyUI's folder, with its main.py; {tmp_path.name} has none.\n"


def test_one_that_does_not_start_tells_its_last_words(tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit('No driver here.')", encoding="utf-8")
    path = write(tmp_path, 2)
    code, said = ended(arguments(path, tmp_path / "out", [], "--start", "1", "--comfyui", str(tmp_path)))
    assert code == 6
    assert "A ComfyUI did not start here. Its last words:\nNo driver here.\n" in said
    assert "2 jobs are left." in said


@pytest.mark.skipif(HAS_RAY, reason="there is Ray")
def test_without_ray_it_is_named(tmp_path):
    path = write(tmp_path, 2)
    code, said = ended(arguments(path, tmp_path / "out", [], "--ray", "local"))
    assert (code, said) == (2, '--ray needs the package ray. Run: pip install "ray>=2.9"\n')
