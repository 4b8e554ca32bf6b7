"""How far long clips of the tiny models drift, in every way to continue: speed across seams, colour, edges, likeness.

long_clip.py [WAY ...]              those ways alone, of `WAYS`; all of them if none is named
long_clip.py --seeds 40 --parts 8   how many clips of a way, and of how many parts of a second each

One shape bounces in a scene that no model was trained on. The clips are made by Long Clip itself, and the numbers are
those of its report. The rows go into bench/results/long_clip.json.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median, quantiles

import harness  # isort: skip  # first, since it says what is missing
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
import folder_paths  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from pack.nodes.loader import Loader  # noqa: E402
from pack.nodes.long_clip import LongClip  # noqa: E402
from pack.nodes.lora import Lora  # noqa: E402
from pack.tiny.drawing import draw  # noqa: E402
from pack.tiny.files import NAMES  # noqa: E402
from pack.tiny.latents import SMALL  # noqa: E402
from pack.tiny.scenes import Scene, random_scene  # noqa: E402

MODELS = harness.ROOT / "tiny" / "models"
RESULTS = harness.RESULTS / "long_clip.json"
UNSEEN = 2_000_000  # seeds of scenes from here on are in no training
SECONDS = (SMALL.frames - 1) / 16  # of a part
SETTINGS = {
    "parts": 1, "seconds": SECONDS, "continue_by": "last_frame", "anchor_colours": True, "loop": False, "steps": 4,
    "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9, "fps": 16.0,
    "filename_prefix": "long/clip", "codec": "h264", "crf": 18, "metadata": "none",
}  # fmt: skip
WAYS = {
    f"{way}{', own colours' * (not anchored)}": {"continue_by": way, "anchor_colours": anchored, "motion_latents": 1}
    for anchored in (True, False)
    for way in ("last_frame", "motion", "overlap")
}
RATIO = "speed after a seam, times that before"
SAID = (
    RATIO, f"{RATIO}, lower tenth", f"{RATIO}, upper tenth", "direction kept, cosine", "off its course, % of the side",
    "mean colour at the end, of 255", "edge blur, end to start", "likeness at the end",
)  # fmt: skip


def models_of(folder: Path, undistilled: bool) -> dict:
    """Returns the node's sockets, from a folder as `make tiny` writes it."""
    for name in sorted({name.split("/")[0] for name in NAMES.values()}):
        folder_paths.add_model_folder_path(name, str(folder / name), is_default=True)
    high, low, text, vae = (Path(NAMES[name]).name for name in ("expert_high", "expert_low", "text", "vae"))
    high, low, clip, vae = Loader.execute(high, low, text, vae, "default").args
    if not undistilled:
        loras = (Path(NAMES[name]).name for name in ("rcm_high", "rcm_low"))
        high, low, *_ = Lora.execute(high, low, *loras, 1.0, 1.0, "", "off", "a caption").args
    return {"high": high, "low": low, "clip": clip, "vae": vae}


def numbers_of(models: dict, scene: Scene, seed: int, **changes: object) -> dict:
    """Makes a clip, and returns Long Clip's numbers."""
    picture = torch.from_numpy(draw(scene, SMALL.width, SMALL.height, 1)).float() / 255
    node = LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "1"}})
    with torch.inference_mode():
        made = node.execute(**models, start_image=picture, prompts=scene.caption, seed=seed, **{**SETTINGS, **changes})
    return json.loads(made[3])


def row_of(clips: list[dict]) -> dict[str, float]:
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
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--models", type=Path, default=MODELS)
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
    models = models_of(options.models, options.undistilled)
    slow = {"schedule": "shifted", "steps": 20, "cfg": 3.0} if options.undistilled else {}
    scenes = [
        random_scene(UNSEEN + seed, SMALL.width / SMALL.height, SECONDS * options.parts, "bounces")
        for seed in range(options.seeds)
    ]
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in options.names or list(WAYS):
        given = {"parts": options.parts, **slow, **WAYS[name]}
        row = row_of([numbers_of(models, scene, seed, **given) for seed, scene in enumerate(scenes)])
        shown = f"{name}{', undistilled' * options.undistilled}"
        print(f"{shown}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
        known = {key: {**known.get(key, {}), shown: row[key]} for key in SAID}
        RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
