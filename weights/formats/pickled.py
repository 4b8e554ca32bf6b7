"""What a pickle of tensors lists, without running it.

A pickle is a small program. `torch.load` with weights_only runs a harmless part of it, which can still ask for any
amount of memory; here nothing is called at all: `pickletools` reads the instructions, and those that `torch.save`
writes are followed by hand.
"""

from __future__ import annotations

import math
import pickletools
import struct
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...common.text import printable
from .header import BITS, DamageError, ForeignError

MAX_STEPS = 300_000  # instructions; the pickle of a 14B expert has 60 000
MAX_DIMENSIONS = 8  # of a tensor; convolutions of a model have 5
MAX_NUMBER = 2**48  # of any size or place; a pickle may hold numbers that take minutes to multiply

_STORAGES = {  # how PyTorch names the storage of a type -> safetensors' name of the type
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "UntypedStorage": "U8",
}  # fmt: skip
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
}  # fmt: skip
_GLOBALS: dict[str, Any] = {  # all that a pickle may name, and what stands for it here
    **{f"torch {name}": ("storage", dtype) for name, dtype in _STORAGES.items()},
    **{f"torch.storage {name}": ("storage", dtype) for name, dtype in _STORAGES.items()},
    **{f"torch {name}": ("dtype", dtype) for name, dtype in _DTYPES.items()},
    "collections OrderedDict": "dict",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_tensor_v3": "tensor",
    "torch._utils _rebuild_parameter": "parameter",
    # What trainers keep beside the tensors, and ComfyUI's own reader lets pass.
    "torch Size": None,
    "torch device": None,
    "torch.torch_version TorchVersion": None,
    "numpy.core.multiarray scalar": None,
    "numpy dtype": None,
    "_codecs encode": None,
    "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint": None,
}


class Storage(NamedTuple):
    """The bytes that one or more tensors are views of."""

    dtype: str
    key: str  # the name of its record in the archive
    items: int

    @property
    def length(self) -> int:
        """How many bytes they are."""
        return self.items * BITS[self.dtype] // 8


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    offset: int  # bytes from the begin of the storage
    in_row_order: bool


def listed_tensors(program: bytes) -> dict[str, Tensor]:
    """Returns the tensors of a pickle, from where ComfyUI takes them; DamageError if it is damaged or does more."""
    top = _Pickle(program).run()
    if isinstance(top, dict):
        only = next(iter(top.values())) if len(top) == 1 else None
        listed = top.get("state_dict", only if isinstance(only, dict) else top)
        listed = listed if isinstance(listed, dict) else {}
        tensors = {name: tensor for name, tensor in listed.items() if isinstance(tensor, Tensor)}
        if tensors:
            return {_checked(name): tensor for name, tensor in tensors.items()}
    raise ForeignError("it lists no tensors by name. Choose the model file itself")


def _checked(name: Any) -> str:
    try:
        name.encode("utf-8")
    except (AttributeError, UnicodeEncodeError) as err:  # a number, or half a character, which no log or page can show
        raise DamageError("a tensor's name is no text") from err
    return name


