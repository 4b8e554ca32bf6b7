"""`python client batch` on two real ComfyUIs with tiny models: both sides are killed, and every clip is there once.

Two kills here; WAN22_TURBO_TEST_RACES=20 kills twenty times, at random, in a study of 60 jobs (ten minutes).
"""

import json
import os
import random
import signal
import time

import pytest
from comfy_server import ComfyServer, free_port
from pack.client.batch.table import FILE
from pack.tests.server.client_process import Process, frames_of
from pack.tests.toy.studies import arguments, rows, states

pytestmark = [pytest.mark.server, pytest.mark.skipif(os.name == "nt", reason="needs signals")]

KILLS = int(os.environ.get("WAN22_TURBO_TEST_RACES", "2"))
JOBS = 60 if KILLS > 2 else 12
STUDY = """
pictures = ["{picture}"]
prompts = ["A cat.", "A dog."]
seeds = {seeds}
graphs = ["wan22_turbo_i2v"]
[settings]
tier = "240p"
seconds = 0.25
steps = 1
metadata = "none"
"""
VICTIMS = ("client", "both", "server")


@pytest.fixture
def study(tmp_path, picture):
    """A study of one step each, so that a run is nothing but the VAE."""
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(picture=picture.as_posix(), seeds=list(range(JOBS // 2))), encoding="utf-8")
    return path


class Second:
    """A second ComfyUI, which can be killed and comes back under the same address."""

    def __init__(self, base, models):
        base.mkdir()
        (base / "models").symlink_to(models, target_is_directory=True)
        self.base, self.port = base, free_port()
        self.now = None
        self.start()

    def start(self):
        self.now = ComfyServer(self.base, ["--disable-api-nodes"], self.port)
        self.now.__enter__()

    def kill(self):
        self.now.process.kill()
        self.now.process.wait()


@pytest.fixture
def second(server, tmp_path):
    started = Second(tmp_path / "second", server.base / "models")
    yield started
    started.now.stop()


def done_in(folder):
    return states(folder).get("done", 0) if (folder / FILE).exists() else 0


def test_killed_at_random_and_stopped_once_every_clip_is_made_once(server, second, study, tmp_path, start):
    out = tmp_path / "out"
    command = arguments(study, out, [server.address, second.now.address], "--patience", "120")
    chance = random.Random(15)
    running = start(command)
    for kill in range(KILLS):
        wait_for_jobs(running, kill * JOBS // (KILLS + 1) + 1)
        time.sleep(chance.uniform(0.0, 1.0))
        victim = VICTIMS[kill] if len(VICTIMS) >= KILLS else chance.choice(VICTIMS)
        running = killed(victim, running, second, start, command)
    wait_for_jobs(running, JOBS - 2)
    running.process.send_signal(signal.SIGINT)
    code, _ = running.end()
    assert code in (0, 130), running.said
    running = start(command)
    code, printed = running.end(300)
    assert (code, printed) == (0, f"{out / FILE}\n{out / 'report.html'}\n"), running.said
    check(out, JOBS)


def killed(victim, running, second, start, command):
    """Kills, and returns the client that goes on. A new one does not wait for the server that is away."""
    if victim != "server":
        running.process.kill()
        running.end()
    if victim != "client":
        second.kill()
    running = start(command) if victim != "server" else running
    if victim != "client":
        second.start()
    return running


def wait_for_jobs(running: Process, count):
    """Waits until the client says that so many jobs are done."""
    running.wait_for(rf"(?m)^({'|'.join(str(number) for number in range(count, JOBS + 1))})(/| of ){JOBS} ", 300)


def check(out, jobs):
    """As many clips as rows, none twice."""
    done = rows(out)
    assert [row["state"] for row in done] == ["done"] * jobs
    assert len({row["digest"] for row in done}) == jobs
    clips = [json.loads(row["clips"])[0] for row in done]
    assert sorted(clips) == sorted(f"clips/{path.name}" for path in (out / "clips").iterdir())
    assert len({(out / clip).read_bytes() for clip in clips}) == len(clips) == jobs
    assert {len(frames_of(out / clip)) for clip in clips} == {5}
    assert len({row["server"] for row in done}) == 2
    assert all(row["seconds"] > 0 and row["error"] is None for row in done)


def test_a_clip_that_is_gone_everywhere_is_made_again_though_comfyui_remembers_it(server, tmp_path, picture, start):
    """What it remembers of the last prompt it does not run again: the name of the clip, and no clip."""
    study, out, there = tmp_path / "study.toml", tmp_path / "out", server.base / "output"
    said = STUDY.format(picture=picture.as_posix(), seeds=[977]).replace(', "A dog."', "")
    study.write_text(said, encoding="utf-8")
    command, before = arguments(study, out, [server.address], "--no-report"), set(there.rglob("*.mp4"))
    assert start(command).end(120)[0] == 0
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()
    (made,) = set(there.rglob("*.mp4")) - before
    made.unlink()
    again = start([*command, "--missing"])
    assert again.end(120)[0] == 0, again.said
    assert states(out) == {"done": 1}
    assert len(frames_of(out / json.loads(rows(out)[0]["clips"])[0])) == 5
