"""Each lock of the hosted room prevents the accident that docs/hosted_locks.md tells of, in a test that it names."""

import contextlib
import re
import threading
from collections import OrderedDict, deque
from pathlib import Path

import pytest
from pack.hosted import request
from pack.hosted.client import KeyedLock, RateLimiter
from pack.hosted.errors import PolicyError
from pack.hosted.providers import Price
from pack.hosted.settings import SpendingLimit
from pack.tests.toy.hosted import picture

ROOT = Path(__file__).parents[2]


class Meeting:
    """Holds a thread where it has looked and not yet written, until another has looked, too; or nobody comes."""

    def __init__(self):
        self.barrier = threading.Barrier(2)
        self.met = False

    def wait(self):
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(0.2)
            self.met = True


def both(work):
    """Returns what two threads at once come to: a value, or the kind of an error."""
    outcomes = []

    def run():
        try:
            outcomes.append(work())
        except PolicyError:
            outcomes.append(PolicyError)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return outcomes


@pytest.fixture
def meeting():
    return Meeting()


def test_two_nodes_do_not_spend_the_same_rest_of_a_runs_limit(meeting):
    class Spent(OrderedDict):
        def get(self, *arguments):
            found = super().get(*arguments)
            meeting.wait()
            return found

    limit = SpendingLimit()
    limit.spent = Spent()
    assert sorted(map(str, both(lambda: limit.spend("run", Price(0.3, True), 0.5)))) == [str(PolicyError), "None"]


def test_two_nodes_do_not_take_the_same_request(meeting):
    class Held(set):
        def __contains__(self, digest):
            found = super().__contains__(digest)
            meeting.wait()
            return found

    lock = KeyedLock()
    lock.held = Held()
    assert sorted(both(lambda: lock._take("a"))) == [False, True]


def test_two_nodes_do_not_take_the_last_start_of_a_minute(meeting):
    class Starts(deque):
        def __len__(self):
            found = super().__len__()
            meeting.wait()
            return found

    limiter = RateLimiter()
    limiter.starts = Starts()
    assert sorted(both(lambda: limiter._take(100, 1))) == [False, True]


def test_pictures_are_encoded_one_after_the_other(meeting, monkeypatch):
    fromarray = request.Image.fromarray

    def slow(pixels):
        meeting.wait()
        return fromarray(pixels)

    monkeypatch.setattr(request.Image, "fromarray", slow)
    files = both(lambda: picture().png())
    assert files[0] == files[1]
    assert not meeting.met


def test_every_accident_on_the_page_has_its_test():
    page = (ROOT / "docs" / "hosted_locks.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", page)
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "unit").glob("test_hosted_*.py"))
    assert len(named) == 9
    assert [name for name in named if f"def {name}(" not in tests] == []
