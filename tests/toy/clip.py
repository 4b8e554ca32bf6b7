"""The clip that a loopback provider gives."""

import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

FRAMES = 17


@cache
def clip(width: int = 96, height: int = 64, frames: int = FRAMES) -> bytes:
    """An MP4 as a provider would send it: H.264, its index in front."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"  # a file: the index moves to the front in a second pass
        write_clip(path, width, height, frames)
        return path.read_bytes()


def counting(frames: int) -> bytes:
    """The clip with an index that counts so many frames."""
    content = bytearray(clip())
    place = content.index(b"stsz") + 8
    content[place : place + 8] = (1).to_bytes(4, "big") + frames.to_bytes(4, "big")
    return bytes(content)


def write_clip(path: Path, width: int, height: int, frames: int) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(16))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            # In eight bits, where sums are those modulo 256.
            down, across = ((np.arange(size) * 2).astype(np.uint8) for size in (height, width))
            ramp = np.add.outer(down, across + np.uint8(index * 4 % 256))
            picture = np.repeat(ramp[..., None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
