"""How far long clips of the tiny models drift, in every way to continue: speed across seams, colour, edges, likeness.

long_clip.py [WAY ...]              those ways alone, of `WAYS`; all of them if none is named
long_clip.py --seeds 40 --parts 8   how many clips of a way, and of how many parts of a second each

One shape bounces in a scene that no model was trained on. The clips are made by Long Clip itself. Beside it stand the
wiring of the long graph before there was that node, and clips that were sampled in one piece, with a seam where Long
Clip would have one: those show what happens where nothing is joined. All numbers are those of Long Clip's report.

The VAE works in half precision, as in the benches `quality` and `motion`: a part then takes a second of one core in
place of four. The rows go into bench/results/long_clip.json.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import harness  # isort: skip  # first, since it says what is missing
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
import folder_paths  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from pack.media.drift import DriftMeter  # noqa: E402
from pack.nodes.joining import JoinClips  # noqa: E402
from pack.nodes.loader import Loader  # noqa: E402
from pack.nodes.long_clip import LongClip  # noqa: E402
from pack.nodes.lora import Lora  # noqa: E402
from pack.nodes.picture import ImageToVideo  # noqa: E402
from pack.nodes.sampling import Sampler  # noqa: E402
from pack.tiny.files import NAMES  # noqa: E402
from pack.tiny.latents import SMALL  # noqa: E402
from pack.tiny.quick import DEVICE, compile_norms, half_precision, lay_out  # noqa: E402
from pack.tiny.scenes import Scene, draw, random_scene  # noqa: E402

MODELS = harness.ROOT / "tiny" / "models"
RESULTS = harness.RESULTS / "long_clip.json"
UNSEEN = 2_000_000  # seeds of scenes from here on are in no training
FPS = 16
SECONDS = (SMALL.frames - 1) / FPS  # of a part
SAMPLING = {
    "steps": 4, "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9,
}  # fmt: skip
UNDISTILLED = {"schedule": "shifted", "steps": 20, "cfg": 3.0}
REST = {
    "loop": False, "motion_latents": 1, "fps": float(FPS), "filename_prefix": "long/clip", "codec": "h264", "crf": 18,
    "metadata": "none",
}  # fmt: skip
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


def quicken(vae: Any) -> None:
    """Has ComfyUI's VAE encode and decode as the clips of training were, which takes a fifth of the time."""
    model = vae.first_stage_model
    lay_out(model)
    for name in ("encode", "decode"):
        setattr(model, name, half_precision(DEVICE)(getattr(model, name)))


def by_node(models: dict, scene: Scene, seed: int, parts: int, sampling: dict, way: str, anchored: bool) -> dict:
    """Has Long Clip make a clip, and returns its numbers."""
    node = LongClip.PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "1"}})
    made = node.execute(
        **models, start_image=first_frame(scene), prompts=scene.caption, parts=parts, seconds=SECONDS, continue_by=way,
        anchor_colours=anchored, seed=seed, **sampling, **REST,
    )  # fmt: skip
    return json.loads(made[3])


def wired(models: dict, scene: Scene, seed: int, parts: int, sampling: dict) -> dict:
    """Makes a clip as the long graph of 0.1.0-alpha is wired, and as often again as there are parts.

    A part grows from the last frame that the one before was decoded to, with the same seed, and Join Clips puts it
    behind all that is there.
    """
    clip = last = sampled(models, scene.caption, first_frame(scene), SECONDS, seed, sampling)
    starts = [0]
    for _ in range(parts - 1):
        starts.append(len(clip))
        last = sampled(models, scene.caption, last[-1:], SECONDS, seed, sampling)
        clip, _report = JoinClips.execute(clip, last, True).args
    return measured(clip, starts, scene)


