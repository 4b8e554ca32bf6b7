"""rCM Sampler against the official wiring: two KSamplerAdvanced with the same sigmas, steps and models.

sampling.py               both in turn, and the rows
sampling.py memory PEER   one of them alone, for its peak memory
"""

import statistics
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
    from pack.tests.toy.loaded import load_expert
    from pack.tests.toy.models import expert
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        for name, seed in (("high", 1), ("low", 2)):
            save_file(expert(seed, dim=WIDTH, layers=DEPTH), Path(folder) / f"{name}.safetensors")
        return [load_expert(str(Path(folder) / f"{name}.safetensors"), "default") for name in ("high", "low")]


class Peers:
    """The two ways to sample, on the same experts, conditioning and latent."""

    def __init__(self, experts, shape):
        import comfy_extras.nodes_model_advanced  # noqa: F401  # both sides' code is there before memory is measured
        import pack.nodes.sampling  # noqa: F401
        import torch

        self.high, self.low = experts
        conditioning = torch.randn(1, 512, 4096, generator=torch.Generator().manual_seed(3))
        self.positive = [[conditioning, {"concat_latent_image": torch.zeros(shape)}]]
        self.latent = {"samples": torch.zeros(shape)}
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
            sigma_max=200.0, shift=5.0, boundary=0.9, negative=self.positive,
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
    """Returns the seconds that one preview takes: of the sampling thread, and of the server where somebody watches."""
    import io

    import torch
    from comfy.latent_formats import Wan21
    from pack.media.preview import Loop, latent_to_rgb

    x0 = torch.nn.functional.avg_pool3d(torch.randn(shape), (1, 5, 5), 1, (0, 2, 2)) * 3  # smooth, as pictures are
    factors, bias = torch.tensor(Wan21().latent_rgb_factors), torch.tensor(Wan21().latent_rgb_factors_bias)
    loop = Loop(latent_to_rgb(x0, factors, bias))
    return harness.alternate(
        {"sampling": lambda: Loop(latent_to_rgb(x0, factors, bias)), "server": lambda: loop.save(io.BytesIO())}
    )


def preview_row(shape, step):
    """Returns what a preview costs beside a step that takes `step` seconds."""
    seconds = preview_seconds(shape)
    return {
        "share of a step": round(seconds["sampling"].seconds / step, 4),
        "ms on the sampling thread": round(1e3 * seconds["sampling"].seconds, 1),
        "ms on the server": round(1e3 * seconds["server"].seconds, 1),
        "seconds of the step": round(step, 2),
    }


def alone(name):
    """Runs one peer in this process and prints the most memory that it took."""
    harness.import_comfyui()
    getattr(Peers(load_experts(), LATENT), name)()
    print(harness.peak_mb())


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["memory"]:
        alone(sys.argv[2])
        return
    # First, while this process is small: on Linux a child's peak begins with its parent's.
    memory = {name: [] for name in ("official", "ours")}
    for _ in range(3):
        for name, peaks in memory.items():
            peaks.append(harness.peak_memory(Path(__file__), "memory", name))
    peak = {name: statistics.median(peaks) for name, peaks in memory.items()}
    harness.import_comfyui()
    peers = Peers(load_experts(), LATENT)
    difference = float((peers.official() - peers.ours()).abs().max())
    timing = harness.alternate({"official": peers.official, "ours": peers.ours}, runs=15)
    start = {name: peers.start_up(name) for name in timing}
    step = timing["ours"].seconds / STEPS
    harness.save(
        {
            "sampling: rCM Sampler / two KSamplerAdvanced, 4 steps": {
                "time ratio": round(timing["ours"].seconds / timing["official"].seconds, 3),
                "processor time ratio": round(timing["ours"].cpu / timing["official"].cpu, 3),
                "seconds a step": round(step, 3),
                "peak memory ratio": round(peak["ours"] / peak["official"], 3),
                "peak memory MB ours": round(peak["ours"]),
                "start-up ms ours": round(1e3 * start["ours"], 1),
                "start-up ms official": round(1e3 * start["official"], 1),
                "largest difference of the latents": float(f"{difference:.2g}"),
            },
            "preview: 240p, 17 frames, measured step": preview_row(LATENT, step),
            # The shortest steps that the arithmetic allows an H200: the worst case for a share.
            "preview: 480p, 81 frames, shortest step of an H200": preview_row((1, 16, 21, 60, 104), 2.12),
            "preview: 720p, 81 frames, shortest step of an H200": preview_row((1, 16, 21, 90, 160), 8.26),
        }
    )


if __name__ == "__main__":
    main()
