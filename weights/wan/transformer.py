"""The tensors of a Wan I2V transformer and their sizes, by which an expert that is not whole is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..formats.header import Header, TensorInfo, listed
from .kinds import wan_prefix

FLOATS = ("F32", "F16", "BF16")  # types that show the shape of what they store; a packed one may not
_WIDTH, _LAYERS = 5120, 40  # of an A14B expert
_MAX_LAYERS = 100  # Wan has 40; a hostile file could list as many as it has tensors

Axes = tuple[str, ...]  # of a parameter, each by its name or by its number


def check(header: Header, file_name: str) -> None:
    """Refuses an expert in ComfyUI's layout that is not complete.

    Raises:
        ValueError: Tensors are missing, are too many, or have sizes that do not fit together.
    """
    prefix = wan_prefix(header) or ""
    tensors = {name.removeprefix(prefix): info for name, info in header.tensors.items()}
    wanted = shapes(layers(tensors))
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise ValueError(f"'{file_name}' is not whole: it lacks {listed(missing)}. Download it again.")
    blocks = len(_blocks(tensors))
    if blocks > layers(tensors):
        raise ValueError(
            f"'{file_name}' has {blocks} blocks, where a Wan model of its width has {layers(tensors)}. "
            "Choose another version."
        )
    plain = {name: info for name, info in tensors.items() if info.dtype in FLOATS}
    odd = list(misfits(plain, wanted, widths(tensors)))
    if odd:
        raise ValueError(
            f"'{file_name}' has tensors whose sizes do not fit the others: {listed(odd)}. Choose another version."
        )


def layers(tensors: Mapping[str, TensorInfo]) -> int:
    """Returns how many blocks there should be: of a small model as many as there are; a gap shows as missing."""
    head = tensors.get("head.modulation")
    if head is not None and head.shape[-1:] == (_WIDTH,):
        return _LAYERS
    return min(max(len(_blocks(tensors)), 1), _MAX_LAYERS)


def _blocks(tensors: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in tensors if name.startswith("blocks.")}


def linear(name: str, outputs: str, inputs: str) -> dict[str, Axes]:
    """Returns the parameters of a linear layer with their axes."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def shapes(count: int) -> dict[str, Axes]:
    """Returns all parameters of a Wan I2V transformer of so many blocks with their axes."""
    found: dict[str, Axes] = {
        "patch_embedding.weight": ("dim", "in", "1", "2", "2"),
        "patch_embedding.bias": ("dim",),
        **linear("text_embedding.0", "dim", "text"),
        **linear("text_embedding.2", "dim", "dim"),
        **linear("time_embedding.0", "dim", "freq"),
        **linear("time_embedding.2", "dim", "dim"),
        **linear("time_projection.1", "6 dim", "dim"),
        "head.modulation": ("1", "2", "dim"),
        **linear("head.head", "head", "dim"),
    }
    for block in (f"blocks.{layer}" for layer in range(count)):
        found |= {f"{block}.modulation": ("1", "6", "dim"), f"{block}.norm3.weight": ("dim",)}
        found |= {f"{block}.norm3.bias": ("dim",)}
        found |= linear(f"{block}.ffn.0", "ffn", "dim") | linear(f"{block}.ffn.2", "dim", "ffn")
        for attention in (f"{block}.self_attn", f"{block}.cross_attn"):
            found |= {f"{attention}.norm_{of}.weight": ("dim",) for of in "qk"}
            for projection in "qkvo":
                found |= linear(f"{attention}.{projection}", "dim", "dim")
    return found


def widths(tensors: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Reads the sizes that a Wan transformer may choose from one tensor each; no tensor of `shapes` may be missing."""

    def size(name: str, axis: int) -> int:
        shape = tensors[name].shape
        return shape[axis] if axis < len(shape) else 0

    dim, patch = size("head.modulation", 2), tensors["patch_embedding.weight"].shape
    return {
        "dim": dim,
        "6 dim": 6 * dim,
        "in": size("patch_embedding.weight", 1) // (4 if len(patch) == 2 else 1),
        "text": size("text_embedding.0.weight", 1),
        "freq": size("time_embedding.0.weight", 1),
        "ffn": size("blocks.0.ffn.0.weight", 0),
        "head": size("head.head.weight", 0),
    }


def misfits(tensors: Mapping[str, TensorInfo], wanted: Mapping[str, Axes], sizes: Mapping[str, int]) -> Iterator[str]:
    """Yields the tensors that do not have the sizes of their axes; those without axes may have any."""
    for name, info in tensors.items():
        shape = tuple(sizes[axis] if axis in sizes else int(axis) for axis in wanted.get(name, ()))
        flattened = (*shape[:1], 4 * shape[1]) if name == "patch_embedding.weight" else ()  # a patch is 1 x 2 x 2
        if name in wanted and info.shape not in (shape, flattened):
            yield name
