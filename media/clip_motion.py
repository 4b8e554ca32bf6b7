"""How a clip moves: optical flow of OpenCV's DIS between frames, and frames that flow lays between two others.

Two of VBench's numbers, with a flow that needs no download. Where they differ from VBench's own:

* The flow is DIS at a short side of at most 360 pixels, where VBench has RAFT at full size; the share of pixels, the
  pairs and the threshold are VBench's. A pair across a seam is no motion and does not count, nor does one with a frame
  that shows nothing; a clip of one or two sampled frames needs one moving pair, where VBench needs none.
* VBench lays frames between others with AMT, a network; here the flow does, on grey pictures of the smaller size. So
  noise costs less smoothness than it costs in VBench, and what moves further than a network can follow costs more.
"""

from typing import Any, NamedTuple

import numpy as np

from .opencv import cv2

SIDE = 360  # pixels of the short side at most, on which the flow is computed: within 5 % of that at 720, in a fifth
LEAST = 32  # pixels; of smaller pictures DIS has too few patches
SAMPLED = 8  # frames a second of which VBench looks at the motion
FASTEST = 0.05  # of all pixels: those that move the most
THRESHOLD = 6 / 256  # of the short side, from one sampled frame to the next


class Moved(NamedTuple):
    """How far the fastest pixels move between two frames, in short sides; frames are counted from 0."""

    first: int
    second: int
    distance: float


class Between(NamedTuple):
    """Mean difference, of 255, of a frame from that which flow lays between its neighbours."""

    frame: int
    difference: float


class Motion:
    """Takes a clip's frames one by one. It keeps three small pictures, and two numbers for each frame.

    Args:
        fps: Frames a second.

    Attributes:
        interval: Frames from one sampled frame to the next.
        sampled: How many frames were sampled.
        moved: Of each pair of sampled frames that show something.
        between: Of each second frame, if it and its neighbours show something.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.interval = max(1, round(fps / SAMPLED))
        self.sampled = 0
        self.moved: list[Moved] = []
        self.between: list[Between] = []
        self._count = 0
        self._held: dict[int, np.ndarray | None] = {}
        self._flow = dis()

    @property
    def needed(self) -> int:
        """How many pairs must move for a dynamic clip, as VBench has it."""
        return max(1, round(4 * self.sampled / 16))

    @property
    def threshold(self) -> float:
        """How far the fastest pixels of a pair that moves go, in short sides."""
        return max(1.0, SAMPLED / self.fps) * THRESHOLD

    def add(self, light: np.ndarray | None) -> None:
        """Takes the next frame, uint8[h, w] as `working_size` makes it; None for one that shows nothing."""
        number = self._count
        self._count += 1
        self._held[number] = light if light is None or min(light.shape) >= LEAST else None
        flows: dict[int, np.ndarray] = {}
        if number % self.interval == 0:
            self.sampled += 1
            self._measure_motion(number, flows)
        if number % 2 == 0:
            self._measure_between(number, flows)
        keep = {number, number - 1, number - number % 2, number - number % self.interval}
        self._held = {held: self._held[held] for held in keep if held in self._held}

    def _measure_motion(self, number: int, flows: dict[int, np.ndarray]) -> None:
        flow = self._flow_from(number - self.interval, number, flows)
        if flow is not None:
            self.moved.append(Moved(number - self.interval, number, fastest(flow) / min(flow.shape[:2])))

    def _measure_between(self, number: int, flows: dict[int, np.ndarray]) -> None:
        real, flow = self._held.get(number - 1), self._flow_from(number - 2, number, flows)
        one, other = self._held.get(number - 2), self._held[number]
        if flow is not None and real is not None and one is not None and other is not None:
            difference = cv2.norm(halfway(one, other, flow), real, cv2.NORM_L1) / real.size
            self.between.append(Between(number - 1, difference))

    def _flow_from(self, first: int, second: int, flows: dict[int, np.ndarray]) -> np.ndarray | None:
        one, other = self._held.get(first), self._held.get(second)
        if one is None or other is None:
            return None
        if first not in flows:
            flows[first] = self._flow.calc(one, other, None)
        return flows[first]


def dis() -> Any:
    """Returns OpenCV's DIS: `calc` makes of two pictures, uint8[h, w], and None the flow, float32[h, w, 2]."""
    create: Any = getattr(cv2, "DISOpticalFlow_create")  # noqa: B009  # which the stubs of OpenCV 5 do not know
    return create(cv2.DISOPTICAL_FLOW_PRESET_FAST)


def working_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size at which the flow is computed, width and height: that of the frame, or with a smaller side."""
    scale = min(1.0, SIDE / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def fastest(flow: np.ndarray) -> float:
    """Returns the mean length of the longest twentieth of a flow, float32[h, w, 2], in its pixels."""
    lengths = cv2.magnitude(flow[..., 0], flow[..., 1]).ravel()
    count = max(1, int(lengths.size * FASTEST))
    return float(np.partition(lengths, lengths.size - count)[lengths.size - count :].mean())


def halfway(one: np.ndarray, other: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Returns the picture halfway between two, uint8[h, w], each moved by half of the flow from one to the other."""
    rows, columns = np.indices(one.shape, np.float32)
    across, down = flow[..., 0] / 2, flow[..., 1] / 2
    parts = [
        cv2.remap(picture, columns + sign * across, rows + sign * down, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        for picture, sign in ((one, -1), (other, 1))
    ]
    return cv2.addWeighted(parts[0], 0.5, parts[1], 0.5, 0)
