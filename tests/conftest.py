"""Gives the checkout an importable name, whatever its folder is called.

The root __init__ is not run: it imports ComfyUI, and unit tests must not need it.
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

pack = types.ModuleType("pack")
pack.__path__ = [str(ROOT)]
sys.modules["pack"] = pack

# `python -m pytest` puts the checkout on the path, where its nodes/ would hide ComfyUI's module of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
sys.path.append(str(ROOT / "tools"))  # last, so that it hides nothing
