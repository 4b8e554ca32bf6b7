"""The real shape of Wan 2.2 A14B with random weights, on an NVIDIA GPU: against the floor and the official wiring.

    gpu.py            832x480 and 1280x720, 81 frames, every attention backend that is there
    gpu.py --tiny     the same code on a tiny shape and the CPU, to see that it runs

Without a GPU it says so and ends well.
"""

import statistics
import sys
import time

import harness
import sampling

# PFLOP of one evaluation of the model, and the dense bf16 speed of an H200: the floor is the time that these allow.
SIZES = {"832x480x81": ((1, 16, 21, 60, 104), 1.678), "1280x720x81": ((1, 16, 21, 90, 160), 6.523)}
H200_PFLOPS = 0.790
REAL = {"dim": 5120, "ffn_dim": 13824, "layers": 40}
TINY = {"dim": 128, "ffn_dim": 256, "layers": 2}
BACKENDS = ("pytorch", "flash", "sage", "xformers")
RUNS = 3


def load_experts(shape, device):
    """Makes both experts with random bf16 weights, drawn on the device, and gives them to ComfyUI."""
    import comfy.sd
    import torch
    from pack.tests.toy.models import expert

    return [
        comfy.sd.load_diffusion_model_state_dict(expert(seed, **shape, device=device, dtype=torch.bfloat16))
        for seed in (1, 2)
    ]


def with_attention(patcher, function):
    """Returns a clone of an expert that runs on one attention backend."""
    clone = patcher.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = lambda _, *arguments, **options: (
        function(*arguments, **options)
    )
    return clone


def measure(peers, cuda):
    """Returns the median seconds of four steps, and the peak gigabytes on the device, of each way to sample."""
    import torch

    found = {}
    for name in ("official", "ours"):
        getattr(peers, name)()
        torch.cuda.reset_peak_memory_stats() if cuda else None
        taken = []
        for _ in range(RUNS):
            started = time.perf_counter()
            getattr(peers, name)()
            torch.cuda.synchronize() if cuda else None
            taken.append(time.perf_counter() - started)
        found[name] = statistics.median(taken), torch.cuda.max_memory_allocated() / 1e9 if cuda else 0.0
    return found


def rows(experts, sizes, cuda):
    """Yields a row for each size and attention backend."""
    from comfy.ldm.modules.attention import REGISTERED_ATTENTION_FUNCTIONS

    for size, (shape, petaflop) in sizes.items():
        for backend in BACKENDS:
            if backend not in REGISTERED_ATTENTION_FUNCTIONS:
                continue
            function = REGISTERED_ATTENTION_FUNCTIONS[backend]
            peers = sampling.Peers([with_attention(patcher, function) for patcher in experts], shape)
            found = measure(peers, cuda)
            (official, _), (ours, memory) = found["official"], found["ours"]
            floor = sampling.STEPS * petaflop / H200_PFLOPS
            yield (
                f"A14B {size}, {backend} attention, 4 steps",
                {
                    "seconds": round(ours, 2),
                    "seconds a step": round(ours / sampling.STEPS, 3),
                    "ratio to the floor of an H200": round(ours / floor, 3),
                    "ratio to the official wiring": round(ours / official, 3),
                    "peak GB": round(memory, 1),
                    "peak memory ratio": round(memory / found["official"][1], 3) if cuda else 1.0,
                },
            )


def main():
    """Measures and saves the rows."""
    import torch

    tiny = "--tiny" in sys.argv[1:]
    if not tiny and not torch.cuda.is_available():
        print("gpu: skipped, there is no NVIDIA GPU here that torch can use")
        return
    harness.import_comfyui(cpu=tiny)
    experts = load_experts(TINY if tiny else REAL, "cpu" if tiny else "cuda")
    sizes = {"64x64x9": ((1, 16, 3, 8, 8), 1e-6)} if tiny else SIZES
    found = dict(rows(experts, sizes, cuda=not tiny))
    if tiny:
        print(found)
    else:
        harness.save(found)


if __name__ == "__main__":
    main()