class _Pickle:
    """Follows the instructions of a pickle that lists tensors; calls nothing."""

    def __init__(self, program: bytes) -> None:
        self.program = program
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Returns what the pickle describes."""
        try:
            self._follow()
            return self.stack.pop()
        except DamageError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as err:
            raise DamageError("its list of tensors is damaged") from err

    def _follow(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools reads names as Python would read them in a program
            for steps, (operation, argument, _) in enumerate(pickletools.genops(self.program)):
                if steps == MAX_STEPS:
                    raise DamageError(f"its list of tensors has more than {MAX_STEPS} instructions")
                if operation.name not in _ACTIONS:
                    raise DamageError(
                        f"its list of tensors has the instruction {operation.name}, which PyTorch does not write"
                    )
                _ACTIONS[operation.name](self, argument)

    def push(self, value: Any) -> None:
        """Puts a value onto the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Begins a stack above the present one."""
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Returns the stack that the last mark began, and goes back to the one below."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        """Takes the last few values from the stack."""
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def set(self, items: Sequence[Any]) -> None:
        """Puts keys and values, in turn, into the dict on the stack."""
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(target, dict) and isinstance(key, str | int):  # others could be too deep to be hashed
                target[key] = value


def _remember(pickle: _Pickle, place: int) -> None:
    pickle.memo[place] = pickle.stack[-1]


_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "BINSTRING")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_LIST": None}
_ACTIONS: dict[str, Callable[[_Pickle, Any], object]] = {
    **dict.fromkeys(_LITERALS, _Pickle.push),
    **{name: lambda pickle, _, value=value: pickle.push(value) for name, value in _CONSTANTS.items()},
    **{f"TUPLE{count}": lambda pickle, _, count=count: pickle.push(pickle.last(count)) for count in (1, 2, 3)},
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda pickle, place: pickle.push(pickle.memo[place])),
    "EMPTY_DICT": lambda pickle, _: pickle.push({}),
    "MARK": lambda pickle, _: pickle.mark(),
    "TUPLE": lambda pickle, _: pickle.push(tuple(pickle.since_mark())),
    "APPEND": lambda pickle, _: pickle.last(1),  # no list holds a tensor of the model
    "APPENDS": lambda pickle, _: pickle.since_mark(),
    "BUILD": lambda pickle, _: pickle.last(1),  # what a module notes about itself
    "SETITEM": lambda pickle, _: pickle.set(pickle.last(2)),
    "SETITEMS": lambda pickle, _: pickle.set(pickle.since_mark()),
    "GLOBAL": lambda pickle, name: pickle.push(_known(name)),
    "BINPERSID": lambda pickle, _: pickle.push(_storage(*pickle.last(1))),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda pickle, _: pickle.push(_made(*pickle.last(2)))),
    **dict.fromkeys(("PROTO", "STOP"), lambda *_: None),
}


def _known(name: str) -> Any:
    if name not in _GLOBALS:
        shown = printable(name.replace(" ", "."), 60)
        raise ForeignError(f"it holds code, '{shown}', which is not run. Choose its safetensors version")
    return _GLOBALS[name]


def _storage(identity: Any) -> Storage:
    match identity:
        case ("storage", ("storage", str(dtype)), str(key), _, int(items)) if 0 <= items < MAX_NUMBER:
            return Storage(dtype, key, items)
    raise ValueError


def _made(called: Any, arguments: Any) -> Any:
    """Returns what stands for the result of a call."""
    match called, arguments:
        case "dict", ():
            return {}
        case "parameter", (Tensor() as tensor, *_):
            return tensor
        case "tensor", (Storage() as storage, int(offset), tuple(shape), tuple(stride), _, _, *rest):
            dtype = rest[0][1] if rest and rest[0] and rest[0][0] == "dtype" else storage.dtype
            return _tensor(storage, dtype, offset, shape, stride)
        case None, _:
            return None
    raise ValueError


def _tensor(storage: Storage, dtype: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    if len(shape) > MAX_DIMENSIONS or len(stride) != len(shape):
        raise ValueError
    if not all(type(number) is int and 0 <= number < MAX_NUMBER for number in (offset, *shape, *stride)):
        raise ValueError
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    size, items = BITS[dtype] // 8, math.prod(shape)
    if items and (offset + last + 1) * size > storage.length:
        raise DamageError("a tensor is longer than its bytes")
    if items and (offset + items) * size > storage.length:  # `expand` lets four bytes stand for any shape
        raise DamageError("a tensor repeats its bytes to seem larger than they are, as no model's does")
    return Tensor(storage, dtype, shape, offset * size, _in_row_order(shape, stride))


def _in_row_order(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    step = 1
    for size, given in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and given != step:
            return False
        step *= size
    return True
