"""rCM Sampler against the official wiring: two KSamplerAdvanced with the same sigmas, steps and models.

sampling.py               both in turn, and the rows
sampling.py memory PEER   one of them alone, for its peak memory
"""

import sys
import tempfile
import time
from pathlib import Path

import harness

STEPS = 4
LATENT = (1, 16, 5, 30, 52)  # 17 frames at 416x240
WIDTH, DEPTH = 512, 4  # large enough for the model, not Python, to take the time


def load_experts():
    """Makes and loads two experts with random weights."""
    from pack.tests.toy.models import expert
    from pack.weights.loading import load_expert
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        for name, seed in (("high", 1), ("low", 2)):
            save_file(expert(seed, dim=WIDTH, layers=DEPTH), Path(folder) / f"{name}.safetensors")
        return [load_expert(str(Path(folder) / f"{name}.safetensors"), "default") for name in ("high", "low")]


class Peers:
    """The two ways to sample, on the same experts and conditioning."""

    def __init__(self):
        import torch

        self.high, self.low = load_experts()
        conditioning = torch.randn(1, 512, 4096, generator=torch.Generator().manual_seed(3))
        self.positive = [[conditioning, {}]]
        self.latent = {"samples": torch.zeros(LATENT)}
        self.first_step = 0.0

    def official(self):
        """As ComfyUI's template wires it: shift 5 on both, split after step 2, left-over noise handed on."""
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3

        import nodes

        high, low = (ModelSamplingSD3().patch(self.noting(model), 5.0)[0] for model in (self.high, self.low))
        ends = (self.positive, self.positive)
        first = nodes.KSamplerAdvanced().sample(
            high, "enable", 7, STEPS, 1.0, "euler", "simple", *ends, self.latent, 0, 2, "enable"
        )[0]
        return nodes.KSamplerAdvanced().sample(
            low, "disable", 0, STEPS, 1.0, "euler", "simple", *ends, first, 2, STEPS, "disable"
        )[0]["samples"]

    def ours(self):
        """The rCM Sampler with the same list of sigmas."""
        from pack.nodes.sampling import Sampler

        high, low = self.noting(self.high), self.noting(self.low)
        return Sampler.execute(
            high, low, self.positive, self.latent, seed=7, steps=STEPS, schedule="lightning", mode="ode", cfg=1.0,
            sigma_max=200.0, shift=5.0, boundary=0.9,
        )[0]["samples"]  # fmt: skip

    def noting(self, model):
        """Returns a clone that notes when the run's first evaluation begins."""
        clone = model.clone()

        def note(apply_model, arguments):
            self.first_step = self.first_step or time.perf_counter()
            return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

        clone.set_model_unet_function_wrapper(note)
        return clone

    def start_up(self, name):
        """Returns the seconds from the call to the first evaluation."""

        def run():
            self.first_step = 0.0
            started = time.perf_counter()
            getattr(self, name)()
            return self.first_step - started

        return sorted(run() for _ in range(5))[2]


def preview_seconds(shape):
    """Returns the seconds that one preview of a latent of this shape takes."""
    import torch
    from comfy.latent_formats import Wan21
    from pack.media.preview import Loop, latent_to_rgb

    x0 = torch.nn.functional.avg_pool3d(torch.randn(shape), (1, 5, 5), 1, (0, 2, 2)) * 3  # smooth, as pictures are
    factors, bias = torch.tensor(Wan21().latent_rgb_factors), torch.tensor(Wan21().latent_rgb_factors_bias)
    return harness.alternate({"preview": lambda: Loop(latent_to_rgb(x0, factors, bias))})["preview"]


def main():
    """Measures and saves the rows."""
    harness.import_comfyui()
    peers = Peers()
    if sys.argv[1:2] == ["memory"]:
        getattr(peers, sys.argv[2])()
        print(harness.peak_mb())
        return
    difference = float((peers.official() - peers.ours()).abs().max())
    seconds = harness.alternate({"official": peers.official, "ours": peers.ours})
    start = {name: peers.start_up(name) for name in seconds}
    memory = {name: harness.peak_memory(Path(__file__), "memory", name) for name in seconds}
    step, small, large = seconds["ours"] / STEPS, preview_seconds(LATENT), preview_seconds((1, 16, 21, 90, 160))
    harness.save(
        {
            "sampling: rCM Sampler / two KSamplerAdvanced, 4 steps": {
                "time ratio": round(seconds["ours"] / seconds["official"], 3),
                "seconds a step": round(step, 3),
                "peak memory ratio": round(memory["ours"] / memory["official"], 3),
                "start-up ms ours": round(1e3 * start["ours"], 1),
                "start-up ms official": round(1e3 * start["official"], 1),
                "largest difference of the latents": float(f"{difference:.2g}"),
            },
            "preview: share of a step": {
                "240p, measured": round(small / step, 4),
                "720p ms": round(1e3 * large, 1),
                "720p, of the 8.26 s that a step takes an H200 at least": round(large / 8.26, 4),
            },
        }
    )


if __name__ == "__main__":
    main()
