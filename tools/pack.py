"""The checkout under the importable name `pack`, whatever its folder is called, for all that has `tools/` on its path.

A module with a `__path__` is a package. The root `__init__` does not run: it imports ComfyUI, and rooms do without.
"""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[1])]
