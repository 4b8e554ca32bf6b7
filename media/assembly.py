"""Parts of a long clip become one: what two of them share is in it once, and its colours stay those of its beginning.

A part's colours are corrected step by step, from what makes its first frame meet the frames before it to what gives its
last ones the mean and contrast of the clip's beginning. So nothing jumps, and nothing adds up from part to part. The
next part grows from frames as they are shown, so that it does not begin with the fault of the last one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from .join import Seam, anchor, corrected, match

ENDS = 4  # frames that stand for the beginning or the end of a part
# More is no drift but another scene, a day that turns to night. Of full range: means, and gains. In one part.
MOST_MOVED, MOST_GAINED = 0.05, 0.1

Frames = Sequence[torch.Tensor]


class Joint(NamedTuple):
    """How a part meets the clip so far.

    Args:
        skipped: Frames at its start that are in no clip.
        shared: Frames after them that show what the last ones of the clip show.
        faded: Whether those become one another step by step; else the clip's stay.
    """

    skipped: int = 0
    shared: int = 0
    faded: bool = False


class Assembly:
    """Takes parts one after another, and gives their frames on. It holds a few frames, whatever the number of parts.

    Args:
        show: Called with each frame of the clip, float32 Tensor[H, W, 3] in [0, 1].
        seam: Called before the first frame that a part adds, but not before the first part.
        anchored: Whether colours are corrected.
        held: The most frames that may change once they are there: a part fades into them, or a loop leaves them out.
    """

    def __init__(
        self, show: Callable[[torch.Tensor], object], seam: Callable[[], object], anchored: bool, held: int = 1
    ) -> None:
        self.show, self.seam, self.anchored = show, seam, anchored
        self.seams: list[Seam] = []
        self.frames = 0  # shown, and those that wait
        self._first: list[torch.Tensor] = []
        self._last: deque[torch.Tensor] = deque(maxlen=max(held, ENDS))
        self._waiting: deque[torch.Tensor] = deque()  # the last frames, which the next part may fade into
        self._held = held

    def add(self, frames: Frames, joint: Joint = Joint()) -> None:  # noqa: B008  # a tuple of constants
        """Takes the next part, Tensor[H, W, 3] in [0, 1] each.

        Raises:
            ValueError: It has no frame beyond those that it shares.
        """
        frames = frames[joint.skipped :]
        if len(frames) <= joint.shared:
            raise ValueError(f"A part needs frames of its own, got {len(frames)} of which {joint.shared} are shared.")
        begin, end = self._corrections(frames, joint.shared)
        meets = max(0, joint.shared - 1)  # corrected as its frames before, so that nothing jumps where the clip goes on
        for index, frame in enumerate(frames):
            place = max(0, index - meets) / max(1, len(frames) - 1 - meets)
            gain, offset = (one + place * (other - one) for one, other in zip(begin, end, strict=True))
            shown = corrected(frame, gain, offset) if self.anchored else frame.float()
            if index < joint.shared:
                if joint.faded:
                    self._fade(shown, index, joint.shared)
                continue
            if index == joint.shared and self.frames:
                self._give_on(0)
                self.seam()
            self._take(shown)

    def last(self, count: int) -> torch.Tensor:
        """Returns the last frames as they are shown, float32 Tensor[count, H, W, 3]."""
        return torch.stack(list(self._last)[-count:])

    def first(self, count: int) -> torch.Tensor:
        """Returns the first frames as they are shown, float32 Tensor[count, H, W, 3], as far as they are held."""
        return torch.stack(self._first[:count])

    def finish(self, dropped: int = 0) -> None:
        """Gives the last frames on, without those that a loop begins with again."""
        self.frames -= dropped
        for _ in range(dropped):
            self._waiting.pop()
        self._give_on(0)

    def _take(self, frame: torch.Tensor) -> None:
        if len(self._first) < max(self._held, ENDS):
            self._first.append(frame)
        self._last.append(frame)
        self._waiting.append(frame)
        self.frames += 1
        self._give_on(self._held)

    def _give_on(self, waiting: int) -> None:
        while len(self._waiting) > waiting:
            self.show(self._waiting.popleft())

    def _fade(self, frame: torch.Tensor, index: int, shared: int) -> None:
        """Mixes a frame into the one of the clip that shows the same moment."""
        place = len(self._waiting) - shared + index
        self._waiting[place] = torch.lerp(self._waiting[place], frame, (index + 1) / (shared + 1))
        self._last[len(self._last) - shared + index] = self._waiting[place]

    def _corrections(
        self, frames: Frames, shared: int
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """Returns gain and offset of a part's first frame and of its last."""
        begin = torch.ones(3), torch.zeros(3)
        if shared:
            near = min(shared, ENDS)
            meeting = frames[shared - near : shared]
            gain, offset, seam = match(_pile(meeting), _pile(list(self._last)[-near:]), self.anchored)
            begin = gain.expand(3), offset.expand(3)
            self.seams.append(seam)
        if not self.anchored:
            return begin, begin
        count = max(1, min(ENDS, len(frames) // 2))
        reference = self._first[:count] or frames[:count]
        return begin, _bounded(begin, anchor(_pile(frames[-count:]), _pile(reference)), _pile(frames[-count:]))


def _pile(frames: Frames) -> torch.Tensor:
    """Returns frames, Tensor[H, W, 3] each, as one picture, whose mean and contrast are theirs together."""
    return torch.cat([frame.float() for frame in frames])


def _bounded(
    begin: tuple[torch.Tensor, torch.Tensor], end: tuple[torch.Tensor, torch.Tensor], frames: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the correction of a part's last frames, or so much of it as may be drift."""
    mean = frames.mean((0, 1))
    gained = float((end[0] - begin[0]).abs().max())
    moved = float(((end[0] - begin[0]) * mean + end[1] - begin[1]).abs().max())
    share = min(1.0, MOST_GAINED / max(gained, 1e-9), MOST_MOVED / max(moved, 1e-9))
    return begin[0] + share * (end[0] - begin[0]), begin[1] + share * (end[1] - begin[1])
