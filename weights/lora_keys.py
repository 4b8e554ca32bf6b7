"""How trainers spell a LoRA: the layer of Wan, the part and the expert that a tensor is for, and PEFT's settings.

Trainers write the same layer as `diffusion_model.blocks.0.self_attn.q` (musubi-tuner's ComfyUI form, lightx2v, AI
Toolkit), `lora_unet_blocks_0_self_attn_q` (kohya), `blocks.0.self_attn.q` (DiffSynth), `lycoris_blocks_0_attn1_to_q`
(SimpleTuner) or `transformer.blocks.0.attn1.to_q` (diffusers, whose names for Wan are its own). The names here follow
ComfyUI's `comfy/ldm/wan/model.py` and diffusers' conversion of the original checkpoint.

Where one file holds both experts, a component of the name tells them apart: diffusers and OneTrainer call the
high-noise expert `transformer` and the low-noise one `transformer_2`; ostris' AI Toolkit `transformer_1` and
`transformer_2` (`diffusion_model.transformer_1.blocks...`), DiffSynth `dit` and `dit2`, OMI `diffusion_model` and
`diffusion_model_2`; others `high_noise` and `low_noise`, or `high` and `low`, as parts of a name or adapters of PEFT.

PEFT's settings say what other trainers write as alpha tensors: `LoraConfig` of huggingface/peft, which diffusers stores
in the header as `lora_adapter_metadata`, and PEFT itself in a file beside the LoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from ..common.text import printable, read_json
from .formats.header import DamageError, listed, read_small
from .names import Expert


class Key(NamedTuple):
    """A tensor's place: `layer` as the model names it, `part` as ComfyUI's adapters do, `adapter` as PEFT named it."""

    layer: str
    part: str
    adapter: str = ""


_LORA = r"lora_(?:up|down|mid|A|B) | lora\.(?:up|down) | lora_linear_layer\.(?:up|down)"
_PART = re.compile(
    rf"""^(?P<layer>.+?)[._](?:
        (?P<factor> {_LORA} | lora_magnitude_vector )
            (?: \.(?!weight$|bias$)(?P<adapter>[^.]+) )?  # PEFT's name of the adapter, such as `default`
            (?P<end> \.weight | \.bias )?
      | (?P<plain> alpha | dora_scale | diff | diff_b | diff_m | w_norm | b_norm
            | hada_(?:w[12]_[ab]|t[12]) | lokr_(?:w[12](?:_[ab])?|t2) )
    )$""",
    re.VERBOSE,
)
FACTOR = re.compile(rf"[._](?: {_LORA} | (?:hada|lokr)_[wt]\d ) | \.diff(?![a-z])", re.VERBOSE)  # whatever follows it
_OTHER_ADAPTER = re.compile(r"[._](?:b?oft_\w+(?:\.\w+)*|set_weight|[ab][12]\.weight)$")  # OFT, GLoRA, ComfyUI's own
UP_BIAS = "lora_up.bias"  # PEFT's `lora_bias`
_FACTORS = {  # what the factor's name ends in, and ComfyUI's name of it; `down` is LoRA's A, `up` its B
    "down": "lora_down.weight",
    "A": "lora_down.weight",
    "up": "lora_up.weight",
    "B": "lora_up.weight",
    "mid": "lora_mid.weight",
    "vector": "dora_scale",  # PEFT's DoRA
}
FLAT_PREFIX = r"^(?:lora_unet_+|lycoris_|lora_transformer_|lora_)"  # before names with underscores for dots
_CALLED_SO = {"diffusion_model", "transformer", "unet", "model", "base_model", "dit", "net", "pipe"}  # before a layer's
_WRAPPERS = re.compile(  # what torch.compile, DDP, FSDP, checkpointing and PEFT put into a name, wherever they stand
    r"(?:^|(?<=[._]))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_layer"
    r"|base_model[._]model|module)(?:[._]|$)"
)
_DIFFUSERS = (  # (ComfyUI's name, diffusers' name), for whole components of a dotted name
    ("self_attn.o", "attn1.to_out.0"),
    ("cross_attn.o", "attn2.to_out.0"),
    ("self_attn.norm_", "attn1.norm_"),
    ("cross_attn.norm_", "attn2.norm_"),
    ("self_attn.", "attn1.to_"),
    ("cross_attn.k_img", "attn2.add_k_proj"),
    ("cross_attn.v_img", "attn2.add_v_proj"),
    ("cross_attn.", "attn2.to_"),
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("norm3", "norm2"),
    ("head.head", "proj_out"),
    ("head.modulation", "scale_shift_table"),
    ("modulation", "scale_shift_table"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
)

_STEMS = ("transformer", "diffusion_model", "dit")  # with the expert's number; without one, the first beside a second
_EXPERTS: dict[str, Expert] = {  # without the signs that are dots in one spelling and underscores in another
    **{f"{stem.replace('_', '')}1": "high" for stem in _STEMS},
    **{f"{stem.replace('_', '')}2": "low" for stem in _STEMS},
    **{f"{expert}{end}": expert for expert in ("high", "low") for end in ("", "noise", "noisemodel")},
}
_COMPONENT = re.compile(  # kohya and others write underscores for dots; a bare `high` counts between dots alone
    r"(?:^|[._])(?P<name>(?P<stem>transformer|diffusion_model|dit|unet|experts?)[._]?\d+|[a-z]+_noise(?:_model)?"
    r"|(?<!_)(?:high|low)(?:noise)?(?=\.))(?=[._])",
    re.IGNORECASE,
)
_UNNUMBERED = re.compile(rf"(?:^|[._])({'|'.join(_STEMS)})(?=[._])", re.IGNORECASE)

COMPONENTS: dict[Expert, str] = {"high": "transformer", "low": "transformer_2"}  # diffusers' names of the experts
CONFIG = "adapter_config.json"
_ADAPTER = "adapter_model"  # how PEFT names the file that the settings are for, without its suffix
_MODELS = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt")
_KEY = "lora_adapter_metadata"
LARGEST = 1e6  # nobody trains with more; a larger number in a file is damage


def split(key: str) -> Key:
    """Splits a tensor's name into its layer, as the file spells it, and its part; the part is empty where unknown."""
    found = _PART.match(key)
    if not found:
        return Key(key, "")
    factor = found["factor"]
    part = _FACTORS[re.split(r"[._]", factor)[-1]] if factor else found["plain"]
    if found["end"] == ".bias":
        if part != "lora_up.weight":
            return Key(key, "")
        part = UP_BIAS
    return Key(found["layer"], part, found["adapter"] or "")


