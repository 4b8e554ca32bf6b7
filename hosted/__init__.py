"""Wan 2.2 on other people's GPUs: one request, one client, an adapter per provider. Without ComfyUI."""

import importlib
import sys
import types
from pathlib import Path


def run_command(name: str) -> int:
    """Runs a module of this room as a program: in `python -m hosted.jobs`, Python knows of no pack around the room."""
    pack = types.ModuleType("wan22_turbo")
    pack.__path__ = [str(Path(__file__).parents[1])]
    sys.modules[pack.__name__] = pack
    return importlib.import_module(f"{pack.__name__}.hosted.{name}").main()
