"""The process dies without a word, at any moment; the same inputs again: one paid job, one clip."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pack.tests.toy.faults import held
from pack.tests.toy.hosted import client, outcome, request

ROOT = Path(__file__).parents[2]

# The very code that the node runs, in a process that can be killed.
CHILD = """
import sys, types
pack = types.ModuleType("pack")
pack.__path__ = [sys.argv[1]]
sys.modules["pack"] = pack
from pathlib import Path
from pack.hosted.settings import Settings
from pack.tests.toy.hosted import QUICK, client, outcome, request
class Elsewhere:
    def environment(self): return dict(pair.split("=", 1) for pair in sys.argv[4:])
print("ready", flush=True)
outcome(client(Path(sys.argv[2]), Elsewhere()), request(sys.argv[3]))
print("clip", flush=True)
"""


def start(running, name, folder):
    variables = [f"{name}={value}" for name, value in running.environment().items()]
    command = [sys.executable, "-c", CHILD, str(ROOT), str(folder), name, *variables]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child):
    child.kill()
    child.wait(10)
    child.stdout.close()


def check_that_one_job_and_one_clip_come_of_it(provider, running, folder):
    again = outcome(client(folder, running), request(provider.name))
    assert again.name == "clip", again.text
    assert len(provider.charged) == 1
    assert len(list((folder / "clips").glob("*.mp4"))) == 1
    assert provider.problems == []


@pytest.mark.parametrize("name", ["wavespeed", "atlascloud"])
@pytest.mark.parametrize(
    ("phase", "arrived"),
    [("upload", False), ("upload", True), ("price", True), ("submit", False), ("submit", True), ("poll", True),
     ("download", False), ("download", True)],
)  # fmt: skip
def test_killed_while_a_request_is_under_way(name, phase, arrived, running, tmp_path):
    if (name, phase) == ("atlascloud", "price"):
        pytest.skip("AtlasCloud tells no price")
    provider = running.named(name)
    reached = threading.Event()
    provider.break_next(phase, held(reached, arrived))
    child = start(running, name, tmp_path)
    assert reached.wait(20)
    kill(child)
    provider.heal()
    check_that_one_job_and_one_clip_come_of_it(provider, running, tmp_path)


@pytest.mark.parametrize("round_", range(5))
@pytest.mark.parametrize("name", ["wavespeed", "atlascloud"])
def test_killed_at_a_random_moment(name, round_, running, tmp_path):
    provider = running.named(name)
    child = start(running, name, tmp_path)
    time.sleep(random.Random(f"{name} {round_}").uniform(0.0, 0.35))
    kill(child)
    check_that_one_job_and_one_clip_come_of_it(provider, running, tmp_path)