def is_lora_key(key: str) -> bool:
    """Returns whether only a LoRA, or another change of a model, has a tensor of such a name."""
    return split(key).part not in ("", "alpha", "dora_scale") or bool(_OTHER_ADAPTER.search(key))


def unwrapped(name: str) -> str:
    """Returns a layer's name without the names of what a trainer had wrapped it or its parents in."""
    return _WRAPPERS.sub("", name).rstrip("._")


class Layers:
    """The layers of one model under all their names.

    Args:
        names: Of the model's weights, such as `blocks.0.self_attn.q`, without `.weight`.
    """

    def __init__(self, names: Iterable[str]):
        names = list(names)
        self._dotted = {diffusers_name(name): name for name in names} | {name: name for name in names}
        self._flat = {dotted.replace(".", "_"): name for dotted, name in self._dotted.items()}

    def find(self, key: str) -> Key | None:
        """Returns the place of a LoRA's tensor in this model, or None where it has none."""
        written, part, _ = split(key)
        if not part:
            return None
        written = without_component(unwrapped(written))
        if part == "diff_m":  # lightx2v's name for the change of a block's modulation, which ComfyUI does not read
            written, part = f"{written}.modulation", "diff"
        flat = re.sub(FLAT_PREFIX, "", written, count=1).replace(".", "_")
        layer = self._dotted_layer(written) or self._flat.get(flat)
        return Key(layer, part) if layer else None

    def wrappers(self, written: str) -> list[str]:
        """Returns the components before a layer's own dotted name in a file, but for those that say nothing."""
        parts = unwrapped(written).split(".")
        count = next((n for n in range(len(parts)) if ".".join(parts[n:]) in self._dotted), 0)
        return [part for part in parts[:count] if part not in _CALLED_SO]

    def _dotted_layer(self, written: str) -> str | None:
        # Whatever wraps the transformer puts a prefix of its own before the name: transformer., base_model.model., dit.
        while written not in self._dotted:
            _, dot, written = written.partition(".")
            if not dot:
                return None
        return self._dotted[written]


