"""Long clips of drawn scenes with the tiny models: by Long Clip, wired by hand as before it was there, or in one piece.

All of them get the numbers of Long Clip's report. A clip in one piece has a seam where Long Clip would have one: it
shows what the numbers are where nothing is joined.
"""

import json
from itertools import pairwise
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..media.drift import DriftMeter
from ..nodes.joining import JoinClips
from ..nodes.long_clip import LongClip
from ..nodes.picture import ImageToVideo
from ..nodes.sampling import Sampler
from .drawing import draw
from .latents import SMALL
from .scenes import FPS, Scene, random_scene
from .studio import SETTINGS, Studio, Way

SECONDS = (SMALL.frames - 1) / FPS  # of a part, as the models were trained
REST = {
    "loop": False, "motion_latents": 1, "fps": float(FPS), "filename_prefix": "long/clip", "codec": "h264", "crf": 18,
    "metadata": "none",
}  # fmt: skip

Numbers = dict[str, Any]  # `DriftNumbers.as_dict()`


def bouncing(seed: int, parts: int) -> Scene:
    """Returns a scene in which one shape bounces for as long as a clip of so many parts lasts."""
    return random_scene(seed, SMALL.width / SMALL.height, SECONDS * parts, "bounces")


def by_node(
    studio: Studio, way: Way, scene: Scene, seed: int, parts: int, continue_by: str = "last_frame",
    anchored: bool = True,
) -> Numbers:  # fmt: skip
    """Has Long Clip make a clip, with the caption for all of its parts."""
    high, low = studio.experts(way)
    hidden: Any = {"hidden_inputs": {io.Hidden.unique_id: "1"}}  # without a prompt: no part is found again
    node = LongClip.PREPARE_CLASS_CLONE(hidden)
    with torch.inference_mode():
        made = node.execute(
            high=high, low=low, clip=studio.clip, vae=studio.vae, start_image=first_frame(scene),
            prompts=scene.caption, parts=parts, seconds=SECONDS, continue_by=continue_by, anchor_colours=anchored,
            seed=seed, **settings(way), **REST,
        )  # fmt: skip
    return json.loads(made[3])


def wired(studio: Studio, way: Way, scene: Scene, seed: int, parts: int) -> Numbers:
    """Makes a clip as the long graph of 0.1.0-alpha is wired, whose second half is there once for each further part.

    A part grows from the last frame that the one before was decoded to, with the same seed, and Join Clips puts it
    behind all that is there.
    """
    clip = last = sampled(studio, way, scene.caption, first_frame(scene), SECONDS, seed)
    starts = [0]
    for _ in range(parts - 1):
        starts.append(len(clip))
        last = sampled(studio, way, scene.caption, last[-1:], SECONDS, seed)
        clip = JoinClips.execute(clip, last, True).args[0]
    return measured(clip, starts, scene)


def in_one_piece(studio: Studio, way: Way, scene: Scene, seed: int, parts: int) -> Numbers:
    """Samples a clip as long as one of so many parts at once, which is more than the models were trained on."""
    clip = sampled(studio, way, scene.caption, first_frame(scene), parts * SECONDS, seed)
    own = SMALL.frames - 1  # of each part but the first, which has the picture too
    return measured(clip, [0, *range(SMALL.frames, len(clip), own)], scene)


@torch.inference_mode()
def sampled(studio: Studio, way: Way, text: str, picture: Tensor, seconds: float, seed: int) -> Tensor:
    """Returns what the nodes for a single clip make of a picture, Tensor[F, H, W, 3] in [0, 1]."""
    words, no_words = (
        studio.clip.encode_from_tokens_scheduled(studio.clip.tokenize(caption)) for caption in (text, "")
    )
    positive, negative, latent, _ = ImageToVideo.execute(words, studio.vae, picture, seconds, no_words).args
    guided = {"negative": negative} if way.cfg != 1 else {}
    made = Sampler.execute(*studio.experts(way), positive, latent, seed, **settings(way), **guided)[0]
    return studio.vae.decode(made["samples"])[0]


def settings(way: Way) -> dict[str, Any]:
    """Returns a way's settings of the sampler, by the names of its inputs."""
    return {name: getattr(way, name) for name in SETTINGS}


def first_frame(scene: Scene) -> Tensor:
    """Returns the picture that a clip grows from, Tensor[1, H, W, 3] in [0, 1]."""
    return torch.from_numpy(draw(scene, SMALL.width, SMALL.height, 1)).float() / 255


def measured(clip: Tensor, starts: list[int], scene: Scene) -> Numbers:
    """Returns the numbers of a clip, Tensor[F, H, W, 3], whose parts begin at frames."""
    meter = DriftMeter(FPS, first_frame(scene)[0].numpy())
    for begin, end in pairwise([*starts, len(clip)]):
        if begin:
            meter.seam()
        for frame in clip[begin:end]:
            meter.add(frame.cpu().numpy())
    return meter.numbers().as_dict()
