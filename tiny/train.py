"""Trains the tiny Wan 2.2: `python tools/bootstrap.py tiny/train.py vae`, then `experts`, `rcm` and `style`.

Each goes on from its last checkpoint in the cache (`--folder`), and ends when its steps are done.
"""

import argparse
import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def import_comfyui() -> None:
    """Imports ComfyUI for the CPU, or the GPU if there is one, and makes the checkout importable as `pack`."""
    sys.path[0] = os.environ["COMFYUI_DIR"]
    sys.path.append(str(ROOT / "tools"))
    from torch_compat import let_torchvision_import  # pyright: ignore[reportMissingImports]

    let_torchvision_import()
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    pack = types.ModuleType("pack")
    pack.__path__ = [str(ROOT)]
    sys.modules["pack"] = pack
    import comfy.model_management

    comfy.model_management.in_training = True  # else ComfyUI's fused rotary embedding has no gradient


def main() -> None:
    """Runs one course."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("course", choices=["vae"])
    parser.add_argument("--folder", type=Path, help="of checkpoints and logs; the cache's `tiny` if left out")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=8, help="channels of the VAE at full size")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import_comfyui()
    import torch
    from pack.tiny import vae_training  # pyright: ignore[reportMissingImports]
    from setup_cache import cache_dir  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(options.threads)
    folder = options.folder or cache_dir() / "tiny"
    vae_training.course(folder, options.steps, options.dim, options.seed).run()


if __name__ == "__main__":
    main()
