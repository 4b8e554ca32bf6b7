"""How often the tiny models' style LoRAs paint shapes, with their trigger words and without.

styles.py --scenes 32   how many unseen scenes for each way

A shape counts as painted if its pattern is half as strong as the VAE alone leaves it in a scene drawn so. The shares go
into bench/results/styles.json.
"""

import json
from dataclasses import replace

import harness  # isort: skip  # first, since it says what is missing
import numpy as np
import torch

harness.import_comfyui(cpu=not torch.cuda.is_available())
from pack.tiny import judge
from pack.tiny.latents import SMALL
from pack.tiny.quick import compile_norms
from pack.tiny.scenes import Scene
from pack.tiny.studio import RCM, TEACHER, Studio, Way
from pack.tiny.text import STYLE_WORDS

RESULTS = harness.RESULTS / "styles.json"
KINDS = ("moves", "stands still", "changes size")  # which leave nothing open: the judge knows where to look
FAST = (*RCM, 1.0)


def lora(style: str, strength: float = 1.0) -> tuple[str, str, float]:
    """Returns a style's LoRA pair as a way has it."""
    return f"{style}_high", f"{style}_low", strength


BOTH = tuple(map(lora, STYLE_WORDS))
WAYS = {"no LoRA, no words": Way()}
for style, words in STYLE_WORDS.items():
    WAYS |= {
        f"{words}, no LoRA": Way(words=words),
        **{
            f"{words}, strength {strength:g}": Way(loras=(lora(style, strength), FAST), words=words)
            for strength in (0, 0.5, 1)
        },
        f"{words}'s LoRA, no words": Way(loras=(lora(style), FAST)),
        f"{words}, both LoRAs": Way(loras=(*BOTH, FAST), words=words),
        f"{words}, 20 steps, cfg 3": replace(TEACHER, loras=(lora(style),), words=words),
    }
WAYS |= {
    "both LoRAs and both words": Way(loras=(*BOTH, FAST), words=" ".join(STYLE_WORDS.values())),
    "both LoRAs, no words": Way(loras=(*BOTH, FAST)),
}


def paints(scenes: list[Scene], clips: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns how strongly each clip is painted, by style."""
    found = [judge.paint(scene, clip) for scene, clip in zip(scenes, clips, strict=True)]
    return {style: np.array([each[style] for each in found]) for style in STYLE_WORDS}


def main() -> None:
    """Makes the clips, and saves way after way."""
    options = harness.asked(__doc__, WAYS, 32)
    compile_norms()
    studio = Studio(options.models, SMALL)
    scenes = studio.scenes(range(options.scenes), KINDS)
    whole = {style: paints(scenes, studio.through_vae(scenes, style))[style] for style in STYLE_WORDS}
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() and options.names else {}
    for name in options.names or WAYS:
        for style, strength in paints(scenes, list(studio.clips(scenes, WAYS[name]))).items():
            share = float(np.mean(strength > 0.5 * whole[style]))
            print(f"{name}: {STYLE_WORDS[style]} {share:.2f}, median {np.median(strength):.2f}", flush=True)
            known.setdefault(f"painted share, {STYLE_WORDS[style]}", {})[name] = round(share, 3)
            known.setdefault(f"strength of {STYLE_WORDS[style]}", {})[name] = round(float(np.median(strength)), 2)
        RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
