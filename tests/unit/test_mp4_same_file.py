"""The same frames make the same file, whatever lies in the memory that an encoder is given.

Each process has glibc fill its new memory with another byte. x264's AVX-512 code read such bytes, and made another file
in each: decision 0017. Other systems do not fill, and other processors have no such code; there this holds by itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest
from pack.media.mp4 import Mp4Writer
from pack.media.resolution import Size

ROOT = Path(__file__).parents[2]
FILLED_WITH = ["0", "1", "85", "254"]
SIZE = 208  # 13 macroblocks: a width at which AVX-512 code, which takes 8 or 16 at a time, comes to a remainder

SCRIPT = """
import hashlib, sys
from pathlib import Path

sys.path.append(sys.argv[1] + "/tools")
import numpy as np
from pack.media.mp4 import Mp4Writer

folder, size = Path(sys.argv[2]), int(sys.argv[3])
blocks = np.random.default_rng(0).random((size // 8 + 9, size // 8 + 9, 3)).repeat(8, axis=0).repeat(8, axis=1)
for codec in sys.argv[4:]:
    with Mp4Writer(folder / f"{codec}.mp4", (size, size), codec=codec) as video:
        for n in range(9):
            video.write(blocks[2 * n : 2 * n + size, 3 * n : 3 * n + size])
    print(hashlib.sha256((folder / f"{codec}.mp4").read_bytes()).hexdigest())
"""
CODECS = ["h264", "h265", "av1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The hashes of a clip in each codec, by the byte that memory is filled with."""
    return {byte: write_beside(byte, tmp_path_factory.mktemp(f"filled with {byte}")) for byte in FILLED_WITH}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.slow
def test_what_lies_in_memory_does_not_matter(made, codec):
    assert {hashes[codec] for hashes in made.values()} == {made["0"][codec]}, made


def test_x264_says_that_it_leaves_avx_512_alone(tmp_path):
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as said, Mp4Writer(tmp_path / "clip.mp4", Size(64, 64)) as video:
            video.write(np.zeros((64, 64, 3), dtype=np.float32))
    finally:
        av.logging.set_level(None)
    (line,) = (text for _, _, text in said if "using cpu capabilities" in text)
    assert "AVX512" not in line


def write_beside(byte: str, folder: Path) -> dict[str, str]:
    """Writes clips in a process of its own, and returns the hashes of the files by codec."""
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(folder), str(SIZE), *CODECS]
    environment = {**os.environ, "MALLOC_PERTURB_": byte}
    environment.pop("ATEN_CPU_CAPABILITY", None)  # it would hide from torch, not from x264, what the processor can do
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(zip(CODECS, result.stdout.split(), strict=True))
