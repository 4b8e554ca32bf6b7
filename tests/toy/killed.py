"""Writes clips again and again and is killed at random moments: killed.py FOLDER TIMES.

Everything is imported once; each victim is a fork, so that fifty of them take seconds. A moment is a number of frames
written: however fast the machine is, some victims die in their first clip and some after it.
"""

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from pack.media.mp4 import Mp4Writer
from pack.media.publish import NextName, Place
from pack.media.resolution import Size

FRAMES = 12
MOST = 3 * FRAMES  # frames before a victim dies


def write_clips(folder: Path, told: int) -> None:
    """Adds clips to a series and others beside it, for ever; tells of each frame with a byte."""
    frame = np.random.default_rng(os.getpid()).random((96, 128, 3), dtype=np.float32)
    count = 0
    while True:
        count += 1
        for place in (NextName(folder, "clip", ".mp4"), Place(folder / f"{os.getpid()}-{count}.mp4")):
            with Mp4Writer(place, Size(128, 96), metadata={"workflow": "x" * 10_000}) as video:
                for shift in range(FRAMES):
                    video.write(np.roll(frame, shift, axis=1))
                    os.write(told, b".")


def main() -> None:
    """Starts and kills."""
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    moments = random.Random(7)
    for _ in range(times):
        heard, told = os.pipe()
        victim = os.fork()
        if not victim:
            write_clips(folder, told)
        os.close(told)
        for _ in range(moments.randint(0, MOST)):
            assert os.read(heard, 1)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        os.close(heard)


if __name__ == "__main__":
    main()
