"""What Long Clip takes for 8 and 24 parts beside 2: memory that does not grow, and time that grows with the parts.

The tiny models make parts of a second at 208x112, each number of parts in a process of its own.

long_parts.py          all of them, and the rows
long_parts.py PARTS    one clip; prints its seconds, its seconds of the processor, and the peak memory of the process
"""

import subprocess
import sys
import tempfile
import time

import harness

FEWEST, MORE = 2, (8, 24)
ROW = "parts: Long Clip, {} parts / {}, a second each at 208x112"


def alone(parts: int) -> None:
    """Makes a clip in this process, after a short one that loads and warms up what all of them need."""
    harness.import_comfyui()
    import folder_paths
    from pack.tiny.latents import SMALL
    from pack.tiny.long_clips import bouncing, by_node
    from pack.tiny.studio import Studio, Way

    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_user_directory(folder)
        folder_paths.set_output_directory(folder)
        studio, way = Studio(harness.ROOT / "tiny" / "models", SMALL), Way()
        by_node(studio, way, bouncing(1, FEWEST), 1, FEWEST)
        clock, processor = time.perf_counter(), time.process_time()
        by_node(studio, way, bouncing(2, parts), 2, parts)
        print(time.perf_counter() - clock, time.process_time() - processor, harness.peak_mb())


def measured(parts: int) -> list[float]:
    """Returns seconds and seconds of the processor for a part, and the peak of memory in MB."""
    output = subprocess.run(
        [sys.executable, __file__, str(parts)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ).stdout
    seconds, processor, peak = map(float, output.splitlines()[-1].split())
    return [seconds / parts, processor / parts, peak]


def main() -> None:
    """Measures and saves the rows."""
    if sys.argv[1:]:
        alone(int(sys.argv[1]))
        return
    fewest = measured(FEWEST)
    for parts in MORE:
        seconds, processor, peak = measured(parts)
        harness.save({
            ROW.format(parts, FEWEST): {
                "time a part ratio": round(seconds / fewest[0], 3),
                "processor time a part ratio": round(processor / fewest[1], 3),
                "peak memory ratio": round(peak / fewest[2], 3),
                "seconds a part": round(seconds, 2),
                "peak MB": round(peak),
                f"peak MB of {FEWEST} parts": round(fewest[2]),
            }
        })  # fmt: skip


if __name__ == "__main__":
    main()
