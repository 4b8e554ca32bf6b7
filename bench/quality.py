"""Films of the tiny models, made in every right and wrong way and judged against the scenes they came from.

quality.py [NAME ...]        those rows alone, of `WAYS`; all of them if none is named
quality.py --scenes 200      how many unseen scenes for each row; --size full: at 240p

The rows go into bench/results/quality.json, one by one, and into docs/quality.md.
"""

import json
import statistics
from dataclasses import replace
from functools import lru_cache

import harness  # isort: skip  # first, since it says what is missing
import numpy as np
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
from pack.tiny import judge
from pack.tiny.latents import FULL, SMALL
from pack.tiny.quick import compile_norms
from pack.tiny.scenes import KINDS, Scene
from pack.tiny.studio import RCM, TEACHER, Studio, Way, distance, latents_of

RESULTS = harness.RESULTS / "quality.json"
PAGE = harness.ROOT / "docs" / "quality.md"
VAE_ALONE = "the VAE alone"
USUAL = Way()  # as the shipped graphs have it
WAYS = {
    "the teacher, 20 steps, cfg 3": TEACHER,
    "the teacher without guidance": replace(TEACHER, cfg=1.0),
    **{f"the teacher, cfg {cfg:g}": replace(TEACHER, cfg=cfg) for cfg in (2.0, 5.0)},
    **{f"rcm, ode, {steps} steps": Way(steps=steps) for steps in (1, 2, 3, 4, 5, 6, 8)},
    **{f"rcm, sde, {steps} steps": Way(steps=steps, mode="sde") for steps in (2, 4, 8)},
    **{f"rcm, sigma_max {sigma:g}": Way(sigma_max=sigma) for sigma in (80.0, 1600.0)},
    "lightning's schedule": Way(schedule="lightning"),
    # From here on what somebody does wrong.
    **{f"no few-step LoRA, {steps} steps": Way(steps=steps, loras=()) for steps in (1, 2, 4)},
    "the high-noise LoRA alone": Way(loras=(("rcm_high", "", 1.0),)),
    "both LoRAs swapped": Way(loras=((RCM[1], RCM[0], 1.0),)),
    "both experts swapped": Way(swapped=True),
    "3 steps high, 1 low": Way(boundary=0.7),
    "1 step high, 3 low": Way(boundary=0.95),
    "cfg 3 on the few-step model": Way(cfg=3.0),
    "half of the LoRAs' strength": Way(loras=((*RCM, 0.5),)),
    "no start picture": Way(picture=False),
}
OUTCOMES = {"left or right": 2, "some size": 2, "one of two": 2, "moves away": judge.SECTORS, "some pan": judge.SECTORS}
SEEDS = 8  # of one scene, to count its outcomes
FEW = 24  # scenes in which nothing moves, to tell whether nothing does
FOLLOWED = 48  # scenes, whose films are compared with the teacher's


@torch.inference_mode()
def row_of(studio: Studio, name: str, count: int) -> dict[str, float]:
    """Returns what the clips of a row are like: of all scenes, and of those alone that leave something open."""
    scenes = studio.scenes(range(count), KINDS)
    clips, latents = films(studio, name, scenes)
    verdicts = [judge.judge(scene, clip) for scene, clip in zip(scenes, clips, strict=True)]
    unsettled = [verdict for scene, verdict in zip(scenes, verdicts, strict=True) if scene.is_open]
    told = judge.summary(verdicts)
    resting = studio.scenes(range(FEW), ("stands still",))
    still = [judge.judge(*each).obeys for each in zip(resting, films(studio, name, resting)[0], strict=True)]
    told["still share"] = round(statistics.mean(still), 3)
    told |= {
        f"open {key}": value for key, value in judge.summary(unsettled).items() if key.startswith(("right", "one"))
    }
    if latents:
        told |= from_the_teacher(studio, WAYS[name], latents[:FOLLOWED])
        told["outcomes over seeds share"] = outcomes(studio, WAYS[name])
        told["evaluations"] = WAYS[name].steps * (2 if WAYS[name].cfg != 1 else 1)
    return {**told, "clips": count}


def films(studio: Studio, name: str, scenes: list[Scene]) -> tuple[list[np.ndarray], list[torch.Tensor]]:
    """Returns clips of scenes, and the latents that they come from; of the VAE alone none are asked for."""
    if name == VAE_ALONE:
        return studio.through_vae(scenes), []
    batches = list(studio.sampled(scenes, WAYS[name]))
    return [clip for batch in batches for clip in studio.decoded(batch.latents)], latents_of(batches)


def from_the_teacher(studio: Studio, way: Way, latents: list[torch.Tensor]) -> dict[str, float]:
    """Returns how far films are from the teacher's of the same noise, and in how many scenes further than the usual's.

    In half of the scenes, where a way changes nothing. Nothing is told of the teacher, and half of the usual way.
    """
    if way == TEACHER:
        return {}
    teachers = followed(studio, TEACHER, len(latents))
    apart = list(map(distance, latents, teachers))
    found = {"distance from the teacher": round(statistics.median(apart), 3)}
    if way != USUAL:
        usual = map(distance, followed(studio, USUAL, len(latents)), teachers)
        further = statistics.mean(here > there for here, there in zip(apart, usual, strict=True))
        found["further from it than the usual way share"] = round(further, 3)
    return found


@lru_cache
def followed(studio: Studio, way: Way, count: int) -> list[torch.Tensor]:
    """Returns the latents of the first scenes' films."""
    return latents_of(studio.sampled(studio.scenes(range(count), KINDS), way))


def outcomes(studio: Studio, way: Way) -> float:
    """Returns how many outcomes a scene has over seeds, over how many chance would give, the mean over open kinds."""
    found = []
    for kind, possible in OUTCOMES.items():
        (scene,) = studio.scenes([7], [kind])
        clips = studio.clips([scene] * SEEDS, way)
        seen = {verdict.outcome for clip in clips if (verdict := judge.judge(scene, clip)).obeys}
        found.append(len(seen) / (possible * (1 - (1 - 1 / possible) ** SEEDS)))
    return round(statistics.mean(found), 2)


def save(name: str, row: dict[str, float]) -> None:
    """Prints a row, and puts it into the results, a chart for each number, and into the page's table."""
    print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
    known = harness.with_row(RESULTS, name, row)
    rows = {key: {way: told[way] for way in (VAE_ALONE, *WAYS) if way in told} for key, told in known.items()}
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    harness.write_table(PAGE, table(rows))


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns the numbers as a Markdown table, a line for each way, shares in percent."""
    ways = [way for way in (VAE_ALONE, *WAYS) if way in rows["right share"]]
    head = [name.replace(" share", " %") for name in rows]
    lines = ["| way | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    lines += [
        f"| {way} | " + " | ".join(shown(name, row.get(way)) for name, row in rows.items()) + " |" for way in ways
    ]
    return "\n".join(lines) + "\n"


def shown(name: str, value: float | None) -> str:
    """Returns a number as the table has it."""
    if value is None:
        return "-"
    return f"{100 * value:.0f}" if name.endswith("share") else f"{value:g}"


def main() -> None:
    """Makes the clips, and saves row after row."""
    options = harness.asked(__doc__, (VAE_ALONE, *WAYS), 48, size={"choices": ("small", "full"), "default": "small"})
    compile_norms()
    torch.manual_seed(0)
    studio = Studio(options.models, FULL if options.size == "full" else SMALL)
    for name in options.names or (VAE_ALONE, *WAYS):
        save(name, row_of(studio, name, options.scenes))


if __name__ == "__main__":
    main()
