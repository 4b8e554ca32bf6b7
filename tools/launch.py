"""Runs ComfyUI's main.py in this interpreter: `python tools/launch.py --port 8188`. COMFYUI_DIR says which."""

import gc
import os
import runpy
import sys
from pathlib import Path

import torch
from torch_compat import let_torchvision_import


def main() -> None:
    """Takes this folder off the module path, so that ComfyUI finds its own modules, and hands over."""
    spare_imports()
    main_py = Path(os.environ["COMFYUI_DIR"]) / "main.py"
    sys.path[0] = str(main_py.parent)
    sys.argv = [str(main_py), *sys.argv[1:], *device_arguments()]
    let_torchvision_import()
    runpy.run_path(str(main_py), run_name="__main__")


def spare_imports() -> None:
    """Looks for no garbage until most of it has been imported.

    To look again and again took a quarter of the start.
    """
    usual = gc.get_threshold()

    def imported(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == 0:  # which nobody asked for
            gc.callbacks.remove(imported)
            gc.set_threshold(*usual)

    gc.callbacks.append(imported)
    gc.set_threshold(450_000)  # objects; there are 570 000 at the end


def device_arguments() -> list[str]:
    """Returns what main.py needs on a machine without a GPU; the VAE is slow there in anything but float32."""
    if torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available():
        return []
    return ["--cpu", "--fp32-vae"]


if __name__ == "__main__":
    main()
