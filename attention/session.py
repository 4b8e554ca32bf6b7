"""Sparse attention over one run of a sampler: which steps and layers are dense, and what becomes of the receipt."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from . import kernels, probe, receipt, trained
from .order import Grid, TokenOrder, cube_order
from .receipt import Call, Clock, Step
from .routing import HEAD, Pattern
from .trained import Training

logger = logging.getLogger(__name__)

ROUNDING = 1e-4  # by which sigmas of one list differ on their way through ComfyUI
FIRST_STEPS = "a first step"
ABOVE_LIMIT = "error above the limit"
NOTHING = "Warning: Sparse attention was asked for, and nothing was sparse. The lines below say why."
OTHER = "a mask or a scale, which no sparse kernel takes"

Dense = Callable[[], torch.Tensor]


class Settings(NamedTuple):
    """What a person chose.

    Args:
        density: Share of the scores that are computed exactly; of the key blocks that are kept, where `training` is.
        dense_steps: So many first steps of a run are dense, both experts counted together.
        error_limit: A layer whose error may be larger goes dense for the rest of the run.
        kernel: Name of one, or auto.
        training: How the experts were trained to be sparse. Their attention is then meant to differ from dense
            attention, so it has no error, and no step or layer is dense for it.
        order: Of the tokens of a clip. This and what follows is chosen by nobody but who measures what it is worth.
        sink: Whether the first latent frame is always kept.
        tail: Whether something stands for what is left out.
    """

    density: float = 0.15
    dense_steps: int = 1
    error_limit: float = 0.1
    kernel: str = kernels.AUTO
    training: Training | None = None
    order: Callable[[Grid, torch.device], TokenOrder] = cube_order
    sink: bool = True
    tail: bool = True


class Run:
    """What is known of one run."""

    def __init__(self, sigmas: Sequence[float], first: int) -> None:
        self.sigmas = list(sigmas)
        self.first = first  # steps that other samplers have run before
        self.at = 0  # the step that goes on, within `sigmas`
        self.dense_layers: set[tuple[str, int]] = set()
        self.steps: list[Step] = []
        self.notes: list[str] = []

    def step_of(self, sigma: float) -> int:
        """Returns the number of the step that the next evaluation, at this sigma, belongs to, from 0.

        The list of sigmas may rise on its way, or stay: of equal ones the next one counts. A sampler that looks ahead,
        as heunpp2, comes back.
        """
        starts = self.sigmas[:-1]
        begun = [at for at, start in enumerate(starts) if _equal(start, sigma)]
        if begun:
            self.at = next((at for at in begun if at >= self.at), begun[-1])
        while not begun and self.at + 1 < len(starts) and sigma <= starts[self.at + 1] < starts[self.at]:
            self.at += 1  # a sampler that evaluates where it likes
        return self.first + self.at


class Evaluation:
    """One evaluation of an expert, layer by layer."""

    def __init__(self, session: "Session", expert: str, sigma: float, grid: Grid, words: int, device: torch.device):
        self.settings, self.run = session.settings, session.current
        self.expert, self.grid, self.words = expert, grid, words
        self.tokens = grid[0] * grid[1] * grid[2]
        self.step = Step(self.run.step_of(sigma), expert, Clock(device), [])
        self.seen: set[int] = set()

    def is_self_attention(self, q: torch.Tensor, k: torch.Tensor, layer: int) -> bool:
        """Returns whether a call is a layer's own attention, not that to the words: it comes first in a layer."""
        return q.shape == k.shape and q.ndim == 3 and (layer not in self.seen or k.shape[1] != self.words)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, layer: int, other: bool, dense: Dense
    ) -> torch.Tensor:
        """Computes a layer's attention: sparse where that is wanted and possible, else by `dense`.

        Args:
            q: Tensor[B, L, heads x D], as k and v are.
            k: Keys.
            v: Values.
            heads: Of the layer.
            layer: Its number.
            other: Whether the call comes with a mask or a scale.
            dense: Computes it exactly.
        """
        if not self.is_self_attention(q, k, layer):
            return dense()
        self.seen.add(layer)
        clock = Clock(q.device)
        why = self.why_dense(q, heads, layer, other)
        if not why:
            attended, call = self.sparse(q, k, v, heads, layer, clock)
            if call.bound is None or call.bound <= self.settings.error_limit:  # not so where it is NaN
                self.step.calls.append(call)
                return attended
            self.run.dense_layers.add((self.expert, layer))
            self.run.notes.append(
                f"{self.expert} layer {layer} is dense from step {self.step.number + 1} on: its error may be "
                f"{call.bound:.3f}, and the limit is {self.settings.error_limit:g}"
            )
            why = ABOVE_LIMIT
        attended = dense()
        self.step.calls.append(Call(layer, clock.stop(), why))
        return attended

    def why_dense(self, q: torch.Tensor, heads: int, layer: int, other: bool) -> str:
        """Returns why a layer's attention is dense; nothing where it is sparse."""
        if self.step.number < self.settings.dense_steps and not self.settings.training:
            return FIRST_STEPS
        if (self.expert, layer) in self.run.dense_layers:
            return ABOVE_LIMIT
        if other:
            return OTHER
        if q.shape[1] != self.tokens:
            return f"{q.shape[1]} tokens, which are not those of the clip ({self.tokens})"
        if q.shape[2] != heads * HEAD:
            return f"heads of {q.shape[2] // heads} channels, and {HEAD} are needed"
        return ""

    def sparse(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, layer: int, clock: Clock
    ) -> tuple[torch.Tensor, Call]:
        """Computes a layer's sparse attention, and measures its error where it was not trained to be so."""
        training = self.settings.training
        kernel, reasons = kernels.choose(self.settings.kernel, q.device, q.dtype, trained=training is not None)
        notes = (f"no better kernel: {reason}" for reason in reasons)
        self.run.notes += [note for note in notes if note not in self.run.notes]
        q, k, v = (x.unflatten(2, (heads, HEAD)) for x in (q, k, v))
        if training and kernel.over_blocks:
            projection = training.projections.get(self.expert, {}).get(layer)
            attended, density = trained.attend(
                kernel.over_blocks, kernel.heads, q, k, v, self.settings.density, training.blocks, projection
            )
            return attended.flatten(2), Call(layer, clock.stop(), kernel=kernel.name, density=density)
        order = self.settings.order(self.grid, q.device)
        pattern = Pattern(self.settings.density, self.settings.sink, kernel.tail if self.settings.tail else "none")
        attended, density = kernels.attend(kernel, q, k, v, order, pattern)
        bound = probe.measure(q, k, v, attended, seed=1000 * self.step.number + layer).bound
        return attended.flatten(2), Call(layer, clock.stop(), kernel=kernel.name, density=density, bound=bound)


