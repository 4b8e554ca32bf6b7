"""Sparse attention that is gathered, with its probe, against dense SDPA, on random tokens of 480p clips, on one core.

    attention.py          the curve over the length of a clip, and 81 frames with one head and four
    attention.py 720p     81 frames of 720p with one head, 75 600 tokens: some minutes

Memory is that of one evaluation of a model of one layer and four heads, as a whole. What sparse attention adds are
copies of one head at a time, so with 40 heads it is a tenth of that share.
"""

import statistics
import sys
import time
from pathlib import Path

import harness

FRAME = {"480p": (30, 52), "720p": (45, 80)}  # rows and columns of tokens
FULL = 21  # latent frames of 81
DENSITIES = (0.1, 0.15)
RUNS = 5


class Layer:
    """A layer's attention, in each way."""

    def __init__(self, grid, heads):
        import torch
        from pack.attention.order import cube_order

        self.order = cube_order(grid, torch.device("cpu"))
        generator = torch.Generator().manual_seed(1)
        shape = 1, self.order.length, heads, 128
        self.qkv = [torch.randn(shape, generator=generator) for _ in range(3)]

    def dense(self):
        """The peer, as ComfyUI calls it."""
        from torch.nn.functional import scaled_dot_product_attention

        return scaled_dot_product_attention(*(x.transpose(1, 2) for x in self.qkv)).transpose(1, 2).flatten(2)

    def sparse(self, density):
        """Ours, from raster order to raster order, with the probe."""
        from pack.attention import kernels, probe
        from pack.attention.routing import Pattern

        attended, share = kernels.attend(kernels.GATHER, *self.qkv, self.order, Pattern(density))
        probe.measure(*self.qkv, attended, 1)
        return float(share)

    def overheads(self, density):
        """Returns the seconds of what is no attention: keys and values in order, routing and probe."""
        from pack.attention import gather, probe
        from pack.attention.routing import Pattern, route

        heads = [[x[:, :, head : head + 1] for x in self.qkv] for head in range(self.qkv[0].shape[2])]
        pattern = Pattern(density)
        return {
            "order": seconds(
                lambda: [x[0, :, 0].index_select(0, self.order.tokens) for head in heads for x in head[1:]]
            ),
            "routing": seconds(
                lambda: [route(*(gather.means(x, self.order) for x in head), self.order, pattern) for head in heads]
            ),
            "probe": seconds(lambda: probe.measure(*self.qkv, self.qkv[0], 1)),
        }


def seconds(run):
    """Returns the median of the processor's seconds."""
    taken = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def rows(grid, heads, densities=DENSITIES, runs=RUNS):
    """Yields a row for each density, all measured in turn with one dense peer."""
    layer = Layer(grid, heads)
    peers = {density: lambda density=density: layer.sparse(density) for density in densities}
    timing = harness.alternate({"dense": layer.dense, **peers}, runs=runs)
    for density in densities:
        ratio = timing[density].cpu / timing["dense"].cpu
        share = {name: taken / timing[density].cpu for name, taken in layer.overheads(density).items()}
        clip = f"{layer.order.length} tokens, {heads} head{'s' * (heads > 1)}"
        yield (
            f"attention: gather / dense, {clip}, density {density}",
            {
                "time ratio": round(timing[density].seconds / timing["dense"].seconds, 3),
                "processor time ratio": round(ratio, 3),
                "times faster": round(1 / ratio, 2),
                "density with sink and diagonal": round(layer.sparse(density), 4),
                **{f"share of {name}": round(part, 4) for name, part in share.items()},
                "seconds dense": round(timing["dense"].cpu, 2),
            },
        )


def evaluation(kind):
    """Evaluates a model of one layer on 81 frames of 480p, dense or sparse, and prints the most memory that it took."""
    harness.import_comfyui()
    import comfy.sd
    import torch
    from comfy.ldm.modules.attention import attention_pytorch
    from pack.nodes.sampling import Sampler
    from pack.nodes.sparse import OVERRIDE, SparseAttention
    from pack.tests.toy.models import expert

    state = expert(1, dim=512, ffn_dim=1408, layers=1)
    high, low = (comfy.sd.load_diffusion_model_state_dict(dict(state)) for _ in range(2))
    for model in (high, low):  # SDPA, which ComfyUI takes on every GPU; on a CPU it would take one of more memory
        model.model_options["transformer_options"][OVERRIDE] = lambda _, *arguments, **given: attention_pytorch(
            *arguments, **given
        )
    if kind == "sparse":
        high, low, _ = SparseAttention.execute(high, low, "training-free", 0.15, 0, 1.0, "auto").args
    shape = 1, 16, FULL, 60, 104
    positive = [[torch.randn(1, 512, 4096), {"concat_latent_image": torch.randn(shape)}]]
    Sampler.execute(
        high, low, positive, {"samples": torch.zeros(shape)}, seed=7, steps=1, schedule="rcm", mode="ode", cfg=1.0,
        sigma_max=200.0, shift=5.0, boundary=0.9,
    )  # fmt: skip
    print(harness.peak_mb())


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["memory"]:
        evaluation(sys.argv[2])
        return
    large = sys.argv[1:] == ["720p"]
    peak = {} if large else {kind: harness.peak_memory(Path(__file__), "memory", kind) for kind in ("dense", "sparse")}
    harness.import_comfyui()
    import torch

    torch.set_num_threads(1)
    if large:
        harness.save(dict(rows((FULL, *FRAME["720p"]), 1, runs=1)))
        return
    harness.save(
        {
            "attention: sparse / dense, memory of an evaluation, 32760 tokens, 4 heads": {
                "peak memory ratio": round(peak["sparse"] / peak["dense"], 3),
                "peak memory MB sparse": round(peak["sparse"]),
                "peak memory MB dense": round(peak["dense"]),
            }
        }
    )
    for frames in (3, 5, 11):
        harness.save(dict(rows((frames, *FRAME["480p"]), 1, (0.15,))))
    for heads in (1, 4):
        harness.save(dict(rows((FULL, *FRAME["480p"]), heads)))


if __name__ == "__main__":
    main()
