"""Quality against density: films of the tiny models with Sparse Attention, against the dense ones of the same seeds.

density.py [NAME ...]       those ways alone, of `WAYS`; all of them if none is named
density.py --scenes 12      how many unseen scenes for each way, one of each kind, those that leave nothing open first

A difference is |sparse - dense| / |dense| of the latents. Distance from the scene is that from the latent of the drawn
film, of scenes that leave nothing open, over the dense film's distance: above 1 something is lost. Films of the ways
in `JUDGED` are decoded and judged, too. The rows go into bench/results/density.json, one by one, and into
docs/density.md.
"""

import json
import math
import statistics
from functools import lru_cache
from pathlib import Path

import harness  # isort: skip  # first, since it says what is missing
import numpy as np
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
from pack.attention.order import cube_order
from pack.attention.routing import routed_count
from pack.attention.session import Settings
from pack.tiny import judge
from pack.tiny.drawing import draw
from pack.tiny.latents import FULL, normal_latent
from pack.tiny.quick import DEVICE, compile_norms
from pack.tiny.scenes import KINDS, random_scene
from pack.tiny.studio import Sampled, Studio, Way, distance, latents_of
from pack.tiny.vae_training import as_tensor

RESULTS = harness.RESULTS / "density.json"
PAGE = harness.ROOT / "docs" / "density.md"
GRID = (FULL.frames - 1) // 4 + 1, FULL.height // 16, FULL.width // 16  # latent frames, rows and columns of tokens
DENSE, EXACT = "dense", "density 1, no dense step"
DENSITIES = (0.5, 0.3, 0.2, 0.15, 0.1, 0.05)
LIMITS = (0.05, 0.1, 0.2, 0.3)
MEASURING = Settings(error_limit=math.inf)
SETTLED_FIRST = sorted(KINDS, key=lambda kind: random_scene(0, kind=kind).is_open)


def raster_order(grid, device):
    """Returns the order of ComfyUI's own tokens, in the form of the pack's."""
    order = cube_order(grid, device)
    places = torch.arange(order.length, device=device)
    return order._replace(tokens=places, places=places)


VARIANTS = {
    "cubes": MEASURING,
    "first frame like others": MEASURING._replace(sink=False),
    "raster": MEASURING._replace(order=raster_order),
    "no tail": MEASURING._replace(tail=False),
    "as other nodes do it": MEASURING._replace(order=raster_order, sink=False, tail=False),
}


def said(densities: list[float]) -> str:
    """Names densities of which the same blocks are kept."""
    return " to ".join(dict.fromkeys(f"{density:g}" for density in (densities[-1], densities[0])))


def ways() -> dict[str, Way]:
    """Returns all ways. Densities of which a clip so short keeps the same blocks are one way."""
    order = cube_order(GRID, torch.device("cpu"))
    found = {DENSE: Way(), EXACT: Way(sparse=MEASURING._replace(density=1.0, dense_steps=0))}
    for dense_steps in (0, 1, 2):
        for variant, settings in VARIANTS.items():
            alike: dict[int, list[float]] = {}
            for density in DENSITIES:
                count = routed_count(order.blocks, order.sink if settings.sink else 0, density)
                alike.setdefault(count, []).append(density)
            for densities in alike.values():
                sparse = settings._replace(density=densities[-1], dense_steps=dense_steps)
                found[f"{variant}, density {said(densities)}, dense steps {dense_steps}"] = Way(sparse=sparse)
    for limit in LIMITS:
        settings = Settings(error_limit=limit)
        name = f"density {settings.density:g}, dense steps {settings.dense_steps}, error limit {limit:g}"
        found[name] = Way(sparse=settings)
    return found


WAYS = ways()
JUDGED = (
    DENSE,
    *(name for name in WAYS if name.startswith("cubes") and name.endswith(", dense steps 1")),
    "cubes, density 0.05 to 0.2, dense steps 0",
    "first frame like others, density 0.05, dense steps 1",
)
SHARE = "share computed exactly"
MEDIAN, WORST = "probe error, median share", "probe error, worst share"
DIFFERENCE, DISTANCE, SPREAD = "difference from dense share", "distance from the scene, times", "its standard error"
PSNR = "PSNR to dense, dB"
SAID = (
    SHARE, MEDIAN, WORST, DIFFERENCE, DISTANCE, SPREAD, PSNR, "right share", "colours share", "ground dB", "sharpness"
)  # fmt: skip


