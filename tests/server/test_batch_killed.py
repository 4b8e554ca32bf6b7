"""The client dies without a word, or is asked to stop, at any moment of a study; the same command again: each job once.

On loopback servers, so that many moments are cheap; test_batch.py does it with real ComfyUIs, and kills these too.
"""

import os
import random
import signal
import subprocess
import time

import pytest
from pack.tests.toy.comfies import Comfies
from pack.tests.toy.one_comfy import Comfy
from pack.tests.toy.studies import arguments, check_all_done, states, write

KILLS = int(os.environ.get("WAN22_TURBO_TEST_RACES", "3"))  # 60 by hand: two minutes
JOBS = 60 if KILLS > 3 else 30
posix = pytest.mark.skipif(os.name == "nt", reason="needs signals")


@pytest.fixture
def two():
    with Comfies(Comfy(seconds=(0.02, 0.06)), Comfy(seconds=(0.02, 0.06))) as comfies:
        yield comfies


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_jobs(comfies, count, process):
    """Waits until the servers have taken so many jobs, or the client has ended."""
    deadline = time.monotonic() + 300
    while sum(comfy.posted.total() for comfy in comfies.comfies) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("hosted", ["", 'graphs = ["hosted.json"]\n'], ids=["local", "hosted"])
def test_killed_at_random_moments(two, tmp_path, hosted):
    path, out = write(tmp_path, JOBS, hosted), tmp_path / "out"
    moments = random.Random(7)
    for kill in range(KILLS):
        process = start(arguments(path, out, two.addresses))
        wait_for_jobs(two, kill * JOBS // (KILLS + 1), process)
        time.sleep(moments.uniform(0.0, 0.2))
        process.kill()
        process.communicate()
    process = start(arguments(path, out, two.addresses))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    check_all_done(out, JOBS)
    assert two.made().total() == sum(comfy.posted.total() for comfy in two.comfies) == JOBS


@posix
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_stopped_and_gone_on(two, tmp_path, asked):
    path, out = write(tmp_path, JOBS), tmp_path / "out"
    process = start(arguments(path, out, two.addresses))
    wait_for_jobs(two, 10, process)
    process.send_signal(asked)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "The same command goes on, and does nothing twice." in said
    assert 0 < states(out)["done"] < JOBS
    process = start(arguments(path, out, two.addresses))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    check_all_done(out, JOBS)
    assert two.made().total() == JOBS
