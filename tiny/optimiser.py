"""What the courses share to learn by: Muon for matrices, Adam for the rest, a rate that rises, stays and falls."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
KEEP = 0.999  # the most that the mean of the weights keeps of itself in a step
RISE = 160  # steps to the full rate
# Of the fifth-degree polynomial that draws all singular values towards 1 (Keller Jordan's Muon).
A, B, C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """Momentum whose every matrix is made orthogonal: each direction of a layer learns as quickly as any other.

    A kernel of a convolution counts as the matrix from all that it sees to its outputs.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                matrix = weight.grad.lerp(momentum, MOMENTUM).flatten(1)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                weight.sub_(orthogonal(matrix).view_as(weight), alpha=group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """Returns nearly the orthogonal matrix nearest to one: its singular values lie between 0.7 and 1.2."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-12)
    for _ in range(5):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return x if wide is matrix else x.T


class Learner:
    """Both optimisers and the mean of the weights over time, which is what is judged and written.

    Args:
        model: What learns.
        matrices: The rate of Muon.
        rest: The rate of Adam, for biases, gains and what `plain` names.
        steps: Of the whole course.
        plain: Beginnings of names of matrices that Adam moves, too.
        rise: Steps to the full rate.
    """

    def __init__(
        self,
        model: nn.Module,
        matrices: float,
        rest: float,
        steps: int,
        plain: tuple[str, ...] = (),
        rise: int = RISE,
    ) -> None:
        self.model, self.steps, self.rise = model, steps, rise
        named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
        by_muon = [value for name, value in named if _is_matrix(value) and not name.startswith(plain or "\0")]
        chosen = {id(value) for value in by_muon}
        others = [value for _, value in named if id(value) not in chosen]
        self.optimisers = [
            Muon(by_muon, matrices) if by_muon else None,
            torch.optim.Adam(others, rest, (0.9, 0.98)) if others else None,
        ]
        self.rates = (matrices, rest)
        self.mean = {name: value.detach().clone() for name, value in named}
        self.count = 0

    def learn(self, loss: Tensor, step: int) -> None:
        """Does the step of a number."""
        loss.backward()
        rate = rate_at(step, self.steps, self.rise)
        for optimiser, most in zip(self.optimisers, self.rates, strict=True):
            if optimiser:
                for group in optimiser.param_groups:
                    group["lr"] = most * rate
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
        self.count += 1
        keep = min(KEEP, self.count / (self.count + 10))
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                if name in self.mean:
                    self.mean[name].lerp_(value, 1 - keep)

    def state_dict(self) -> dict:
        """Returns the state of both optimisers and the mean."""
        states = [optimiser.state_dict() if optimiser else None for optimiser in self.optimisers]
        return {"optimisers": states, "mean": self.mean, "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        """Takes such a state."""
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            if optimiser:
                optimiser.load_state_dict(saved)
        self.mean = {name: value.to(self.mean[name].device, copy=True) for name, value in state["mean"].items()}
        self.count = state["count"]


def _is_matrix(value: Tensor) -> bool:
    return value.ndim > 1 and min(value.flatten(1).shape) > 1


class swapped_in:  # noqa: N801  # reads as a verb, like contextlib's own
    """Puts the mean of the weights in the place of the weights for a while."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def __enter__(self) -> nn.Module:
        self._swap()
        return self.learner.model

    def __exit__(self, *_: object) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.learner.model.named_parameters():
            if name in self.learner.mean:
                kept = value.detach().clone()
                value.copy_(self.learner.mean[name])
                self.learner.mean[name] = kept


def rate_at(step: int, steps: int, rise: int = RISE) -> float:
    """Returns the share of the full rate: it rises over so many steps, stays, falls over the last third."""
    return min(1.0, (step + 1) / rise, (steps - step) / max(1.0, steps / 3))
