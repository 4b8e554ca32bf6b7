"""Drawn clips whose shapes have a fine pattern, which shows how each of their pixels moves."""

from unittest.mock import patch

import numpy as np
from pack.tiny import drawing
from pack.tiny.scenes import Scene

FINE = {
    "fine stripes": lambda at: fine(1.6 * (at.u + at.v)),
    "fine rings": lambda at: fine(2.2 * np.hypot(at.u, at.v)),
}


def fine(phase: np.ndarray) -> np.ndarray:
    """Returns stripes between 0 and 1 with soft edges, one to a whole number of `phase`."""
    return np.clip(0.5 + 2 * np.sin(2 * np.pi * phase), 0, 1)


def drawn(scene: Scene, width: int, height: int, frames: int, pattern: str) -> np.ndarray:
    """Draws a scene as `drawing.draw` does, in a pattern of `FINE`: those of the style LoRAs stand still."""
    with patch.dict(drawing.STYLES, FINE):
        return drawing.draw(scene, width, height, frames, pattern)
