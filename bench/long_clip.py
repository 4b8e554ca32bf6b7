"""How far long clips of the tiny models drift, in every way to continue: speed across seams, colour, edges, likeness.

long_clip.py [WAY ...]              those ways alone, of `WAYS`; all of them if none is named
long_clip.py --seeds 40 --parts 8   how many clips of a way, and of how many parts of a second each

One shape bounces in a scene that no model was trained on. The clips are made by Long Clip itself, in other ways beside
it, and all numbers are those of its report. The VAE works in half precision, as in the benches `quality` and `motion`.
The rows go into bench/results/long_clip.json.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import harness  # isort: skip  # first, since it says what is missing
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
import folder_paths  # noqa: E402
from pack.tiny.latents import SMALL  # noqa: E402
from pack.tiny.long_clips import Numbers, bouncing, by_node, in_one_piece, wired  # noqa: E402
from pack.tiny.quick import compile_norms  # noqa: E402
from pack.tiny.scenes import Scene  # noqa: E402
from pack.tiny.studio import TEACHER, Studio, Way  # noqa: E402

RESULTS = harness.RESULTS / "long_clip.json"
UNSEEN = 2_000_000  # seeds of scenes from here on are in no training
LENGTHS = (2, 4)  # parts, of clips in one piece
Make = Callable[[Studio, Way, Scene, int, int], Numbers]  # of a scene, a seed and a number of parts


def of_length(length: int) -> Make:
    """Returns what makes clips in one piece, of so many parts whatever the others have."""
    return lambda studio, way, scene, seed, _parts: in_one_piece(studio, way, scene, seed, length)


WAYS: dict[str, Make] = {
    **{
        f"{way}{', own colours' * (not anchored)}": partial(by_node, continue_by=way, anchored=anchored)
        for anchored in (True, False)
        for way in ("last_frame", "motion", "overlap")
    },
    "wired by hand, with Join Clips": wired,
    **{f"in one piece of {length} parts": of_length(length) for length in LENGTHS},
}
RATIO = "speed after a seam, times that before"
SAID = (
    RATIO, f"{RATIO}, lower tenth", f"{RATIO}, upper tenth", "direction kept, cosine", "off its course, % of the side",
    "mean colour at the end, of 255", "edge blur, end to start", "likeness at the end",
)  # fmt: skip


def row_of(clips: list[Numbers]) -> dict[str, float]:
    """Returns the numbers of `SAID` for the clips of a way: of seams over all of them, of ends over the clips."""
    seams = [seam for clip in clips for seam in clip["seams"]]
    ratios = [seam["ratio"] for seam in seams if seam["ratio"] is not None]
    tenths = quantiles(ratios, n=10) if len(ratios) > 1 else ratios * 9
    ends = [clip["over_all"] for clip in clips]
    blurs = [
        end["edge_blur_end"] / end["edge_blur_start"] for end in ends if end["edge_blur_start"] and end["edge_blur_end"]
    ]
    told = (
        middle(ratios), tenths[0], tenths[-1], middle([seam["direction"] for seam in seams]),
        middle([seam["jump"] for seam in seams]), middle([end["mean_colour"] for end in ends]), middle(blurs),
        middle([end["likeness"] for end in ends]),
    )  # fmt: skip
    return {key: round(float(value), 3) for key, value in zip(SAID, told, strict=True)}


def middle(values: list) -> float:
    """Returns the median of those that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else float("nan")


def main() -> None:
    """Makes the clips, and saves way after way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="WAY")
    parser.add_argument("--seeds", type=int, default=40, help="clips of each way: scenes and noises, from 0 on")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--models", type=Path, default=harness.MODELS)
    parser.add_argument("--undistilled", action="store_true", help="20 steps with guidance, without the few-step LoRAs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(WAYS):
        parser.error(f"There is no way {', '.join(sorted(unknown))}. The ways are: {'; '.join(WAYS)}.")
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_user_directory(folder)
        folder_paths.set_output_directory(folder)
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Makes the clips of each way, and saves its row."""
    compile_norms()
    studio = Studio(options.models, SMALL)
    way = TEACHER if options.undistilled else Way()
    scenes = [bouncing(UNSEEN + seed, options.parts) for seed in range(options.seeds)]
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in options.names or list(WAYS):
        row = row_of([WAYS[name](studio, way, scene, seed, options.parts) for seed, scene in enumerate(scenes)])
        shown = f"{name}{', undistilled' * options.undistilled}"
        print(f"{shown}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
        known = {key: {**known.get(key, {}), shown: row[key]} for key in SAID}
        RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
