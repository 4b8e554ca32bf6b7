"""The real shape of Wan 2.2 A14B with random weights, on an NVIDIA GPU: against the floor and the official wiring.

    gpu.py            832x480 and 1280x720, 81 frames, every attention backend that is there
    gpu.py sparse     sparse attention there: dense, each kernel, ComfyUI's node; one expert in both slots: six minutes
    gpu.py --tiny     the same code on a tiny shape and the CPU, to see that it runs; also of `sparse`

Without a GPU it says so and ends well. Each row is saved as it comes, those of the slowest kernel last, so a run that
is broken off has the others. What fails, for want of memory or in a compiler, is told, and the next is measured; the
exit code is then 1.
"""

import itertools
import statistics
import sys
import time
import traceback

import harness
import sampling

# PFLOP of one evaluation of the model, and the dense bf16 speed of an H200: the floor is the time that these allow.
SIZES = {"832x480x81": ((1, 16, 21, 60, 104), 1.678), "1280x720x81": ((1, 16, 21, 90, 160), 6.523)}
TENTH = {1.678: 0.892, 6.523: 2.322}  # ... and with a tenth of self-attention
H200_PFLOPS = 0.790
REAL = {"dim": 5120, "ffn_dim": 13824, "layers": 40}
TINY = {"dim": 128, "ffn_dim": 256, "layers": 2}
CORE = {"sol-attn": {"tau": 1.3}, "sla": {"keep_percent": 15.0}}  # methods of its node, by its own default and at ours
CORE_WINDOW = 0.2, 1.0  # of the steps, by its own default; `verbose` has it log what stays dense
BACKENDS = ("pytorch", "flash", "sage", "xformers")
RUNS = 3


