"""Load Wan 2.2 I2V against core's Load Diffusion Model, TurboDiffusion's peak memory, and the header of a 28 GB file.

loading.py                      all in turn, and the rows
loading.py write FOLDER         the files that the others load
loading.py memory PEER PATH     one load alone, for its peak memory
loading.py share PATH DTYPE     one load alone, for its peak memory as a share of the model
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from math import prod
from pathlib import Path

import harness

WIDTH, FFN = 2048, 8192
DEPTH = 3  # 0.23 billion parameters in few, large tensors, as a 14B expert has
DEEP = 12  # where one tensor in float32 is 7 % of the model in fp8; of the 40 layers of A14B it is 2 %
PLAIN = ("bf16", "fp16", "fp8_scaled")
TURBO = ("turbo.safetensors", "turbo.pth")
OFFICIAL = "official.safetensors"  # the same as bf16
DTYPES = ("default", "fp8_e4m3fn")
A14B = {"in_dim": 36, "out_dim": 16, "dim": 5120, "layers": 40, "ffn_dim": 13824}


def write_files(folder):
    """Writes a random expert in each way of storing it, and a deeper one as TurboDiffusion's and as bf16."""
    harness.import_comfyui()
    import torch
    from pack.tests.toy import models as toy
    from pack.tests.toy import turbodiffusion
    from safetensors.torch import save_file

    def expert(layers):
        return toy.expert(1, dim=WIDTH, ffn_dim=FFN, layers=layers, dtype=torch.bfloat16)

    state = expert(DEPTH)
    half = {name: tensor.to(torch.float16) for name, tensor in state.items()}
    for name, tensors in zip(PLAIN, (state, half, fp8_scaled(state)), strict=True):
        save_file(tensors, folder / f"{name}.safetensors")
    deep = expert(DEEP)
    save_file(deep, folder / OFFICIAL)
    turbo = turbodiffusion.checkpoint(deep)
    save_file(turbo, folder / TURBO[0])
    torch.save(turbo, folder / TURBO[1])


def fp8_scaled(state):
    """Stores the linear layers of the blocks as ComfyUI's fp8_scaled files do: float8 beside one scale each."""
    import torch

    out = {"scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn)}
    for name, tensor in state.items():
        if name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2:
            scale = tensor.float().abs().max() / 448  # the largest number of e4m3fn
            out[name] = (tensor / scale).to(torch.float8_e4m3fn)
            out[name.removesuffix("weight") + "scale_weight"] = scale
        else:
            out[name] = tensor
    return out


def ours(path):
    """What our loader node does with an expert."""
    from pack.weights import checks, loading
    from pack.weights.formats.model_file import open_model

    file = open_model(path)
    checks.check_expert(file, "high")
    return loading.load_expert(file, "default")


def core(path):
    """Load Diffusion Model."""
    import folder_paths

    import nodes

    folder_paths.add_model_folder_path("diffusion_models", str(path.parent))
    return nodes.UNETLoader().load_unet(path.name, "default")[0]


PEERS = {"ours": ours, "core": core}


def peak(peer, path):
    """Returns the median of the most memory that a load takes, in megabytes."""
    return statistics.median(harness.peak_memory(Path(__file__), "memory", peer, str(path)) for _ in range(3))


def load_row(path, memory):
    """Compares both loaders on one file."""
    timing = harness.alternate({name: lambda load=load: load(path) for name, load in PEERS.items()}, runs=15)
    return {
        "time ratio": round(timing["ours"].seconds / timing["core"].seconds, 3),
        "processor time ratio": round(timing["ours"].cpu / timing["core"].cpu, 3),
        "seconds ours": round(timing["ours"].seconds, 3),
        "peak memory ratio": round(memory["ours"] / memory["core"], 3),
        "peak memory MB ours": round(memory["ours"]),
    }


def turbodiffusion_row(path, official, shares):
    """Tells what converting costs beside core's load of the same weights, stored as bf16."""
    timing = harness.alternate({"ours": lambda: ours(path), "core": lambda: core(official)}, runs=7)
    return {
        "time ratio to core's load of the bf16 file": round(timing["ours"].seconds / timing["core"].seconds, 3),
        **{f"peak memory / model, {dtype}": round(share, 3) for dtype, share in shares.items()},
    }


def share_of_the_model(path, dtype):
    """Loads a file in this process and prints the most memory that it took over the size of the model."""
    harness.import_comfyui()
    import psutil
    from pack.tests.toy.loaded import load_expert

    before = psutil.Process().memory_info().rss / 1e6
    model = load_expert(path, dtype).model
    size = sum(weight.nbytes for weight in model.state_dict().values()) / 1e6
    print((harness.peak_mb() - before) / size)


def header_row(folder):
    """Times the list of a 28 GB file, sparse on the disk, against the safetensors library."""
    from pack.tests.toy.models import expert_shapes
    from pack.weights.formats.model_file import open_model
    from safetensors import safe_open

    header, end = {}, 0
    for name, shape in expert_shapes(**A14B):
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    path = folder / "a14b.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    os.truncate(path, 8 + len(raw) + end)

    def library():
        with safe_open(path, "np") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118

    timing = harness.alternate({"ours": lambda: open_model(path).header, "library": library}, runs=15)
    tracemalloc.start()
    open_model(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "GB of the file": round(path.stat().st_size / 1e9, 1),
        "ms ours": round(1e3 * timing["ours"].seconds, 1),
        "ms safetensors library": round(1e3 * timing["library"].seconds, 1),
        "peak MB ours": round(most / 1e6, 2),
    }


def main():
    """Measures and saves the rows."""
    match sys.argv[1:]:
        case ["memory", peer, path]:
            harness.import_comfyui()
            PEERS[peer](Path(path))
            print(harness.peak_mb())
            return
        case ["share", path, dtype]:
            share_of_the_model(Path(path), dtype)
            return
        case ["write", folder]:
            write_files(Path(folder))
            return
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name))


def measure(folder):
    """Measures in the folder, and saves the rows."""
    script = Path(__file__)
    subprocess.run([sys.executable, str(script), "write", str(folder)], check=True, stderr=subprocess.DEVNULL)
    # First, while this process is small: on Linux a child's peak begins with its parent's.
    files = {name: folder / f"{name}.safetensors" for name in PLAIN}
    memory = {name: {peer: peak(peer, path) for peer in PEERS} for name, path in files.items()}
    shares = {
        name: {dtype: harness.peak_memory(script, "share", str(folder / name), dtype) for dtype in DTYPES}
        for name in TURBO
    }
    harness.import_comfyui()
    rows = {
        f"loading: our loader / Load Diffusion Model, {name}": load_row(files[name], memory[name]) for name in PLAIN
    }
    for name in TURBO:
        title = f"loading: TurboDiffusion int8, {Path(name).suffix}"
        rows[title] = turbodiffusion_row(folder / name, folder / OFFICIAL, shares[name])
    harness.save({**rows, "loading: list of a 28 GB file": header_row(folder)})


if __name__ == "__main__":
    main()
