"""The threads of an encoder are scheduled as all others: none of them keeps the rest of the machine waiting.

SVT-AV1 asks for another schedule where it is run by root, as in most containers; for other users this shows nothing.
"""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from pack.media.codecs import CODECS
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone schedules threads like this")


def policies():
    """Returns the policies of this process's threads."""
    return {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}


def in_a_thread(work):
    """Runs something in a thread that ends, so that a change of its scheduling stays with it."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("codec", CODECS)
def test_no_thread_is_a_real_time_one(tmp_path, codec):
    def save():
        seen = []
        with Mp4Writer(tmp_path / "clip.mp4", Size(64, 64), codec=codec) as video:
            for level in (0.2, 0.5, 0.8):
                video.write(np.full((64, 64, 3), level, np.float32))
                seen.append(policies())
        return [*seen, {os.sched_getscheduler(0)}]

    assert in_a_thread(save) == [{os.SCHED_OTHER}] * 4
