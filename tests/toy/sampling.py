"""One way to call the sampler in tests: small latents, and settings to change one at a time."""

import comfy.context_windows
import comfy.utils
import torch
from pack.nodes.sampling import Sampler

SHAPE = (1, 16, 3, 8, 8)
SETTINGS = {"steps": 4, "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9}


def conditioning(seed, shape=SHAPE):
    """Words, and a start picture for a latent of that shape, as Image to Video Latent gives them."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randn(1, 12, 4096, generator=generator)
    return [[words, {"concat_latent_image": torch.randn(shape, generator=generator)}]]


def with_windows(model):
    """Returns a model that sees six frames of a latent at a time, as ComfyUI's node of context windows makes it."""
    clone = model.clone()
    clone.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
        context_length=6, context_overlap=2, dim=2,
    )  # fmt: skip
    return clone


def empty_latent():
    return {"samples": torch.zeros(SHAPE)}


def sample(high, low, positive, seed=7, **changes):
    settings = {**SETTINGS, **changes}
    return Sampler.execute(high, low, positive, empty_latent(), seed=seed, **settings)[0]["samples"]


class server_hook:  # noqa: N801
    """Takes the place of the server behind ComfyUI's progress bars."""

    def __init__(self, hook):
        self.hook = hook

    def __enter__(self):
        self.before, comfy.utils.PROGRESS_BAR_HOOK = comfy.utils.PROGRESS_BAR_HOOK, self.hook

    def __exit__(self, *_):
        comfy.utils.PROGRESS_BAR_HOOK = self.before
