"""Runs ComfyUI's main.py in this interpreter: `python tools/launch.py --cpu --port 8188`. COMFYUI_DIR says which."""

import os
import runpy
import sys
from pathlib import Path

from torch_compat import let_torchvision_import


def main() -> None:
    """Takes this folder off the module path, so that ComfyUI finds its own modules, and hands over."""
    main_py = Path(os.environ["COMFYUI_DIR"]) / "main.py"
    sys.path[0] = str(main_py.parent)
    sys.argv[0] = str(main_py)
    let_torchvision_import()
    runpy.run_path(str(main_py), run_name="__main__")


if __name__ == "__main__":
    main()
