"""Keyframes of ComfyUI's hooks on conditioning, which both experts share: how far they have come in a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .conditioning import Conds


@contextmanager
def kept(conds: Mapping[str, Conds]) -> Iterator[None]:
    """Leaves the keyframes where they are while an expert that joins a run prepares its conditioning.

    ComfyUI begins them anew there. Then the first one would count again at the step at which the experts change places,
    for as many steps as it is guaranteed.
    """
    hooks = [hook for each in conds.values() for cond in each if "hooks" in cond for hook in cond["hooks"].hooks]
    groups: list[Any] = [hook.hook_keyframe for hook in hooks]
    reached = [dict(vars(group)) for group in groups]
    yield
    for group, state in zip(groups, reached, strict=True):
        vars(group).update(state)
