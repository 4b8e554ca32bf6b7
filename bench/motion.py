"""Speed asked for against speed made: clips of the tiny models, in every way that is to make few steps move more.

motion.py [NAME ...]        those ways alone, of `WAYS`; all of them if none is named
motion.py --scenes 96       how many unseen scenes for each way, a third of each speed

A shape moves slowly, or quickly, or neither, as its caption says; a reader finds it in the clip again. The rows go into
bench/results/motion.json, one by one, and into docs/motion.md.
"""

import itertools
import json
import math

import harness  # isort: skip  # first, since it says what is missing
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
import numpy as np
from pack.media.clip_report import ENDS
from pack.media.clip_seams import colour_drift, light_of
from pack.media.likeness import likeness
from pack.tiny.drawing import draw
from pack.tiny.judge import judge
from pack.tiny.latents import SMALL
from pack.tiny.quick import compile_norms
from pack.tiny.scenes import SPEEDS, Scene
from pack.tiny.studio import TEACHER, Studio, Way

RESULTS = harness.RESULTS / "motion.json"
PAGE = harness.ROOT / "docs" / "motion.md"
VAE_ALONE = "the scenes themselves, through the VAE"
WAYS = {
    "undistilled, 20 steps, cfg 3": TEACHER,
    **{
        f"rcm, {steps} steps, motion {motion:g}": Way(steps=steps, motion=motion)
        for steps in (4, 2)
        for motion in (1.0, 1.15, 1.5, 2.0)
    },
    **{
        f"rcm, 4 steps, motion {motion:g}, a mean of each channel": Way(motion=motion, by_channel=True)
        for motion in (1.15, 1.5)
    },
    **{f"rcm, 4 steps, sigma_max {sigma:g}": Way(sigma_max=sigma) for sigma in (80.0, 1600.0)},
    **{f"rcm, {steps} steps, the first undistilled, cfg 3": Way(steps=steps, first_cfg=3.0) for steps in (4, 2)},
    "4 steps without the few-step LoRAs": Way(loras=()),  # which is wrong
}
MADE, BY_SPEED = "speed made, a share of that asked for", "made of {:g} heights a second"
SAID = (
    MADE,
    *map(BY_SPEED.format, SPEEDS.values()),
    "clips that move where they should, a share",
    "brightness moved, of 255",
    "colour drift, of 255",
    "likeness of the first frame",
    "evaluations a clip",
)


def scenes_of(studio: Studio, count: int) -> list[Scene]:
    """Returns scenes in which one shape moves, a third of them at each speed, all unseen in training."""
    endless = (studio.scenes([seed], ["moves"])[0] for seed in itertools.count())
    wanted = dict.fromkeys(SPEEDS.values(), math.ceil(count / len(SPEEDS)))
    found = []
    while any(wanted.values()):
        scene = next(endless)
        if wanted[asked(scene)]:
            wanted[asked(scene)] -= 1
            found.append(scene)
    return found


def asked(scene: Scene) -> float:
    """Returns the speed in heights a second."""
    return round(math.hypot(*scene.things[0].speed), 6)


def row_of(studio: Studio, name: str, scenes: list[Scene]) -> dict[str, float]:
    """Returns the numbers of `SAID` for a way: medians of speed, drift and likeness, else means."""
    clips = studio.through_vae(scenes) if name == VAE_ALONE else list(studio.clips(scenes, WAYS[name]))
    pairs = list(zip(clips, [draw(scene, *studio.size) for scene in scenes], strict=True))
    verdicts = [judge(scene, clip) for scene, clip in zip(scenes, clips, strict=True)]
    # A clip in which the shape is lost makes nothing of the speed that was asked for.
    made = np.nan_to_num([verdict.amount for verdict in verdicts])
    wanted = np.array([asked(scene) for scene in scenes])
    told = (
        np.median(made),
        *(np.median((made * wanted)[wanted == speed]) for speed in SPEEDS.values()),
        np.mean([verdict.obeys for verdict in verdicts]),
        np.mean([abs(light_of(colour(clip) - colour(true))) for clip, true in pairs]),
        np.median([colour_drift(colour(clip[:ENDS]), colour(clip[-ENDS:])) or 0.0 for clip in clips]),
        np.median([likeness(clip[0], true[0], studio.size[:2]) or 0.0 for clip, true in pairs]),
        evaluations(WAYS.get(name)),
    )
    return {key: round(float(value), 3) for key, value in zip(SAID, told, strict=True)}


def evaluations(way: Way | None) -> int:
    """Returns how often a model is evaluated for a clip, which is what a way costs in time; None is no model."""
    return way.steps * (1 if way.cfg == 1 else 2) + bool(way.first_cfg) if way else 0


def colour(clip: np.ndarray) -> np.ndarray:
    """Returns the mean colour of a clip, uint8[F, H, W, 3]: float[3] of 255."""
    return clip.mean((0, 1, 2))


def save(name: str, row: dict[str, float]) -> None:
    """Prints a way's numbers, and puts them into the results, a chart for each number, and into the page's table."""
    print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    names = [way for way in (VAE_ALONE, *WAYS) if way == name or way in known.get(MADE, {})]
    rows = {key: {way: row[key] if way == name else known[key][way] for way in names} for key in SAID}
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    harness.write_table(PAGE, table(rows))


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns the numbers as a Markdown table, a line for each way."""
    lines = ["| way | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += [f"| {way} | " + " | ".join(f"{row[way]:g}" for row in rows.values()) + " |" for way in rows[MADE]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Makes the clips, and saves way after way."""
    options = harness.asked(__doc__, (VAE_ALONE, *WAYS), 48)
    compile_norms()
    studio = Studio(options.models, SMALL)
    scenes = scenes_of(studio, options.scenes)
    for name in options.names or (VAE_ALONE, *WAYS):
        save(name, row_of(studio, name, scenes))


if __name__ == "__main__":
    main()
