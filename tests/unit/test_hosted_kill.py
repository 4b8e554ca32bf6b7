"""The process dies without a word, at any moment; the same inputs again: one paid job, one clip."""

import json
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

# The very code that the node runs, in a process that can be killed. Where the system forks, all is imported once.
CHILDREN = """
import json, os, signal, sys
sys.path.append(sys.argv[1] + "/tools")
from pathlib import Path
from pack.hosted.settings import Settings
from pack.tests.toy.hosted import QUICK, client, outcome, request
class Elsewhere:
    def __init__(self, variables): self.variables = variables
    def environment(self): return self.variables
while line := sys.stdin.readline():
    folder, name, variables = json.loads(line)
    child = os.fork() if hasattr(os, "fork") else 0
    if not child:
        print(os.getpid(), flush=True)
        outcome(client(Path(folder), Elsewhere(variables)), request(name))
        os._exit(0)
    sys.stdin.readline()  # it is to be killed
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


class Children:
    """Starts a process for each job, one after another."""

    def __init__(self):
        self.parent = None

    def start(self, running, name, folder):
        """Returns the id of a process that has imported all and begins with a job now."""
        if self.parent is None or self.parent.poll() is not None:
            self.parent = subprocess.Popen(
                [sys.executable, "-c", CHILDREN, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        self.parent.stdin.write(json.dumps([str(folder), name, running.environment()]) + "\n")
        self.parent.stdin.flush()
        return int(self.parent.stdout.readline())

    def kill(self, child):
        """Kills it, and returns when it is gone."""
        if child == self.parent.pid:
            self.end()
        else:
            self.parent.stdin.write("kill\n")  # by its parent, while its number is no other's
            self.parent.stdin.flush()
            assert self.parent.stdout.readline() == "ended\n"

    def end(self):
        self.parent.kill()
        self.parent.communicate()


@pytest.fixture(scope="module")
def children():
    started = Children()
    yield started
    started.end()


def check_that_one_job_and_one_clip_come_of_it(provider, running, folder):
    again = outcome(client(folder, running), request(provider.name))
    assert again.name == "clip", again.text
    assert len(provider.charged) == 1
    assert len(list((folder / "clips").glob("*.mp4"))) == 1
    assert provider.problems == []


UNDER_WAY = [("upload", False), ("upload", True), ("price", True), ("submit", False), ("submit", True), ("poll", True),
             ("download", False), ("download", True)]  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "arrived", "name"),
    # AtlasCloud tells no price.
    [
        (*each, name)
        for name in ("wavespeed", "atlascloud")
        for each in UNDER_WAY
        if (name, each[0]) != ("atlascloud", "price")
    ],
)
@pytest.mark.slow
def test_killed_while_a_request_is_under_way(name, phase, arrived, running, children, tmp_path):
    provider = running.named(name)
    reached = threading.Event()
    provider.break_next(phase, held(reached, arrived))
    child = children.start(running, name, tmp_path)
    assert reached.wait(20)
    children.kill(child)
    provider.heal()
    check_that_one_job_and_one_clip_come_of_it(provider, running, tmp_path)


@pytest.mark.parametrize("round_", range(5))
@pytest.mark.parametrize("name", ["wavespeed", "atlascloud"])
@pytest.mark.slow
def test_killed_at_a_random_moment(name, round_, running, children, tmp_path):
    provider = running.named(name)
    child = children.start(running, name, tmp_path)
    time.sleep(random.Random(f"{name} {round_}").uniform(0.0, 0.35))
    children.kill(child)
    check_that_one_job_and_one_clip_come_of_it(provider, running, tmp_path)


@pytest.mark.slow
def test_an_order_of_another_living_process_is_waited_for(running, children, tmp_path):
    """302.AI has no list of jobs that could tell what became of an order."""
    provider = running.named("api302")
    reached = threading.Event()
    provider.break_next("submit", held(reached, True, 1.0))
    child = children.start(running, "api302", tmp_path)
    assert reached.wait(20)
    provider.heal()
    again = outcome(client(tmp_path, running), request("api302"))
    children.kill(child)
    assert (again.name, provider.posts) == ("clip", 1), again.text
