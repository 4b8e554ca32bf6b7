"""TurboDiffusion's and rCM's own checkpoints of Wan, as ComfyUI expects them, converted while they are read.

Format: thu-ml/TurboDiffusion aaecff5 (Apache-2.0), inference/modify_model.py and ops/quant. It differs in three places:
the patch convolution is a linear layer, the linear layers of the blocks may be int8 with a scale for each tile of
128 x 128, and sparse attention (SLA) adds a projection to each block. Dense merges have only the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil

import torch

from ..formats.header import Header, ModelFile, TensorInfo, listed
from ..formats.model_file import DTYPES, LazyTensor, Read, tensors_of
from . import transformer
from .transformer import wan_prefix

TILE = 128  # rows and columns that share a scale
HEAD = 128  # channels of an attention head

# block index -> weight [128, 128] and bias [128] of the projection that SLA adds to its linear attention
SlaProjections = dict[int, tuple[torch.Tensor, torch.Tensor]]

_WRAPPER = "_checkpoint_wrapped_module."
_SLA = "blocks.{}.self_attn.attn_op.local_attn.proj_l"
_SLA_MARK = ".attn_op.local_attn.proj_l."
_READ = (*transformer.FLOATS, "F8_E4M3", "F8_E5M2")  # types of a projection that mean something without a scale
_SCALES = ("weight_scale", "scale_weight")  # how ComfyUI names the scale of a layer's weight, today and formerly


def is_turbodiffusion(header: Header) -> bool:
    """Returns whether a Wan file is laid out as TurboDiffusion or rCM write it, so that ComfyUI does not read it."""
    prefix = wan_prefix(header)
    if prefix is None:
        return False
    patch = header.tensors.get(f"{prefix}patch_embedding.weight")
    flat = patch is not None and len(patch.shape) == 2
    if flat or any(name.endswith(".int8_weight") or _WRAPPER in name for name in header.tensors):
        return True
    # Someone may have given it ComfyUI's patch convolution; one with ComfyUI's scales is ComfyUI's to read.
    return is_marked(header) and not any(name.endswith(_SCALES) for name in header.tensors)


def is_marked(header: Header) -> bool:
    """Returns whether an expert has anything of the projections of sparse attention, in whichever layout."""
    return any(_SLA_MARK in name for name in header.tensors)


def has_projections(header: Header) -> bool:
    """Returns whether an expert has those projections, and they are no numbers with scales, which are not read here."""
    found = [(name.rpartition(".")[2], info.dtype) for name, info in header.tensors.items() if _SLA_MARK in name]
    return bool(found) and all(part in ("weight", "bias") and dtype in _READ for part, dtype in found)


def check_projections(file: ModelFile) -> None:
    """Refuses an expert of any layout that has some of the projections, or others than SLA's."""
    parts = _Parts(file.header)
    wanted = _sla_shapes(parts.layers)
    transformer.check_whole(file, [name for name in wanted if name not in parts.sla])
    odd = list(transformer.misfits(parts.sla, wanted, {}))
    if odd:
        raise ValueError(f"'{file.name}' has tensors of other sizes than SLA's: {listed(odd)}. Download it again.")


def projections(file: ModelFile) -> SlaProjections:
    """Reads the projections of an expert that has them, in whichever layout."""
    with tensors_of(file.path) as read:
        return _read_sla(_Parts(file.header).sla, read)


def check(file: ModelFile) -> list[str]:
    """Refuses such an expert that is not complete.

    Returns:
        What a person should know about one that is.

    Raises:
        ValueError: Tensors are missing, have sizes that do not fit together, or types that no model has.
    """
    parts = _Parts(file.header)
    problem = parts.problem()
    if problem:
        raise ValueError(f"'{file.name}' is not a whole TurboDiffusion checkpoint: {problem}. Download it again.")
    odd = parts.odd()
    if odd:
        raise ValueError(
            f"'{file.name}' stores some tensors in a way that is not converted: {listed(odd)}. Choose another version."
        )
    notes = []
    if parts.scales:
        notes.append(
            f"'{file.name}' stores {len(parts.scales)} layers as int8 in blocks, which ComfyUI cannot compute with. "
            "They are converted to bf16 while loading, so the model takes as much memory as the file without int8."
        )
    if parts.unknown:
        notes.append(f"'{file.name}' has tensors that no Wan model has. They are left out: {listed(parts.unknown)}.")
    return notes


