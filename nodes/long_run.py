"""A long clip in the making: part after part is found on the disk or sampled, decoded, and given on."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import comfy.model_management
import torch
from comfy.latent_formats import Wan21

from ..media import vae_stream
from ..media.assembly import Assembly, Joint
from ..media.part_store import Kept, PartStore
from ..media.resolution import FRAME_STEP
from ..samplers import continuation
from . import content, decode, picture, sampling, sparse
from .long_plan import LAST_FRAME, MOTION, Part, Way
from .long_progress import StoryProgress


class Models(NamedTuple):
    """ComfyUI's MODEL of each expert, its CLIP and its VAE."""

    high: Any
    low: Any
    clip: Any
    vae: Any


class Sampling(NamedTuple):
    """How each part is sampled; `negative` is read where `cfg` is not 1."""

    sigmas: torch.Tensor
    mode: str
    cfg: float
    boundary: float
    negative: str
    motion: float


class PartFrames:
    """The frames of a part in half precision, which is finer than any video: 450 MB of 5 s at 720p."""

    def __init__(self) -> None:
        self.frames: list[torch.Tensor] = []

    def add(self, frames: torch.Tensor) -> None:
        """Takes the next frames, Tensor[F, H, W, C]."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.frames += frames[..., :3].to("cpu", torch.float16, copy=True).unbind()

    def restart(self) -> None:
        """Forgets all frames so far."""
        self.frames.clear()


class LongRun:
    """Makes the parts of a clip.

    Args:
        models: What makes them.
        how: How they are sampled.
        start: Tensor[1, H, W, 3] in [0, 1], the picture that the clip begins with.
        parts: Of the clip.
        way: How they continue.
        store: Where parts are kept.
        kept: What a file says of a part of this clip.
        progress: Is told of each step and part.
        unknown: Why the parts of this run are not found again, or "".
    """

    def __init__(
        self, models: Models, how: Sampling, start: torch.Tensor, parts: Sequence[Part], way: Way, store: PartStore,
        kept: Kept, progress: StoryProgress, unknown: str = "",
    ) -> None:  # fmt: skip
        self.models, self.how, self.start, self.parts, self.way = models, how, start, parts, way
        self.store, self.kept, self.progress, self.unknown = store, kept, progress, unknown
        self.made: list[int] = []  # parts that were sampled, counted from 0
        self._encoded: dict[str, Any] = {}  # by text
        self._anchors: dict[int, tuple[dict[str, Any], Any]] = {}  # by frames

    def run(self, assembly: Assembly) -> None:
        """Makes all parts, and hands their frames over, one part after another."""
        before = None
        for place, part in enumerate(self.parts):
            before = self._latent(place, assembly, before)
            self.progress.decode(place)
            self._decode(before, part.joint, assembly)
            self.progress.finish_part()
        assembly.finish(self.parts[-1].dropped)

    def _decode(self, latent: torch.Tensor, joint: Joint, assembly: Assembly) -> None:
        frames = PartFrames()  # gone when the next part is sampled
        decode.decode(self.models.vae, latent, frames)
        assembly.add(frames.frames, joint)

    def _latent(self, place: int, assembly: Assembly, before: torch.Tensor | None) -> torch.Tensor:
        digest = self.parts[place].digest
        found = self.store.load(digest)
        if found is not None:
            return found
        self.progress.sample(place)
        latent = self._sample(place, assembly, before).cpu()
        vae_stream.check_latent(latent)
        self.made.append(place)
        return self.store.save(digest, latent, self.kept)

    def _sample(self, place: int, assembly: Assembly, before: torch.Tensor | None) -> torch.Tensor:
        part, (high, low, *_) = self.parts[place], self.models
        positive, negative = self._words(place)
        start = self.start
        if place and self.way.continue_by != MOTION:
            start = assembly.last(1 if self.way.continue_by == LAST_FRAME else part.joint.shared)
        end = assembly.first(part.dropped) if part.dropped else None
        pictures, latent = self._pictures(part.frames, start, end)
        both = [[[words, {**more, **pictures}] for words, more in conds] for conds in (positive, negative or [])]
        if place and self.way.continue_by == MOTION and before is not None:
            count = part.joint.shared // FRAME_STEP
            positive, negative = (continue_by_motion(conds, before, count, self.how.motion) for conds in both)
        else:
            positive, negative = (picture.with_motion(conds, self.how.motion) for conds in both)
        content.note_pictures([*positive, *negative], *start.split(1), *(() if end is None else end.split(1)))
        guider = sampling.make_guider(high, low, positive, negative or None, self.how.cfg, self.how.boundary)
        return sampling.sample(guider, latent, part.seed, self.how.sigmas, self.how.mode, self.progress)

    def _pictures(self, frames: int, start: torch.Tensor, end: torch.Tensor | None) -> tuple[dict[str, Any], Any]:
        """Returns what Image to Video Latent adds to words, and its latent.

        By motion each part has the same anchor, which is encoded once for all that are as long.
        """
        again = start is self.start and end is None
        if again and frames in self._anchors:
            return self._anchors[frames]
        conds, _, latent = picture.prepare([[None, {}]], None, self.models.vae, frames, start, end)
        if again:
            self._anchors = {frames: (conds[0][1], latent)}  # of one length: memory does not grow
        return conds[0][1], latent

    def _words(self, place: int) -> tuple[Any, Any]:
        """Returns the conditioning of a part, positive and negative; all that are still to come are encoded at once."""
        if self.parts[place].text not in self._encoded:
            later = [part for part in self.parts[place:] if not self.store.has(part.digest)]
            texts = [self.parts[place].text, *(part.text for part in later)]
            for text in dict.fromkeys(texts + [self.how.negative] * (self.how.cfg != 1)):
                tokens = self.models.clip.tokenize(text)
                self._encoded.setdefault(text, self.models.clip.encode_from_tokens_scheduled(tokens))
        negative = self._encoded[self.how.negative] if self.how.cfg != 1 else None
        return self._encoded[self.parts[place].text], negative

    def what_is_kept(self) -> str:
        """Returns what a person whose run ended early must know."""
        if self.unknown:
            return f"No part of this run can be used again: {self.unknown}."
        whole = len(list(takewhile(self.store.has, (part.digest for part in self.parts))))
        if not whole:
            return "No part was finished, so none is kept."
        parts = "Part 1 is" if whole == 1 else f"Parts 1 to {whole} are"
        return f"{parts} kept, of {len(self.parts)}: the same inputs go on from there."

    def what_was_made(self) -> str:
        """Returns which parts were sampled and which were there, counted from 1."""
        if len(self.made) == len(self.parts):
            return "All parts were made."
        if not self.made:
            return "All parts were on the disk."
        return f"Made: part {', '.join(str(place + 1) for place in self.made)}. The others were on the disk."

    def receipt(self) -> str:
        """Returns what Sparse Attention tells of the last part that was sampled, or ""."""
        session = sparse.session_of(self.models.high)
        return f"Part {self.made[-1] + 1}, {session.text}" if session and self.made else ""


def continue_by_motion(conds: Any, before: torch.Tensor, count: int, motion: float) -> Any:
    """Returns conditioning, as Image to Video Latent makes it, for a part that goes on as SVI does.

    Args:
        conds: ComfyUI's CONDITIONING.
        before: Tensor[1, 16, S, h, w], the latent of the part before.
        count: Latent frames that are taken from its end.
        motion: As `picture.with_motion` takes it; for the frames that hold nothing.
    """
    grey = Wan21().process_out(torch.zeros(1, 16, 1, 1, 1))
    found = []
    for words, more in conds:
        blank = picture.blank_in(more)
        blank[: 1 + count] = False
        filled = continuation.continued(more["concat_latent_image"], more["concat_mask"], before, count, grey)
        found.append([words, {**more, "concat_latent_image": picture.moved(filled, blank, motion)}])
    return found