class Session:
    """What both experts of a model share: the settings, the run that goes on, and the receipt of the last one.

    Args:
        settings: What a person chose.
        tell: Shows a receipt to that person.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self.tell = tell  # shows the receipt
        self.run: Run | None = None
        self.depth = 0
        self.ends: dict[float, int] = {}  # sigma at which a sampler stopped last -> steps done until then
        self.rows: list[dict[str, object]] = []
        self.text = ""

    @property
    def current(self) -> Run:
        """The run that goes on.

        Raises:
            RuntimeError: There is none.
        """
        if self.run is None:
            raise RuntimeError(
                "Sparse attention must know the sigmas of a run, and this sampler does not tell them. "
                "Use rCM Sampler or a sampler of ComfyUI, or set mode to off."
            )
        return self.run

    def sample(self, sigmas: Sequence[float], loop: Callable[[], Any]) -> Any:
        """Runs a sampler's loop. The loop over one expert may enclose that over the other: both are one run."""
        if self.depth == 0:
            # Samplers one after the other, on either expert: the next one goes on where the one before stopped.
            # One that makes noise of a clip goes on with none, and what begins where it stopped is a clip of its own.
            before = [steps for sigma, steps in self.ends.items() if _equal(sigma, sigmas[0])]
            self.run = Run(sigmas, before[-1] if before and sigmas[-1] < sigmas[0] else 0)
        self.depth += 1
        try:
            return loop()
        finally:
            self.depth -= 1
            if self.depth == 0:
                self.finish()

    def finish(self) -> None:
        """Makes the receipt of the run that ends."""
        run, self.run = self.current, None
        for sigma in [sigma for sigma in self.ends if _equal(sigma, run.sigmas[-1])]:
            del self.ends[sigma]
        if run.sigmas[-1] < run.sigmas[0]:
            self.ends[run.sigmas[-1]] = run.first + len(run.sigmas) - 1
        self.rows = receipt.rows(run.steps)
        head = f"sparse attention: density {self.settings.density:g}, error limit {self.settings.error_limit:g}"
        if self.settings.training:
            head = f"sparse attention as trained ({self.settings.training.name}): density {self.settings.density:g}"
        nothing = run.steps and not any("density" in row for row in self.rows)
        self.text = "\n".join([head, *[NOTHING] * bool(nothing), *receipt.lines(self.rows), *run.notes])
        logger.log(logging.WARNING if nothing else logging.INFO, self.text)
        self.tell(self.text)

    def evaluate(self, evaluation: Evaluation, model: Callable[[], Any]) -> Any:
        """Runs an evaluation of an expert and keeps its part of the receipt.

        Raises:
            RuntimeError: No attention came by at the expert's first one, so that nothing can be sparse. At a later one
                a cache (EasyCache) may have spared all of the model.
        """
        found = model()
        evaluation.step.clock.stop()
        if not evaluation.step.calls and all(step.expert != evaluation.expert for step in self.current.steps):
            raise RuntimeError(
                "Sparse attention was asked for and did not run: another node has replaced the model's attention "
                "after it. Put Sparse Attention after that node, or set its mode to off."
            )
        self.current.steps.append(evaluation.step)
        return found


def _equal(one: float, other: float) -> bool:
    return abs(one - other) < ROUNDING
