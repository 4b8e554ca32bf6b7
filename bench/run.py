"""Runs every bench, each in a process of its own, and draws the charts: `make bench`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHES = (
    "import_cost.py",
    "sampling.py",
    "loading.py",
    "lora.py",
    "picture_quality.py",
    "encoding.py",
    "saving.py",
    "decoding.py",
    "hosted.py",
    "gpu.py",
    "chart.py",
)

if __name__ == "__main__":
    sys.exit(max(subprocess.run([sys.executable, str(HERE / bench), *sys.argv[1:]]).returncode for bench in BENCHES))
