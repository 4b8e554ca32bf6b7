"""Where the time of a run goes, on a processor: a profile of two steps, and a LoRA that is patched on the fly.

A model of a quarter of A14B's width on a clip of a quarter of 480p's tokens: attention has the share of the arithmetic
that it has there, 52 %. What a GPU does beside it, reading weights over the bus, is not in it. The numbers are printed,
for docs/benches.md.
"""

import time
from collections import defaultdict

import harness

SHAPE = (1, 16, 5, 60, 104)  # 17 frames of 832x480: 7800 tokens
SHORT = (1, 16, 1, 30, 52)  # 390 tokens, for the LoRA: what its patches take does not depend on the clip
SIZES = {"dim": 1280, "ffn_dim": 3456, "layers": 1}
RANK = 64
KINDS = {
    "attention": ("attention", "softmax", "bmm"),
    "linear layers": ("addmm", "aten::mm", "mkldnn_linear"),
    "patch embedding": ("conv",),
}


def kind_of(operator):
    """Returns what an operator belongs to."""
    return next((kind for kind, parts in KINDS.items() if any(part in operator for part in parts)), "all else")


class Run:
    """Two steps, one on each expert, which are one model here."""

    def __init__(self, shape):
        import comfy.sd
        import torch
        from pack.tests.toy.models import expert

        self.model = comfy.sd.load_diffusion_model_state_dict(expert(1, **SIZES))
        words = torch.randn(1, 512, 4096, generator=torch.Generator().manual_seed(3))
        self.positive = [[words, {"concat_latent_image": torch.zeros(shape)}]]
        self.latent = {"samples": torch.zeros(shape)}

    def sample(self, model):
        """Runs rCM Sampler."""
        from pack.nodes.sampling import Sampler

        return Sampler.execute(
            model, model, self.positive, self.latent, seed=7, steps=2, schedule="shifted",
            mode="ode", cfg=1.0, sigma_max=200.0, shift=5.0, boundary=0.9,
        )  # fmt: skip

    def with_lora(self):
        """Returns the model with a LoRA on every linear layer of its blocks, and how many layers those are."""
        import comfy.lora
        import torch

        generator, lora = torch.Generator().manual_seed(5), {}
        for name, weight in self.model.model.diffusion_model.named_parameters():
            if weight.ndim == 2 and name.startswith("blocks."):
                layer = f"diffusion_model.{name.removesuffix('.weight')}"
                lora[f"{layer}.lora_down.weight"] = torch.randn(RANK, weight.shape[1], generator=generator) / 64
                lora[f"{layer}.lora_up.weight"] = torch.randn(weight.shape[0], RANK, generator=generator) / 64
        patches = comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(self.model.model, {}), False)
        clone = self.model.clone()
        return clone, len(clone.add_patches(patches, 1.0))


def profile(run):
    """Returns the share of the processor's time by kind, and the five longest operators of all else."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    with watch(activities=[ProfilerActivity.CPU]) as watched:
        run()
    taken, rest = defaultdict(float), {}
    for event in watched.key_averages():
        taken[kind_of(event.key)] += event.self_cpu_time_total
        if kind_of(event.key) == "all else":
            rest[event.key] = event.self_cpu_time_total
    whole = sum(taken.values())
    longest = sorted(rest, key=rest.get, reverse=True)[:5]
    return {kind: each / whole for kind, each in taken.items()}, {name: rest[name] / whole for name in longest}


def patched_on_the_fly(run):
    """Returns how often weights are patched in two steps whose weights stay off the card, and the share of the time."""
    import comfy.model_management
    import comfy.model_patcher

    model, layers = run.with_lora()
    patch, calls, spent = comfy.model_patcher.LowVramPatch.__call__, 0, 0.0

    def counting(self, weight):
        nonlocal calls, spent
        began = time.process_time()
        found = patch(self, weight)
        calls, spent = calls + 1, spent + time.process_time() - began
        return found

    comfy.model_patcher.LowVramPatch.__call__ = counting
    load = model.load
    # As ComfyUI does for a card that has no room: each layer is cast, and patched, when it is used.
    model.load = lambda device, **given: load(device, **{**given, "lowvram_model_memory": 1, "full_load": False})
    try:
        began = time.process_time()
        run.sample(model)
        taken = time.process_time() - began
    finally:
        comfy.model_patcher.LowVramPatch.__call__ = patch
        model.detach()
    return {"layers with a LoRA": layers, "patches in two steps": calls, "seconds": spent, "share": spent / taken}


def main():
    """Prints the shares."""
    harness.import_comfyui()
    run = Run(SHAPE)
    shares, longest = profile(lambda: run.sample(run.model))
    print("shares of the processor's time:", {kind: round(share, 3) for kind, share in shares.items()})
    print("longest of all else:", {name: round(share, 3) for name, share in longest.items()})
    print("a LoRA patched on the fly:", {name: round(each, 3) for name, each in patched_on_the_fly(Run(SHORT)).items()})


if __name__ == "__main__":
    main()
