"""Importing the pack defines nodes and does nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.comfy

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"

# Runs in a fresh process: what an import does can be seen only once. The audit hook is Python's own (PEP 578).
PROGRAM = """
import importlib.util, json, os, sys, threading
sys.path[0] = os.environ["COMFYUI_DIR"]
sys.path.append(sys.argv[2])
from torch_compat import let_torchvision_import
let_torchvision_import()
from comfy.cli_args import args
args.cpu = True
import utils.extra_config, server, nodes, comfy_extras.nodes_wan, comfy_api.latest, av
import cv2
seen, watching = [], True
def hook(event, arguments):
    if not watching:
        return
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]):
            seen.append([event, str(arguments[0])])
    elif event.split(".")[0] in ("socket", "subprocess", "urllib", "shutil", "ctypes") or event in (
        "os.remove", "os.rename", "os.mkdir", "os.system", "os.exec", "os.posix_spawn", "os.putenv",
    ):
        if "__pycache__" not in str(arguments):
            seen.append([event, str(arguments)[:200]])
threads = threading.active_count()
path = list(sys.path)
sys.addaudithook(hook)
place = sys.argv[1]
spec = importlib.util.spec_from_file_location("pack", place + "/__init__.py", submodule_search_locations=[place])
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
watching = False
loaded = [name for name in sys.modules if name in ("pack.filters.ask", "pack.filters.words")]  # which nobody has set
print(
    json.dumps(
        {"seen": seen, "threads": threading.active_count() - threads, "path": sys.path == path, "loaded": loaded}
    )
)
"""


def test_import_opens_nothing_starts_nothing_and_leaves_the_path_alone():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(ROOT), str(TOOLS)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {"seen": [], "threads": 0, "path": True, "loaded": []}
    assert len(result.stdout.splitlines()) == 1  # not a word printed


def test_a_machine_without_opencv_loads_every_node_and_says_what_to_install():
    program = PROGRAM.replace("import cv2\n", "").replace("import utils", "sys.modules['cv2'] = None; import utils")
    program += """
import numpy
try:
    sys.modules["pack.media.resize"].resize_frames(numpy.zeros((1, 8, 8, 3), "float32"), (16, 16))
except ImportError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(ROOT), str(TOOLS)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "Install opencv-python-headless" in result.stdout.splitlines()[-1]