class Bench:
    """Scenes, their own latents, and the dense films."""

    @torch.inference_mode()
    def __init__(self, models: Path, count: int) -> None:
        self.studio = Studio(models, FULL)
        self.scenes = self.studio.scenes(range(count), SETTLED_FIRST)
        self.true = [
            normal_latent(self.studio.fast, as_tensor(draw(scene, *FULL)[None]).to(DEVICE))[0].cpu()
            for scene in self.scenes
        ]
        self.made = {DENSE: self.sampled(DENSE)}  # of the ways that are judged
        self.dense = latents_of(self.made[DENSE])

    def sampled(self, name: str) -> list[Sampled]:
        """Samples the scenes in a way, always from the same noise."""
        return list(self.studio.sampled(self.scenes, WAYS[name]))

    def row_of(self, name: str) -> dict[str, float]:
        """Returns what the latents of a way are like."""
        batches = self.made.get(name) or self.sampled(name)
        if name in JUDGED:
            self.made[name] = batches
        found = latents_of(batches)
        row = receipt_of([line for batch in batches for line in batch.receipt])
        row[DIFFERENCE] = statistics.mean(map(distance, found, self.dense))
        times = [
            distance(latent, true) / distance(dense, true)
            for scene, latent, dense, true in zip(self.scenes, found, self.dense, self.true, strict=True)
            if not scene.is_open
        ]
        row[DISTANCE] = statistics.mean(times)
        row[SPREAD] = statistics.stdev(times) / math.sqrt(len(times)) if len(times) > 1 else math.nan
        return row

    @torch.inference_mode()
    def judged(self, name: str) -> dict[str, float]:
        """Returns what the judge says of the films of a way, and how near they are to the dense ones."""
        clips = self.films(name)
        row = judge.summary(map(judge.judge, self.scenes, clips))
        near = math.nan if name == DENSE else statistics.mean(map(psnr, clips, self.films(DENSE)))
        return {PSNR: near, **{key: value for key, value in row.items() if key in SAID}}

    @lru_cache(maxsize=2)  # noqa: B019  # there is one bench in a process
    def films(self, name: str) -> list[np.ndarray]:
        """Returns the films of a way that is judged."""
        return [clip for batch in self.made[name] for clip in self.studio.decoded(batch.latents)]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Returns how near two films are, in dB; at most 99, where they are the same."""
    error = np.square(one.astype(np.float32) - other).mean()
    return min(99.0, float(10 * np.log10(255**2 / error))) if error else 99.0


def receipt_of(lines: list[dict]) -> dict[str, float]:
    """Returns how much of self-attention was computed exactly over a run, and the errors of what was not."""
    computed = [
        (line["sparse layers"] * line.get("density", 1.0) + line["layers"] - line["sparse layers"]) / line["layers"]
        for line in lines
    ]
    errors = [line for line in lines if "worst error" in line]
    return {
        SHARE: statistics.mean(computed) if computed else 1.0,
        MEDIAN: statistics.median(line["median error"] for line in errors) if errors else math.nan,
        WORST: max(line["worst error"] for line in errors) if errors else math.nan,
    }


def save(name: str, row: dict[str, float]) -> None:
    """Prints a way's numbers, and puts them into the results, a chart for each number, and into the page's table."""
    row = {key: float(f"{row[key]:.3g}" if row[key] < 1 else f"{row[key]:.3f}") for key in row}
    print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
    known = harness.with_row(RESULTS, name, row)
    rows = {key: {way: known[key][way] for way in WAYS if way in known[key]} for key in SAID if key in known}
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    harness.write_table(PAGE, table(rows))


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns the numbers as a Markdown table, a line for each way."""
    lines = ["| way | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for way in rows[SHARE]:
        lines.append(f"| {way} | " + " | ".join(f"{row[way]:g}" if way in row else "-" for row in rows.values()) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Makes the films, and saves way after way."""
    options = harness.asked(__doc__, WAYS, 12)
    compile_norms()
    bench = Bench(options.models, options.scenes)
    for name in options.names or WAYS:
        save(name, bench.row_of(name))
    for name in bench.made if options.names else JUDGED:  # last, since it takes longer
        save(name, bench.judged(name))


if __name__ == "__main__":
    main()
