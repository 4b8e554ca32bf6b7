"""Studies that have run, for their reports: a table as `python client batch` leaves it, and clips that play."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from pack.client.batch.folder import opened
from pack.client.batch.plan import Job
from pack.client.batch.table import Result
from pack.client.batch.thumbnails import keep
from pack.media.clip_report import measure
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size
from pack.tiny import drawing, scenes
from PIL import Image

SIZE = Size(160, 96)
FRAMES, FPS = 17, 16
HOSTILE = "</script><script>document.title='escaped'</script> \"quoted\" & <b>bold</b> 一只猫 {{ 7 * 7 }}"
TEXT = 'pictures = ["*.png"]\nprompts = ["A cat looks up."]\n'
QUANTILE = {
    2: 4.302652729911275,
    3: 3.182446305284263,
    4: 2.7764451051977987,
}  # Student's t, .975
VARIANTS = {  # blur in pixels, jitter of the light, seconds, dollars
    "rcm steps=2": (1.6, 0.0, 21.0, 0.0),
    "rcm steps=4": (0.6, 0.0, 39.0, 0.0),
    "lightning": (0.6, 0.03, 38.0, 0.0),
    "WaveSpeed": (0.0, 0.0, 61.0, 0.15),
}


def job(number: int, variant: str, picture: Path, prompt: str, seed: int) -> Job:
    """A job as a plan has it."""
    digest = hashlib.sha256(picture.read_bytes() if picture.is_file() else picture.name.encode()).hexdigest()
    return Job(
        hashlib.sha256(f"{number} {variant} {prompt}".encode()).hexdigest(), f"{number}", "own.json", variant,
        picture.name, prompt, seed, {"picture": str(picture), "seed": seed}, {"picture": digest},
    )  # fmt: skip


def write(folder: Path, jobs: list[Job], results: dict[int, Result | tuple[str, str]], **about: str) -> Path:
    """Writes the table of a study whose jobs ended so: with clips, or in a state and for a reason."""
    with opened(folder) as table:
        table.plan(jobs, {"name": "a study", "text": TEXT, "version": "0.1.0", **about})
        for number, result in results.items():
            table.posted(number, f"http://127.0.0.1:{8188 + number % 2}", "id")
            if isinstance(result, Result):
                table.done(number, result)
            else:
                table.set(number, state=result[0], error=result[1], tries=1)
        keep(table, jobs)
    return folder


def clip(path: Path, frames: np.ndarray) -> Path:
    """Writes frames, [F, H, W, 3] in [0, 1], as an MP4."""
    with Mp4Writer(path, Size(frames.shape[2], frames.shape[1]), fps=FPS) as file:
        for frame in frames:
            file.write(frame.astype(np.float32))
    return path


def counted(count: int = FRAMES) -> np.ndarray:
    """Small frames that get brighter."""
    light = np.linspace(0.1, 0.9, count, dtype=np.float32)
    return np.broadcast_to(light[:, None, None, None], (count, SIZE.height, SIZE.width, 3))


def many(folder: Path, rows: int, variants: int, frames: tuple[int, ...] = (FRAMES,)) -> Path:
    """A study of so many rows, each with every variant, whose clips are as long as `frames` says in turn."""
    (folder / "clips").mkdir(parents=True)
    made = {count: clip(folder / f"{count}.mp4", counted(count)) for count in set(frames)}
    jobs, results = [], {}
    for number, (row, variant) in enumerate(product(range(rows), range(variants)), 1):
        name = f"clip 名 {number} 100%.mp4"
        shutil.copyfile(made[frames[variant % len(frames)]], folder / "clips" / name)
        prompt = HOSTILE if row == 0 else f"Prompt {row // 2}."
        jobs.append(job(number, f"variant {variant}", folder / f"picture {row // 2}.png", prompt, row % 2))
        numbers = {"width": SIZE.width, "height": SIZE.height, "fps": FPS, "likeness": 0.9 + 0.01 * variant + row / 1e5}
        results[number] = Result((f"clips/{name}",), 1, 0.1, 10.0 - variant + row / 100, {}, 0.0, numbers)
    for path in made.values():
        path.unlink()
    return write(folder, jobs, results)


def blurred(frames: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(frames, (0, sigma, sigma, 0)) if sigma else frames


def drawn(seed: int, blur: float, jitter: float, chance: np.random.Generator) -> np.ndarray:
    """A drawn scene, with faults of a known size."""
    scene = scenes.random_scene(seed, aspect=SIZE.width / SIZE.height, seconds=FRAMES / FPS)
    frames = drawing.draw(scene, SIZE.width, SIZE.height, FRAMES, "striped") / 255
    light = 1 + jitter * chance.standard_normal((FRAMES, 1, 1, 1))
    return (blurred(frames, blur * chance.uniform(0.7, 1.3)) * light).clip(0, 1)


def looked_at(folder: Path, named: str = "scene") -> Path:
    """A study of drawn scenes, with faults in some variants, failed jobs, prices and a prompt that must be escaped."""
    (folder / "clips").mkdir(parents=True)
    chance = np.random.default_rng(15)
    jobs, results = [], {}
    for number, (scene, seed, (variant, (blur, jitter, seconds, usd))) in enumerate(cases(), 1):
        picture = folder / "pictures" / f"{named} {scene}.png"
        clean = drawn(scene, 0.0, 0.0, chance)
        if not picture.is_file():
            picture.parent.mkdir(exist_ok=True)
            Image.fromarray((clean[0] * 255).astype("uint8")).save(picture)
        caption = scenes.random_scene(scene, aspect=SIZE.width / SIZE.height, seconds=FRAMES / FPS).caption
        jobs.append(job(number, variant, picture, HOSTILE if scene == 3 else caption, seed))
        if number == 7:
            results[number] = ("failed", "rCM Sampler: Allocation on device failed. Make the clip shorter or smaller.")
        elif variant == "WaveSpeed" and scene == 3:
            results[number] = ("refused", "The provider refuses the prompt. Change it.")
        else:
            frames = drawn(scene, blur, jitter, chance)
            name = f"{named} {scene}_{variant}_{number}.mp4"
            clip(folder / "clips" / name, frames)
            numbers = measure(frames.astype(np.float32), FPS, clean[0].astype(np.float32)).as_dict()
            known = {key: each for key, each in numbers.items() if isinstance(each, (int, float)) and each is not None}
            known = {key: each for key, each in known.items() if not isinstance(each, bool)}
            took = seconds * chance.uniform(0.93, 1.12)
            results[number] = Result((f"clips/{name}",), 1, 1.0, took, {"Clip Report": 0.8}, usd, known, ("Saved.",))
    versions = {"ComfyUI": "0.30.0", "Python": "3.11.2", "PyTorch": "2.13.0", "device 0": "cpu"}
    return write(folder, jobs, results, **{"server http://127.0.0.1:8188": json.dumps(versions)})


def cases() -> Iterator[tuple]:
    return product((1, 2, 3), (1, 2), VARIANTS.items())