@contextmanager
def converted(file: ModelFile) -> Iterator[dict[str, LazyTensor]]:
    """Opens a checkpoint that `check` has passed as the state that ComfyUI expects.

    Its tensors are read and converted one by one when they are copied into the model, while the context lasts.

    Returns:
        The state by ComfyUI's names, without the projections of sparse attention, which it does not know.
    """
    parts = _Parts(file.header)
    with tensors_of(file.path) as read:
        state = {}
        for name, info in parts.weights.items():
            scale = parts.scales.get(name)
            shape = info.shape
            if name == "patch_embedding.weight":  # the channels come before the 1 x 2 x 2 of a patch in both layouts
                shape = (shape[0], info.shape[1] // 4, 1, 2, 2) if len(shape) == 2 else shape
            dtype = torch.bfloat16 if scale else DTYPES[info.dtype]
            state[name] = LazyTensor(shape, dtype, partial(_read, read, info, scale, shape))
        yield state


def _read(read: Read, info: TensorInfo, scale: TensorInfo | None, shape: tuple[int, ...]) -> torch.Tensor:
    tensor = read(info)
    return dequantise(tensor, read(scale)) if scale else tensor.view(shape)


def dequantise(quantised: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Multiplies each tile by its scale.

    Args:
        quantised: Tensor[N, K], int8.
        scale: Tensor[ceil(N / 128), ceil(K / 128)].
    Returns:
        Tensor[N, K], bfloat16.
    """
    rows, columns = quantised.shape
    weight = torch.empty(rows, columns, dtype=torch.bfloat16)
    for band, start in enumerate(range(0, rows, TILE)):  # a band at a time keeps the float32 between them small
        by_column = scale[band].float().repeat_interleave(TILE)[:columns]
        weight[start : start + TILE] = quantised[start : start + TILE] * by_column
    return weight


def _read_sla(found: dict[str, TensorInfo], read: Read) -> SlaProjections:
    names = {block: _SLA.format(block) for block in range(len(found) // 2)}
    return {block: (read(found[f"{name}.weight"]), read(found[f"{name}.bias"])) for block, name in names.items()}


class _Parts:
    """The tensors of a checkpoint, sorted by what becomes of them; the names are ComfyUI's."""

    def __init__(self, header: Header) -> None:
        self.weights: dict[str, TensorInfo] = {}
        self.scales: dict[str, TensorInfo] = {}
        self.sla: dict[str, TensorInfo] = {}
        self.unknown: list[str] = []
        self.twice: list[str] = []
        tensors = self._named_plainly(header)
        self.layers = transformer.layers(tensors)
        wanted, wanted_sla = set(transformer.shapes(self.layers)), set(_sla_shapes(self.layers))
        for name, info in tensors.items():
            layer, _, part = name.rpartition(".")
            if part == "int8_weight" and f"{layer}.weight" in wanted:
                self._put(self.weights, f"{layer}.weight", info)
            elif part == "scale" and f"{layer}.int8_weight" in tensors and f"{layer}.weight" in wanted:
                self._put(self.scales, f"{layer}.weight", info)
            elif name in wanted_sla:
                self._put(self.sla, name, info)
            elif name in wanted:
                self._put(self.weights, name, info)
            else:
                self.unknown.append(name)

    def _named_plainly(self, header: Header) -> dict[str, TensorInfo]:
        prefix = wan_prefix(header) or ""
        tensors: dict[str, TensorInfo] = {}
        for name, info in header.tensors.items():
            self._put(tensors, name.removeprefix(prefix).replace(_WRAPPER, ""), info)
        return tensors

    def _put(self, place: dict[str, TensorInfo], name: str, info: TensorInfo) -> None:
        if name in place:
            self.twice.append(name)
        place[name] = info

    def problem(self) -> str | None:
        """Returns what is wrong, as the middle of a sentence."""
        shapes = transformer.shapes(self.layers) | (_sla_shapes(self.layers) if self.sla else {})
        present = self.weights | self.sla
        missing = [name for name in shapes if name not in present]
        missing += [
            f"{name.removesuffix('weight')}scale"
            for name, info in self.weights.items()
            if info.dtype == "I8" and name not in self.scales
        ]
        if self.twice:
            return f"it holds twice {listed(self.twice)}"
        if missing:
            return f"it lacks {listed(missing)}"
        misfits = [*transformer.misfits(present, shapes, transformer.widths(self.weights)), *self._scale_misfits()]
        if misfits:
            return f"the sizes of some tensors do not fit the others: {listed(misfits)}"
        return None

    def odd(self) -> list[str]:
        """Returns the tensors whose type or place is not one that is read here."""
        present = self.weights | self.sla
        odd = [name for name, info in present.items() if info.dtype not in DTYPES or info.begin is None]
        odd += [name for name in self.scales if self.weights[name].dtype != "I8"]
        odd += [
            f"{name.removesuffix('weight')}scale"
            for name, info in self.scales.items()
            if info.dtype not in transformer.FLOATS or info.begin is None
        ]
        return odd + [name for name in self.unknown if name.rpartition(".")[2] in _SCALES]

    def _scale_misfits(self) -> Iterator[str]:
        for name, info in self.scales.items():
            wanted = tuple(ceil(size / TILE) for size in self.weights[name].shape)
            if info.shape != wanted:
                yield f"{name.removesuffix('weight')}scale"


def _sla_shapes(layers: int) -> dict[str, tuple[str, ...]]:
    shapes: dict[str, tuple[str, ...]] = {}
    for layer in range(layers):
        shapes |= transformer.linear(_SLA.format(layer), str(HEAD), str(HEAD))
    return shapes