def diffusers_name(name: str) -> str:
    """Returns what diffusers calls a layer of Wan."""
    for ours, theirs in _DIFFUSERS:
        start, found, end = name.rpartition(ours)
        if found and (not start or start.endswith(".")) and (ours[-1] in "._" or not end):
            return f"{start}{theirs}{end}"
    return name


def without_component(name: str) -> str:
    """Returns a layer's name as it would be in a file for one expert."""
    return _COMPONENT.sub("", name, count=1).lstrip("._")


def experts_of(keys: Iterable[str], has_place: Callable[[str], object]) -> dict[str, Expert]:
    """Returns for which expert a file means its tensors; those that it does not give to one are for both.

    Args:
        keys: The file's tensors.
        has_place: Tells whether a tensor has a place in the model; what has none may be called anything.

    Raises:
        DamageError: A component names an expert that Wan 2.2 has not.
    """
    keys = list(keys)
    found = {key: match for key in keys if (match := _COMPONENT.search(key))}
    named: dict[str, Expert | None] = {
        key: _EXPERTS.get(re.sub(r"[._]", "", match["name"]).lower()) for key, match in found.items()
    }
    # An adapter of PEFT has any name, so one that is no expert's says nothing.
    found = {key: match for key, match in found.items() if named[key] or match.start() < len(split(key).layer)}
    unknown = {printable(match["name"]): None for key, match in found.items() if not named[key] and has_place(key)}
    if unknown:
        raise DamageError(
            f"has tensors for {listed(list(unknown))}, which is no part of Wan 2.2: it has transformer_1, for high "
            "noise, and transformer_2, for low noise. Choose its version for ComfyUI, one file for each expert."
        )
    second = {(match["stem"] or "").lower() for key, match in found.items() if named[key] == "low"}
    first = [key for key in keys if key not in found and not second.isdisjoint(_UNNUMBERED.findall(key.lower()))]
    experts: dict[str, Expert] = dict.fromkeys(first, "high")
    experts.update((key, expert) for key, expert in named.items() if expert)
    return experts


class Scaling(NamedTuple):
    """How strongly a LoRA was trained to act."""

    lora_alpha: float  # of all layers
    by_layer: Mapping[str, float]  # of some, by the end of their names
    rank_stabilised: bool  # alpha is divided by the root of the rank
    # Patterns of layers that are no plain names, as a file's regular expressions are not run, or without a number.
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
        patterns = patterns if isinstance(patterns, dict) else {}
        read = {name: value for name, value in patterns.items() if _plain(name) and _is_number(value)}
        by_layer = {_plain(name): float(value) for name, value in read.items()}
        unread = tuple(name for name in patterns if name not in read)
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
    """Returns whether the settings in a folder are this file's: it has PEFT's name, or no other file could be meant."""
    path = Path(path)
    if path.stem.casefold() == _ADAPTER:
        return True
    return not any(file.suffix.casefold() in _MODELS and file.name != path.name for file in path.parent.iterdir())


def are_in_doubt(path: str | Path) -> bool:
    """Returns whether there are settings in a file's folder that may be another file's."""
    return Path(path).with_name(CONFIG).is_file() and not belongs(path)


def keeps_alpha_beside(names: Collection[str], metadata: Mapping[str, str]) -> bool:
    """Returns by its tensors and header whether PEFT wrote a file, and no alpha with them: that is in `CONFIG`."""
    of_peft = _KEY in metadata or any(name.startswith("base_model.model.") for name in names)
    return of_peft and not any(name.endswith(".alpha") for name in names)


def _plain(pattern: str) -> str:
    """Returns the name that a pattern stands for, or nothing where it stands for more than one."""
    name = re.sub(r"^(?:\^|\(?\.\*\\?\.\)?\??)+|\$$", "", pattern).replace("\\.", ".")
    return name if re.fullmatch(r"[\w.-]+", name) else ""


def _settings(text: str, component: str) -> dict[str, Any]:
    parsed = read_json(text)
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