def load_experts(shape, device, seeds=(1, 2)):
    """Makes experts with random bf16 weights, drawn on the device, and gives them to ComfyUI."""
    import comfy.sd
    import torch
    from pack.tests.toy.models import expert

    return [
        comfy.sd.load_diffusion_model_state_dict(expert(seed, **shape, device=device, dtype=torch.bfloat16))
        for seed in seeds
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


def tasks(experts, sizes, cuda):
    """Yields a title and what measures its row, for each size and attention backend."""
    from comfy.ldm.modules.attention import REGISTERED_ATTENTION_FUNCTIONS

    for size, (shape, petaflop) in sizes.items():
        for backend in BACKENDS:
            if backend in REGISTERED_ATTENTION_FUNCTIONS:
                function = REGISTERED_ATTENTION_FUNCTIONS[backend]
                models = [with_attention(patcher, function) for patcher in experts]
                yield (
                    f"A14B {size}, {backend} attention, 4 steps",
                    lambda models=models, shape=shape, petaflop=petaflop: row(models, shape, petaflop, cuda),
                )


def row(models, shape, petaflop, cuda):
    """Returns the numbers of one attention backend."""
    found = measure(sampling.Peers(models, shape), cuda)
    (official, _), (ours, memory) = found["official"], found["ours"]
    floor = sampling.STEPS * petaflop / H200_PFLOPS
    return {
        "seconds": round(ours, 2),
        "seconds a step": round(ours / sampling.STEPS, 3),
        "ratio to the floor of an H200": round(ours / floor, 3),
        "ratio to the official wiring": round(ours / official, 3),
        "peak GB": round(memory, 1),
        "peak memory ratio": round(memory / found["official"][1], 3) if cuda else 1.0,
    }


def sparse_ways(expert):
    """Yields name and models of each way to attend that this machine has, and prints why others are none.

    Dense comes first, and the kernels in their order, so that what may take minutes, the gather, comes last.

    The projections that make an expert one of SLA are random, as its weights are.
    """
    import torch
    from pack.attention import kernels
    from pack.nodes.sparse import SparseAttention
    from pack.weights.loading import SLA, TRAINING
    from pack.weights.wan import training

    layers = expert.model.model_config.unet_config["num_layers"]
    trained = expert.clone()
    trained.set_attachments(TRAINING, training.SLA)
    trained.set_attachments(SLA, {at: (torch.randn(128, 128) / 128, torch.zeros(128)) for at in range(layers)})
    names = [kernel.name for kernel in kernels.KERNELS]
    ways = [("dense", expert, "training-free", 100, "gather")]
    for name in names:
        ways.append((f"{name}, density 0.15", expert, "training-free", 1, name))
        ways.append((f"{name}, SLA as trained", trained, "auto", 0, name))
    for title, model, mode, dense_steps, kernel in ways:
        try:
            yield title, SparseAttention.execute(model, model, mode, 0.15, dense_steps, 1.0, kernel).args[:2]
        except ValueError as error:
            print(f"gpu: no {title}: {error}")


def sparse_tasks(expert, sizes, cuda):
    """Yields a title and what measures its row, for each way and size."""
    dense = {}  # seconds by size
    for title, models in sparse_ways(expert):
        for size, (shape, petaflop) in sizes.items():
            yield (
                f"A14B {size}, sparse attention, {title}",
                lambda models=models, shape=shape, petaflop=petaflop: sparse_row(models, shape, petaflop, dense, cuda),
            )


def sparse_row(models, shape, petaflop, dense, cuda):
    """Returns seconds of four steps, of a dense and of a sparse one, memory and density; keeps those of dense."""
    import torch
    from pack.nodes.sparse import session_of

    peers = sampling.Peers(models, shape)
    peers.ours()  # compiles flex_attention, and fills the caches
    torch.cuda.reset_peak_memory_stats() if cuda else None
    started = time.perf_counter()
    peers.ours()
    torch.cuda.synchronize() if cuda else None
    taken = time.perf_counter() - started
    session = session_of(models[0])
    first, *later = session.rows
    if session.settings.dense_steps >= sampling.STEPS:
        dense[shape] = taken
    floors = petaflop, TENTH.get(petaflop, petaflop)
    return {
        "seconds": round(taken, 2),
        "seconds of the first step": first["seconds"],
        "seconds of a later step": statistics.median(step["seconds"] for step in later),
        **({"times faster": round(dense[shape] / taken, 2)} if shape in dense else {}),
        "share of attention in a later step": statistics.median(step["share of time"] for step in later),
        "density": later[-1].get("density", 1.0),
        "worst error": max(step.get("worst error", 0.0) for step in session.rows),
        **{
            f"ratio to the floor of an H200, {name}": round(taken / (sampling.STEPS * floor / H200_PFLOPS), 3)
            for name, floor in zip(("dense", "a tenth"), floors, strict=True)
        },
        "peak GB": round(torch.cuda.max_memory_allocated() / 1e9, 1) if cuda else 0.0,
    }


def core_tasks(expert, sizes, cuda):
    """Yields a title and what measures its row, for each method of ComfyUI's own node, by its own window of steps."""
    try:
        from comfy_extras.nodes_sparse_attention import BlockSparseAttention
    except ImportError:
        print("gpu: no Model Sparse Attention: this ComfyUI has none, which came after 0.35")
        return
    for method, selection in CORE.items():
        given = {"selection": method, **selection}, *CORE_WINDOW
        (model,) = BlockSparseAttention.execute(expert, *given, extra_tokens=256, verbose=True).args
        for size, (shape, petaflop) in sizes.items():
            yield (
                f"A14B {size}, sparse attention, ComfyUI's own node, {method}",
                lambda model=model, shape=shape, petaflop=petaflop: row((model, model), shape, petaflop, cuda),
            )


def measured(found, cuda):
    """Yields titles and rows; what fails is told, and its title comes with None.

    Args:
        found: Titles, and what measures their rows.
        cuda: Whether the memory of a way that failed has to be given back to a GPU.
    """
    import torch

    for title, measure_row in found:
        try:
            taken = measure_row()
        except Exception:  # noqa: BLE001  # of a driver, a compiler or a kernel: the next way is measured all the same
            traceback.print_exc()
            print(f"gpu: no {title}: it failed, as told above", flush=True)
            taken = None
        yield title, taken
        torch.cuda.empty_cache() if cuda else None


def main():
    """Measures, saves the rows, and returns the exit code."""
    import torch

    tiny = "--tiny" in sys.argv[1:]
    if not tiny and not torch.cuda.is_available():
        print("gpu: skipped, there is no NVIDIA GPU here that torch can use")
        return 0
    harness.import_comfyui(cpu=tiny)
    sizes = {"64x64x9": ((1, 16, 3, 8, 8), 1e-6)} if tiny else SIZES
    shape, device = (TINY, "cpu") if tiny else (REAL, "cuda")
    if "sparse" in sys.argv[1:]:
        (expert,) = load_experts(shape, device, seeds=(1,))
        found = itertools.chain(*(of(expert, sizes, cuda=not tiny) for of in (core_tasks, sparse_tasks)))
    else:
        found = tasks(load_experts(shape, device), sizes, cuda=not tiny)
    failed = False
    for title, taken in measured(found, cuda=not tiny):
        failed |= taken is None
        if taken is not None:  # each as it comes: a machine that is lent may go back before the last
            print({title: taken}, flush=True) if tiny else harness.save({title: taken})
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
