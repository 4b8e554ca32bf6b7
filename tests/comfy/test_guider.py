"""The guider against real ComfyUI samplers and tiny experts."""

import pytest
import torch

pytestmark = pytest.mark.comfy


def test_smoke(models):
    from pack.nodes.sampling import Sampler
    from pack.tests.toy import models as toy
    from pack.weights import loading

    high = loading.load_expert(str(models / "diffusion_models" / toy.HIGH), "default")
    low = loading.load_expert(str(models / "diffusion_models" / toy.LOW), "default")
    cond = [[torch.randn(1, 12, 4096), {}]]
    latent = {"samples": torch.zeros(1, 16, 3, 8, 8)}
    for mode in ("ode", "sde"):
        out = Sampler.execute(high, low, cond, latent, 1, 4, "rcm", mode, 1.0, 200.0, 5.0, 0.9)
        print(out[1], out[0]["samples"].std(), out[0]["samples"].isfinite().all())
