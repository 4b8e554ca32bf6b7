"""How the system schedules the threads of an encoder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

TASKS = "/proc/self/task"  # has an entry for each thread of this process


class Scheduling(NamedTuple):
    """Linux's scheduling of a thread: the policy and, if that is a real-time one, the priority."""

    policy: int
    priority: int


@contextmanager
def kept() -> Iterator[None]:
    """Leaves the block with the calling thread scheduled as before it, and the threads begun in it like that thread.

    SVT-AV1, opened by root, turns the calling thread into a real-time one of the highest priority, and so every thread
    and process that comes of it: see decision 0018. Does nothing where the system is not Linux.
    """
    if sys.platform != "linux":
        yield
        return
    before, known = _scheduling(0), set(os.listdir(TASKS))
    try:
        yield
    finally:
        if (changed := _scheduling(0)) != before:
            for thread in map(int, set(os.listdir(TASKS)) - known):
                with suppress(ProcessLookupError):  # it has ended
                    if _scheduling(thread) == changed:
                        _set(thread, before)
            _set(0, before)


def _scheduling(thread: int) -> Scheduling:
    """Returns the scheduling of a thread, by its number in the system; 0 is the calling one."""
    return Scheduling(os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority)


def _set(thread: int, scheduling: Scheduling) -> None:
    os.sched_setscheduler(thread, scheduling.policy, os.sched_param(scheduling.priority))
