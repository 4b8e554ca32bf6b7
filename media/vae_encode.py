"""Keeps a causal VAE from encoding frames that no longer change anything.

Wan's VAE takes a clip in chunks of frames. All that a chunk hands to the next lies in one list of caches, and a cache
holds the last inputs of a layer, so the encoder is a plain function of (caches, chunk). Once chunks of the same pixels
leave every cache as they found it, the next ones give the same latent frames again, and need not be computed.

ComfyUI's own code does the encoding; here is only what stands in front of its encoder meanwhile. Since 0.18 it takes
chunks of 2 frames and answers every fourth, before it took 4 frames and answered each; neither is assumed.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from .resolution import FRAME_STEP

# Of the largest value, for the rest of the clip together. A quarter of the last digit of bf16, in which the experts
# read the latent.
TOLERANCE = 1e-3


class Moment(NamedTuple):
    """What an encoder gave when it last answered, and the state in which it was left."""

    latents: torch.Tensor  # [B, C, T, h, w]
    state: list[torch.Tensor | None]


class ClipEncoder:
    """Encodes one clip, or one tile of it, and skips the chunks that no longer change anything.

    Args:
        forward: The encoder's.
        frames: Of the clip.
    """

    def __init__(self, forward: Callable[..., torch.Tensor | None], frames: int) -> None:
        self.forward = forward
        self.latents_left = (frames - 1) // FRAME_STEP + 1  # latent frames that are still to come
        self.seen = self.skipped = 0  # frames
        self.chunk: torch.Tensor | None = None  # the last one
        self.repeats = 0  # how often in a row it came
        self.calls = 0  # since the encoder's last answer, those skipped included
        self.period = 1  # calls from one answer to the next
        self.moment: Moment | None = None
        self.settled: torch.Tensor | None = None  # the answer that repeats

    def encode(self, chunk: torch.Tensor, options: dict[str, Any]) -> torch.Tensor | None:
        """Returns what the encoder answers to a chunk, Tensor[B, C, F, H, W], computed or not.

        Returns:
            Tensor[B, C, T, h, w], or None for "not yet".
        """
        self.seen += chunk.shape[2]
        self.repeats = self.repeats + 1 if _same(chunk, self.chunk) else 1
        self.calls += 1
        # The last chunk is answered at once: with fewer latent frames than the answer that repeats, if it comes early.
        early = options.get("final") and self.calls % self.period
        if self.settled is not None and self.repeats > 1 and not early:
            return self._skip(chunk.shape[2], self.settled)
        return self._compute(chunk, options)

    def _skip(self, frames: int, answer: torch.Tensor) -> torch.Tensor | None:
        self.skipped += frames
        if self.calls % self.period:
            return None
        self.latents_left -= answer.shape[2]
        return answer

    def _compute(self, chunk: torch.Tensor, options: dict[str, Any]) -> torch.Tensor | None:
        if self.settled is not None:
            self._catch_up(options["feat_cache"])
        self.chunk = chunk
        answer = self.forward(chunk, **options)
        if answer is not None:
            self._compare(answer, options["feat_cache"])
        return answer

    def _catch_up(self, caches: list[torch.Tensor | None]) -> None:
        """Computes the skipped chunks that the encoder has not answered yet: those before them changed nothing."""
        assert self.chunk is not None
        self.settled = self.moment = None
        self.calls = 1 + (self.calls - 1) % self.period
        for _ in range(self.calls - 1):
            self.forward(self.chunk, feat_cache=caches, feat_idx=[0])
            self.skipped -= self.chunk.shape[2]

    def _compare(self, answer: torch.Tensor, caches: list[torch.Tensor | None]) -> None:
        """Compares an answer, and the state in which it leaves the encoder, with the one before."""
        self.latents_left -= answer.shape[2]
        self.period, self.calls = self.calls, 0
        before, self.moment = self.moment, Moment(answer, [_summary(cache, answer) for cache in caches])
        if before is not None and self.repeats >= self.period:
            # Whatever still moves, moves at most once more with each answer that is to come.
            answers = self.latents_left / answer.shape[2]
            self.settled = answer if _change(before, self.moment) * answers <= TOLERANCE else None


class Watch:
    """Stands in for the `forward` of an encoder while clips are encoded."""

    def __init__(self, forward: Callable[..., torch.Tensor | None], frames: int, between: Callable[[], None]) -> None:
        self.forward, self.frames, self.between = forward, frames, between
        self.clip: ClipEncoder | None = None
        self.done: list[int] = []  # frames skipped, of each clip

    def __call__(self, chunk: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor | None:
        """Encodes a chunk, Tensor[B, C, F, H, W], as the encoder does."""
        self.between()
        caches = options.get("feat_cache")
        if caches is None:
            return self.forward(chunk, *args, **options)
        if self.clip is None or all(cache is None for cache in caches):
            self.clip = ClipEncoder(self.forward, self.frames)
        latents = self.clip.encode(chunk, options)
        if self.clip.seen == self.frames:
            self.done.append(self.clip.skipped)
            self.clip = None
        return latents

    @property
    def skipped(self) -> int:
        """Frames of the clip that were not computed; of a clip encoded in tiles, their mean over the tiles."""
        return round(sum(self.done) / len(self.done)) if self.done else 0


@contextmanager
def skip_settled(vae: Any, frames: int, between: Callable[[], None]) -> Iterator[Watch]:
    """Lets a VAE skip, for as long as this context lasts, what it has settled on.

    A VAE that is not encoded chunk by chunk, or that is compiled, is left as it is.

    Args:
        vae: ComfyUI's VAE.
        frames: Of the clips that will be encoded.
        between: Called before each chunk; what it raises ends the encoding.
    """
    encoder = _chunked_encoder(vae)
    if encoder is None:
        yield Watch(lambda *_, **__: None, frames, between)  # which nobody calls
        return
    watch = Watch(encoder.forward, frames, between)
    others = vars(encoder).get("forward")  # what another pack may have put there
    encoder.forward = watch
    try:
        yield watch
    finally:
        if others is None:
            del encoder.forward
        else:
            encoder.forward = others


def _chunked_encoder(vae: Any) -> torch.nn.Module | None:
    encoder = getattr(getattr(vae, "first_stage_model", None), "encoder", None)
    if not isinstance(encoder, torch.nn.Module) or encoder._compiled_call_impl is not None:
        return None
    takes = inspect.signature(encoder.forward).parameters.keys()
    return encoder if {"feat_cache", "feat_idx"} <= takes else None


def _same(chunk: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and chunk.shape == other.shape and torch.equal(chunk, other)


def _summary(cache: torch.Tensor | None, latents: torch.Tensor) -> torch.Tensor | None:
    """Means over the blocks that a latent pixel covers.

    Of the deep layers, which remember longest, that is every value. The others' caches are too large to keep twice:
    their copy would take as much memory as the encoder itself.
    """
    if cache is None:
        return None
    (down, rest_down), (across, rest_across) = (divmod(cache.shape[axis], latents.shape[axis]) for axis in (-2, -1))
    if down == across == 1 or rest_down or rest_across:
        return cache
    # One axis after the other: both at once takes a CPU several times as long.
    lines = cache.unflatten(-1, (-1, across)).mean(-1, dtype=torch.float32)
    return lines.unflatten(-2, (-1, down)).mean(-2)


def _change(before: Moment, after: Moment) -> float:
    """Returns the largest change of a latent frame to the next, or of a cache, as a share of its largest value."""
    frames = torch.cat([before.latents[:, :, -1:], after.latents], dim=2)
    pairs = [*zip(before.state, after.state, strict=True), (frames[:, :, :-1], frames[:, :, 1:])]
    if any(getattr(old, "shape", None) != getattr(new, "shape", None) for old, new in pairs):
        return torch.inf
    changes = [_relative(old, new) for old, new in pairs if old is not None and new is not None]
    return torch.stack(changes).max().item()


def _relative(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """float32[], 0 where both are 0 everywhere."""
    moved, largest = (old - new).abs().amax().float(), old.abs().amax().float()
    return moved / largest.clamp(min=torch.finfo(torch.float32).tiny)
