"""Clip Report against one bare pass of OpenCV's DIS over the same frames, at full size.

clip_report.py                  both in turn, and the row
clip_report.py memory FRAMES    the most memory that a process takes which measures so many frames, made one by one

81 frames of 1280x720. The pass is the flow alone, with the settings of Clip Report, between every second frame, which
is what motion and smoothness need at 16 frames a second; its pictures are grey and in 8 bits before the clock starts.
"""

import sys
from itertools import pairwise
from pathlib import Path

import harness  # isort: skip  # first, since it says what is missing
from saving import FPS, FRAMES, HEIGHT, LONG, WIDTH, make_frames


def ours(frames):
    """All numbers of a clip, float32[F, H, W, 3]."""
    from pack.media.clip_report import measure

    return measure(frames, FPS, frames[0])


def flow(lights):
    """The flow between every second of grey pictures, uint8[h, w]."""
    from pack.media.clip_motion import dis

    engine = dis()
    return [engine.calc(one, other, None) for one, other in pairwise(lights)]


def lights_of(frames):
    """Every second frame in grey and 8 bits."""
    import cv2

    return [cv2.cvtColor(cv2.convertScaleAbs(frame, alpha=255), cv2.COLOR_RGB2GRAY) for frame in frames[::2]]


def rolled(count):
    """Frames of a picture that drifts, made one by one."""
    import numpy as np

    still = make_frames(1, grain=True).numpy()[0]
    return (np.roll(still, 3 * number, axis=1) for number in range(count))


def measure_all(frames):
    """All numbers of frames that come one by one."""
    from pack.media.clip_report import measure

    return measure(frames, FPS)


def main():
    """Writes the row."""
    # First: a process begins with the peak of the one that starts it.
    peaks = {count: harness.peak_memory(Path(__file__), "memory", str(count)) for count in (FRAMES, LONG)}
    frames = make_frames(FRAMES, grain=True).numpy()
    lights = lights_of(frames)
    timing = harness.alternate({"ours": lambda: ours(frames), "DIS": lambda: flow(lights)}, runs=5)
    row = {
        "time ratio": round(timing["ours"].seconds / timing["DIS"].seconds, 2),
        "processor time ratio": round(timing["ours"].cpu / timing["DIS"].cpu, 2),
        "seconds ours": round(timing["ours"].seconds, 2),
        "seconds DIS": round(timing["DIS"].seconds, 2),
        **{f"peak MB, {count} frames": round(peak) for count, peak in peaks.items()},
    }
    harness.save({f"report: Clip Report / the flow alone at full size, {FRAMES} frames {WIDTH}x{HEIGHT}": row})


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        measure_all(rolled(int(sys.argv[2])))
        print(harness.peak_mb())
    else:
        main()
