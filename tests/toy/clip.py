"""The clip that a loopback provider gives."""

import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

FRAMES = 17


@cache
def clip() -> bytes:
    """An MP4 as a provider would send it: H.264, its index in front."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"  # a file: the index moves to the front in a second pass
        write_clip(path)
        return path.read_bytes()


def write_clip(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(16))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(FRAMES):
            ramp = np.add.outer(np.arange(64) * 2, np.arange(96) * 2 + index * 4) % 256
            picture = np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
