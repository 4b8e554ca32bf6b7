"""What the parts of a long clip will be, known before a model is loaded: frames, seeds, what they share, digests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..media.assembly import Joint
from ..media.resolution import FRAME_STEP, frame_count
from ..samplers import story

LAST_FRAME, MOTION, OVERLAP = "last_frame", "motion", "overlap"
WAYS = (LAST_FRAME, MOTION, OVERLAP)
FORMAT = 1  # of what decides a part; another number makes all of them anew


class Way(NamedTuple):
    """How a part continues the one before, and how the last one ends.

    Args:
        continue_by: One of `WAYS`.
        motion_latents: Latent frames of the part before that `motion` takes over.
        overlap_frames: Frames that `overlap` takes over, 4n + 1.
        loop: Whether the clip ends where it began.
        anchored: Whether colours are corrected, before the next part grows from them.
    """

    continue_by: str
    motion_latents: int
    overlap_frames: int
    loop: bool
    anchored: bool

    def joints(self, frames: Sequence[int]) -> list[Joint]:
        """Returns how each part meets the one before, from the frames of all parts."""
        joints = [Joint()]
        for before in frames[:-1]:
            last = joints[-1]
            joints.append(self._joint(before, before - last.skipped - last.shared))
        return joints

    def _joint(self, before: int, own: int) -> Joint:
        """Returns how a part meets the one before, of so many frames, and so many of its own."""
        if self.continue_by == MOTION:
            count = min(self.motion_latents, (before - 1) // FRAME_STEP)
            return Joint(1, FRAME_STEP * count)
        if self.continue_by == OVERLAP:  # those that the part before has faded in are in the file by then
            return Joint(0, min(self.overlap_frames, own - (own - 1) % FRAME_STEP), True)
        return Joint(0, 1)

    def returning(self, first: int) -> int:
        """Returns how many frames of its beginning a loop ends with, which are not shown twice.

        Args:
            first: Frames of its first part.
        """
        return (min(self.overlap_frames, first) if self.continue_by == OVERLAP else 1) if self.loop else 0

    def facts(self, joint: Joint) -> list[Any]:
        """Returns what of it decides a part that continues another."""
        # The latents that motion takes over have no corrected colours.
        return [self.continue_by, joint.shared, self.anchored and self.continue_by != MOTION]


class Part(NamedTuple):
    """A part: what it shows, its frames and noise, how it meets the one before, what is left out at its end."""

    text: str
    frames: int
    seed: int
    joint: Joint
    dropped: int
    digest: str


def plan(lines: Sequence[story.Line], way: Way, seed: int, clip: dict[str, Any]) -> list[Part]:
    """Returns the parts of a clip.

    Args:
        lines: A prompt and a length each.
        way: How they continue.
        seed: Of the clip.
        clip: What decides every part beside these.

    Raises:
        ValueError: A part is no longer than what it shares with others, or a loop has one part.
    """
    if way.loop:
        story.check_loop(len(lines))
    frames = [frame_count(line.seconds) for line in lines]
    joints = way.joints(frames)
    drops = [0] * (len(lines) - 1) + [way.returning(frames[0])]
    for place, (count, joint, dropped) in enumerate(zip(frames, joints, drops, strict=True), 1):
        taken = joint.skipped + joint.shared + dropped
        if count <= taken:
            raise ValueError(
                f"A part must be longer than what it shares with other parts, and part {place} has {count} frames, of "
                f"which {taken} are shared. Give it more seconds, or continue by last frame."
            )
    seeds = [story.part_seed(seed, place) for place in range(len(lines))]
    decisive = [
        [line.text, count, number, way.facts(joint) if place else [], dropped]
        for place, (line, count, number, joint, dropped) in enumerate(
            zip(lines, frames, seeds, joints, drops, strict=True)
        )
    ]
    found = story.digests({**clip, "format": FORMAT}, decisive)
    texts = [line.text for line in lines]
    return [Part(*part) for part in zip(texts, frames, seeds, joints, drops, found, strict=True)]


def length(parts: Sequence[Part]) -> int:
    """Returns the frames of the whole clip."""
    return sum(part.frames - part.joint.skipped - part.joint.shared - part.dropped for part in parts)
