"""Decode to MP4 against VAEDecode + CreateVideo + SaveVideo, 81 frames of 1280x720.

decoding.py               both in turn, each in a process of its own, and the rows
decoding.py alone PEER    one of them; prints its seconds, its peak memory, that of a short clip before it, and the
                          memory of the process before both

The VAE is Wan 2.1's architecture at its smallest width: a CPU needs minutes even so, and it is the memory that counts.
glibc keeps much of the memory that is freed, at its leisure, so both are measured in two ways: three times as it is, of
which the medians count, and once with glibc told to give every larger block back at once, which leaves what is in use.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

LATENT = (1, 16, 21, 90, 160)
WIDTH = 1  # channels of the last layer but one; the released VAE has 96
FPS, CRF = 16, 18
SHORT = (1, 16, 3, 90, 160)  # 9 frames of the same size: what the VAE itself needs to work
TITLE = "decoding: Decode to MP4, 81 frames 1280x720, VAE of width 1"
# glibc's own default, but fixed: it raises it to 32 MB as blocks are freed, and keeps what is smaller.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072"}


def load_vae():
    """Makes a VAE with random weights."""
    import comfy.sd
    import torch
    from pack.tests.toy.models import vae

    return comfy.sd.VAE(sd=vae(4, WIDTH), dtype=torch.float32)


def core(vae, samples, folder):
    """As ComfyUI's template ends."""
    from comfy_extras import nodes_video
    from saving import core_codec

    import nodes

    (images,) = nodes.VAEDecode().decode(vae, samples)
    created = nodes_video.CreateVideo.execute(images, float(FPS))[0]
    clone = nodes_video.SaveVideo.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    clone.execute(created, f"{folder}/core", "mp4", core_codec(nodes_video))


def ours(vae, samples, folder):
    """Decode to MP4."""
    from pack.nodes.decode import DecodeMp4

    clone = DecodeMp4.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
    clone.execute(samples, vae, float(FPS), f"{folder}/ours", "h264", CRF, "workflow")


def alone(name, shape):
    """Runs one peer in this process."""
    sys.path.insert(0, os.environ["COMFYUI_DIR"])
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True  # as on a GPU; ComfyUI's default on a CPU holds 4 GB of attention
    harness.import_comfyui()
    import folder_paths
    import psutil
    import torch

    with tempfile.TemporaryDirectory() as output, torch.inference_mode():
        folder_paths.set_output_directory(output)
        vae = load_vae()
        samples = {"samples": torch.randn(shape, generator=torch.Generator().manual_seed(3))}
        peer = {"core": core, "ours": ours}[name]
        loaded = psutil.Process().memory_info().rss / 1e6  # torch, ComfyUI and the VAE: no peer's doing
        peer(vae, {"samples": torch.ones(SHORT)}, "short")  # not zeros: nothing would have sampled them
        short, started = harness.peak_mb(), time.perf_counter()
        peer(vae, samples, "clip")
        print(time.perf_counter() - started, harness.peak_mb(), short, loaded)


def measure(name, environment):
    """Returns seconds, peak megabytes, the peak of 9 frames, and the megabytes before decoding."""
    command = [sys.executable, __file__, "alone", name]
    output = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    ).stdout
    return [float(value) for value in output.splitlines()[-1].split()]


def row(environment, runs):
    """Returns one comparison, of medians."""
    taken = [(measure("ours", environment), measure("core", environment)) for _ in range(runs)]
    ours, core = (
        [statistics.median(values) for values in zip(*party, strict=True)] for party in zip(*taken, strict=True)
    )
    (seconds, peak, short, loaded), (core_seconds, core_peak, core_short, core_loaded) = ours, core
    return {
        "time ratio": round(seconds / core_seconds, 3),
        "seconds": round(seconds, 1),
        "seconds core": round(core_seconds, 1),
        "peak memory ratio": round((peak - loaded) / (core_peak - core_loaded), 3),
        "peak memory ratio of the whole process": round(peak / core_peak, 3),
        "peak MB": round(peak),
        "peak MB core": round(core_peak),
        "MB before decoding": round(loaded),
        "MB above those of 9 frames": round(peak - short),
        "MB above those of 9 frames, core": round(core_peak - core_short),
    }


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["alone"]:
        sys.path.append(str(Path(__file__).parent))
        alone(sys.argv[2], LATENT)
        return
    harness.save({TITLE: row({}, runs=3)})
    if platform.libc_ver()[0] == "glibc":
        harness.save({f"{TITLE}, glibc told to give memory back": row(GIVEN_BACK, runs=1)})


if __name__ == "__main__":
    main()
