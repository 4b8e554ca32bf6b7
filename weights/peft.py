"""PEFT's settings of a LoRA, which say what other trainers write as alpha tensors.

Source: `LoraConfig` of huggingface/peft; diffusers stores it in the header as `lora_adapter_metadata`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from .formats.header import read_small, small_json
from .names import Expert

COMPONENTS: dict[Expert, str] = {"high": "transformer", "low": "transformer_2"}  # diffusers' names of the experts
CONFIG = "adapter_config.json"
_ADAPTER = "adapter_model"  # how PEFT names the file that the settings are for, without its suffix
_MODELS = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt")
_KEY = "lora_adapter_metadata"
LARGEST = 1e6  # nobody trains with more; a larger number in a file is damage


@dataclass(frozen=True)
class Scaling:
    """How strongly a LoRA was trained to act.

    Args:
        lora_alpha: Of all layers.
        by_layer: Of some, by the end of their names.
        rank_stabilised: alpha is divided by the root of the rank.
        unread: Patterns of layers that are no plain names. A file's regular expressions are not run.
    """

    lora_alpha: float
    by_layer: Mapping[str, float]
    rank_stabilised: bool
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, metadata: Mapping[str, str], component: str = "transformer") -> Scaling | None:
        """Reads the settings from a header; None where it holds none.

        Args:
            metadata: Of the header.
            component: The part of diffusers' pipeline, if the header holds several.
        """
        settings = _settings(metadata.get(_KEY, ""), component)
        alpha = settings.get("lora_alpha")
        if not _is_number(alpha):
            return None
        patterns = settings.get("alpha_pattern")
        named = {_plain(name): value for name, value in patterns.items()} if isinstance(patterns, dict) else {}
        by_layer = {name: float(value) for name, value in named.items() if name and _is_number(value)}
        unread = tuple(name for name in patterns if not _plain(name)) if isinstance(patterns, dict) else ()
        return cls(float(alpha), by_layer, settings.get("use_rslora") is True, unread)

    @classmethod
    def beside(cls, path: str | Path, ranks: Collection[int]) -> Scaling | None:
        """Reads the settings that PEFT saves beside a file; None where there are none for this file of such ranks."""
        text = read_small(Path(path).with_name(CONFIG))
        fits = _settings(text, "transformer").get("r") in ranks and belongs(path)  # which lists the folder: last
        return cls.of({_KEY: text}) if fits else None

    def alpha(self, layer: str, rank: int) -> float:
        """Returns the alpha that gives a layer PEFT's scale when it is divided by the rank."""
        own = (value for name, value in self.by_layer.items() if f".{layer}".endswith(f".{name}"))
        alpha = next(own, self.lora_alpha)
        return alpha * math.sqrt(rank) if self.rank_stabilised else alpha


def belongs(path: str | Path) -> bool:
    """Says whether the settings in a folder are this file's: it has PEFT's name, or no other file could be meant."""
    path = Path(path)
    if path.stem.casefold() == _ADAPTER:
        return True
    return not any(file.suffix.casefold() in _MODELS and file.name != path.name for file in path.parent.iterdir())


def are_in_doubt(path: str | Path) -> bool:
    """Says whether there are settings in a file's folder that may be another file's."""
    return Path(path).with_name(CONFIG).is_file() and not belongs(path)


def keeps_alpha_beside(names: Collection[str]) -> bool:
    """Says by the names of its tensors whether PEFT wrote a file, which has no alpha: that is in `CONFIG`."""
    return any(name.startswith("base_model.model.") for name in names) and not any(
        name.endswith(".alpha") for name in names
    )


def _plain(pattern: str) -> str:
    """Returns the name that a pattern stands for, or nothing where it stands for more than one."""
    name = re.sub(r"^(?:\^|\(?\.\*\\?\.\)?\??)+|\$$", "", pattern).replace("\\.", ".")
    return name if re.fullmatch(r"[\w.-]+", name) else ""


def _settings(text: str, component: str) -> dict[str, Any]:
    try:
        parsed = small_json(text)
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    # diffusers puts the component's name before each setting: `transformer.lora_alpha`.
    # A file for the low-noise expert alone calls it `transformer` all the same.
    first = ("", "transformer.", "transformer_1.") if component == COMPONENTS["high"] else ("", "transformer.")
    settings: dict[str, Any] = {}
    for prefix in (*first, f"{component}."):
        settings |= {name.removeprefix(prefix): value for name, value in parsed.items() if name.startswith(prefix)}
    return settings


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
