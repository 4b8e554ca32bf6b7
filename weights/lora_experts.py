"""Which expert a LoRA's tensor is for, where one file holds both: told by a component of its name.

diffusers calls Wan 2.2's high-noise expert `transformer` and the low-noise one `transformer_2`, as OneTrainer does;
ostris' AI Toolkit calls them `transformer_1` and `transformer_2` (`diffusion_model.transformer_1.blocks...`),
DiffSynth `dit` and `dit2`, OMI `diffusion_model` and `diffusion_model_2`; others `high_noise` and `low_noise`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .formats.header import DamageError, listed, printable
from .names import Expert

_STEMS = ("transformer", "diffusion_model", "dit")  # with the expert's number; without one, the first beside a second
_EXPERTS: dict[str, Expert] = {  # without the signs that are dots in one spelling and underscores in another
    **{f"{stem.replace('_', '')}1": "high" for stem in _STEMS},
    **{f"{stem.replace('_', '')}2": "low" for stem in _STEMS},
    **{f"{expert}noise{end}": expert for expert in ("high", "low") for end in ("", "model")},
}
_COMPONENT = re.compile(  # kohya and others write underscores for dots
    r"(?:^|[._])(?P<name>(?P<stem>transformer|diffusion_model|dit|unet|experts?)[._]?\d+|[a-z]+_noise(?:_model)?)(?=[._])"
)
_UNNUMBERED = re.compile(rf"(?:^|[._])({'|'.join(_STEMS)})(?=[._])")


def without_component(name: str) -> str:
    """Returns a layer's name as it would be in a file for one expert."""
    return _COMPONENT.sub("", name, count=1).lstrip("._")


def experts_of(keys: Iterable[str], has_place: Callable[[str], object]) -> dict[str, Expert]:
    """Tells for which expert a file means its tensors; those that it does not give to one are for both.

    Args:
        keys: The file's tensors.
        has_place: Says whether a tensor has a place in the model; what has none may be called anything.

    Raises:
        DamageError: A component names an expert that Wan 2.2 has not.
    """
    keys = list(keys)
    found = {key: match for key in keys if (match := _COMPONENT.search(key))}
    named: dict[str, Expert | None] = {
        key: _EXPERTS.get(re.sub(r"[._]", "", match["name"])) for key, match in found.items()
    }
    unknown = {printable(found[key]["name"]): None for key, expert in named.items() if not expert and has_place(key)}
    if unknown:
        raise DamageError(
            f"has tensors for {listed(list(unknown))}, which is no part of Wan 2.2: it has transformer_1, for high "
            "noise, and transformer_2, for low noise. Choose its version for ComfyUI, one file for each expert."
        )
    second = {match["stem"] for key, match in found.items() if named[key] == "low"}
    first = [key for key in keys if key not in found and not second.isdisjoint(_UNNUMBERED.findall(key))]
    experts: dict[str, Expert] = dict.fromkeys(first, "high")
    for key, expert in named.items():
        if expert:
            experts[key] = expert
    return experts