def at_once(models: dict, scene: Scene, seed: int, parts: int, sampling: dict, length: int) -> dict:
    """Makes a clip as long as so many parts in one piece, whatever the number of parts of the other clips is."""
    clip = sampled(models, scene.caption, first_frame(scene), length * SECONDS, seed, sampling)
    own = SMALL.frames - 1  # of each part but the first, which has the picture too
    return measured(clip, [0, *range(SMALL.frames, len(clip), own)], scene)


def sampled(models: dict, text: str, picture: torch.Tensor, seconds: float, seed: int, sampling: dict) -> torch.Tensor:
    """Returns what the pack's nodes for one clip make of a picture, Tensor[F, H, W, 3]."""
    clip, vae = models["clip"], models["vae"]
    words, no_words = (clip.encode_from_tokens_scheduled(clip.tokenize(each)) for each in (text, ""))
    positive, negative, latent, _ = ImageToVideo.execute(words, vae, picture, seconds, no_words).args
    guided = {"negative": negative} if sampling["cfg"] != 1 else {}
    made = Sampler.execute(models["high"], models["low"], positive, latent, seed, **sampling, **guided)[0]
    return vae.decode(made["samples"])[0]


def first_frame(scene: Scene) -> torch.Tensor:
    """Returns the picture that a clip grows from, Tensor[1, H, W, 3] in [0, 1]."""
    return torch.from_numpy(draw(scene, SMALL.width, SMALL.height, 1)).float() / 255


def measured(clip: torch.Tensor, starts: list[int], scene: Scene) -> dict:
    """Returns the numbers of a clip, Tensor[F, H, W, 3], whose parts begin at frames."""
    meter = DriftMeter(FPS, first_frame(scene)[0].numpy())
    for begin, end in pairwise([*starts, len(clip)]):
        if begin:
            meter.seam()
        for frame in clip[begin:end]:
            meter.add(frame.numpy())
    return meter.numbers().as_dict()


WIRED, AT_ONCE = "wired by hand, with Join Clips", "{} parts long, in one piece"
Make = Callable[[dict, Scene, int, int, dict], dict]  # of models, a scene, a seed, a number of parts and the sampler's
WAYS: dict[str, Make] = {
    **{
        f"{way}{', own colours' * (not anchored)}": partial(by_node, way=way, anchored=anchored)
        for anchored in (True, False)
        for way in ("last_frame", "motion", "overlap")
    },
    WIRED: wired,
    **{AT_ONCE.format(length): partial(at_once, length=length) for length in (2, 4)},
}


def row_of(clips: Iterable[dict]) -> dict[str, float]:
    """Returns the numbers of `SAID` for the clips of a way: of seams over all of them, of ends over the clips."""
    clips = list(clips)
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
    parser.add_argument("--seeds", type=int, default=40, help="of scenes and noise, from 0; so many clips of each way")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--undistilled", action="store_true", help="20 steps with guidance, without the few-step LoRAs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(WAYS):
        parser.error(f"There is no way {', '.join(sorted(unknown))}. The ways are: {'; '.join(WAYS)}.")
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_user_directory(folder)
        folder_paths.set_output_directory(folder)
        with torch.inference_mode():
            measure(options)


def measure(options: argparse.Namespace) -> None:
    """Makes the clips of each way, and saves its row."""
    compile_norms()
    models = models_of(options.models, options.undistilled)
    quicken(models["vae"])
    sampling = {**SAMPLING, **(UNDISTILLED if options.undistilled else {})}
    scenes = [
        random_scene(UNSEEN + seed, SMALL.width / SMALL.height, SECONDS * options.parts, "bounces")
        for seed in range(options.seeds)
    ]
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in options.names or list(WAYS):
        row = row_of(WAYS[name](models, scene, seed, options.parts, sampling) for seed, scene in enumerate(scenes))
        shown = f"{name}{', undistilled' * options.undistilled}"
        print(f"{shown}: " + ", ".join(f"{key} {value:g}" for key, value in row.items()), flush=True)
        known = {key: {**known.get(key, {}), shown: row[key]} for key in SAID}
        RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
