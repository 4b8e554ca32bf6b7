"""Strategies that draw PyTorch files which no loader should take, as malformed.py draws safetensors files."""

import io
import pickle
import struct
import warnings
import zipfile

import torch
from hypothesis import strategies as st

from .malformed import SMILE, Broken


def torch_file(tensors: object = None) -> dict[str, bytes]:
    """Returns the records of a file that `torch.save` writes."""
    file = io.BytesIO()
    torch.save({"a": torch.arange(6.0), "b": torch.zeros(3)} if tensors is None else tensors, file)
    with zipfile.ZipFile(file) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


RECORDS = torch_file()


def archived(
    records: dict[str, bytes], folder: str = "archive/", compression: int = zipfile.ZIP_STORED, copies: int = 1
) -> bytes:
    """Returns a zip archive of these records."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the copies
        for name, content in list(records.items()) * copies:
            archive.writestr(folder + name, content)
    return file.getvalue()


def overlapping_records() -> bytes:
    """Returns an archive whose directory points to the same bytes for each of many tensors."""
    whole = bytearray(archived(torch_file({str(n): torch.zeros(1000) for n in range(9)})))
    first = whole.index(b"PK\x03\x04", whole.index(b"archive/data/0") - 40)
    at = whole.find(b"PK\x01\x02")
    while at >= 0:
        if b"archive/data/" in whole[at : at + 60]:
            whole[at + 42 : at + 46] = struct.pack("<I", first)
        at = whole.find(b"PK\x01\x02", at + 4)
    return bytes(whole)


def with_pickle(label: str, program: bytes) -> Broken:
    """Returns a whole PyTorch file but for its pickle."""
    return Broken(label, ".pth", archived({**RECORDS, "data.pkl": program}))


CANARY = "touch wan22_turbo_canary"
CALLS = [
    ("os", "system", (CANARY,)),
    ("posix", "system", (CANARY,)),
    ("subprocess", "Popen", (["touch", "wan22_turbo_canary"],)),
    ("builtins", "eval", (f"__import__('os').system({CANARY!r})",)),
    ("builtins", "exec", (f"import os; os.system({CANARY!r})",)),
    ("builtins", "getattr", ("", "upper")),
    ("builtins", "bytearray", (1 << 40,)),
    ("torch", "FloatTensor", (1 << 38,)),
    ("torch", "load", ("/etc/passwd",)),
    ("torch._utils", "_rebuild_sparse_tensor", ()),
    ("torch.hub", "load", ("a/b", "c")),
    ("runpy", "_run_code", ("1", {})),
    ("urllib.request", "urlopen", ("http://127.0.0.1/",)),
    ("shutil", "rmtree", ("wan22_turbo_nowhere",)),
    ("a\\nb", "\\x1b[31m" * 20, ()),
]


@st.composite
def code(draw: st.DrawFn) -> Broken:
    """A pickle that calls something, in each of the ways that there are, alone or among tensors."""
    module, name, arguments = draw(st.sampled_from(CALLS))
    values = pickle.dumps(arguments, 2)[2:-1]  # without PROTO and STOP
    called = b"c" + module.encode() + b"\n" + name.encode() + b"\n"
    text = draw(st.sampled_from(["global", "stack", "instance", "object", "new", "build"]))
    program = {
        "global": called + values + b"R",
        "stack": b"".join(b"\x8c%c%s" % (len(part), part.encode()) for part in (module, name)) + b"\x93" + values,
        "instance": b"(" + values + b"i" + called[1:],
        "object": b"(" + called + values + b"o",
        "new": called + values + b"\x81",
        "build": called + values + b"b",
    }[text]  # fmt: skip
    around = draw(
        st.sampled_from([b"\x80\x02%s.", b"\x80\x02}X\x01\x00\x00\x00a%ss.", b"\x80\x04\x95\x00\x00%s.", b"%s"])
    )
    whole = RECORDS["data.pkl"]
    placed = draw(
        st.sampled_from([around % program, whole[:2] + program + b"0" + whole[2:], whole[:-1] + program + b"."])
    )
    return with_pickle(f"code: {text}", placed)


def pickled_tensor(shape: bytes, stride: bytes, times: int = 1) -> bytes:
    """Returns a pickle of a tensor in a storage of six numbers, made `times` times; sizes are given as instructions."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
    arguments = b"(" + storage + b"K\x00(" + shape + b"t(" + stride + b"t\x89}tq\x02"
    calls = b"ctorch._utils\n_rebuild_tensor_v2\nq\x01" + arguments + b"R" + b"0h\x01h\x02R" * (times - 1)
    return b"\x80\x02}X\x01\x00\x00\x00a" + calls + b"s."


HUGE = b"\x8a\xff" + b"\x7f" * 255  # a number of 2039 bits
PICKLES = {
    "huge sizes": pickled_tensor(HUGE + b"q\x05" + b"h\x05" * 100_000, b"K\x00q\x06" + b"h\x06" * 100_000),
    "dimensions": pickled_tensor(b"K\x01" * 10_000, b"K\x00" * 10_000, times=1000),
    "a size beyond any": pickled_tensor(b"\x8a\x07\x00\x00\x00\x00\x00\x00\x01", b"K\x00"),
    "expanded": pickled_tensor(b"J\x00\x00\x00\x10K\x04", b"K\x00K\x00"),
    "nothing": b"",
    "no stop": RECORDS["data.pkl"][:-1],
    "a list": pickle.dumps([1, 2], 2),
    "a number": pickle.dumps(7, 2),
    "an empty dict": pickle.dumps({}, 2),
    "no tensors": pickle.dumps({"a": 1, "b": "c"}, 2),
    "numbers for names": torch_file({1: torch.zeros(1), 2: torch.zeros(1)})["data.pkl"],
    "an empty stack": b"\x80\x02R.",
    "an empty mark": b"\x80\x02t.",
    "an unknown place of the memo": b"\x80\x02h\x07.",
    "a huge place of the memo": b"\x80\x02}r\xff\xff\xff\x7f0" * 9 + b".",
    "a text longer than the file": b"\x80\x02X\xff\xff\xff\x7fa.",
    "a number longer than the file": b"\x80\x02\x8b\xff\xff\xff\x7fa.",
    "bytes longer than the file": b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.",
    "half a character": torch_file({"\ud800": torch.zeros(1), "b": torch.zeros(1)})["data.pkl"],
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent text": b"\x80\x02P/etc/passwd\n.",
    "a persistent number": b"\x80\x02K\x01Q.",
    "a key nested beyond a hash": b"\x80\x02}" + b")" + b"\x85" * 250_000 + b"K\x01s.",
    "tuples": b"\x80\x02)" + b"\x85" * 900_000 + b".",
    "dicts": b"\x80\x02" + b"}" * 900_000 + b".",
    "marks": b"\x80\x02" + b"(" * 900_000 + b".",
    "copies": b"\x80\x02}q\x00" + b"h\x00" * 400_000 + b".",
    "texts": b"\x80\x02" + b"X\x04\x00\x00\x00" + SMILE + b"X\x04\x00\x00\x00\xf0\x9f\x98\x80" * 100_000 + b".",
    "digits": b"\x80\x02I" + b"9" * 900_000 + b"\n.",
    "too long": b"\x80\x02" + b"N" * 3_000_000,
}  # fmt: skip


def pickles() -> st.SearchStrategy[Broken]:
    """Pickles that list no tensors, or ask for much."""
    return st.sampled_from([with_pickle(f"pickle: {name}", program) for name, program in PICKLES.items()])


@st.composite
def torch_truncated(draw: st.DrawFn) -> Broken:
    """A download that stopped."""
    whole = archived(RECORDS)
    return Broken(
        "truncated",
        draw(st.sampled_from([".pth", ".pt", ".bin", ".ckpt"])),
        whole[: draw(st.integers(0, len(whole) - 1))],
    )


@st.composite
def storages(draw: st.DrawFn) -> Broken:
    """Tensors whose bytes are missing, too few or too many."""
    change = draw(st.sampled_from(["data/0", "data/1"]))
    length = draw(st.integers(0, 60).filter(lambda size: size != len(RECORDS[change])))
    records = {**RECORDS, change: bytes(length)}
    if draw(st.booleans()):
        del records[change]
    return Broken("storage", ".pth", archived(records))


@st.composite
def sizes(draw: st.DrawFn) -> Broken:
    """Tensors that are larger than their storage, or sized by what is no number."""
    number = st.one_of(st.integers(7, 2**31 - 1), st.integers(-(2**31), -1))
    shape = draw(st.sampled_from([b"K\x06", b"\x85", b"K\x01\x85q"]))
    program = RECORDS["data.pkl"]
    at = program.index(b"K\x06\x85")  # the shape (6,) of the first tensor
    size = b"J" + struct.pack("<i", draw(number))
    changed = {b"K\x06": size, b"\x85": b"\x86", b"K\x01\x85q": b"N\x85q"}[shape]
    return with_pickle("size", program[:at] + program[at:].replace(shape, changed, 1))


@st.composite
def zips(draw: st.DrawFn) -> Broken:
    """Archives that PyTorch does not write, or whose directory lies."""
    whole = bytearray(archived(RECORDS))
    directory, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    label = draw(st.sampled_from(["encrypted", "method", "size", "offset", "count", "directory", "far"]))
    number = draw(st.integers(2**16, 2**32 - 2))
    if label == "encrypted":
        whole[directory + 8] |= 1
    elif label == "method":
        whole[directory + 10] = draw(st.sampled_from([1, 8, 9, 12, 14, 99]))
    elif label == "size":
        whole[directory + 20 : directory + 28] = struct.pack("<II", number, number)
    elif label == "offset":
        whole[directory + 42 : directory + 46] = struct.pack("<I", number)
    elif label == "count":
        whole[end + 12 : end + 16] = struct.pack("<I", number)
    elif label == "directory":
        whole[directory : directory + 4] = b"PK\x07\x07"
    else:
        whole[end + 16 : end + 20] = struct.pack("<I", number)
    return Broken(f"zip: {label}", ".pth", bytes(whole))


def archives() -> st.SearchStrategy[Broken]:
    """Whole zip archives of something else."""
    records = {
        "compressed": archived(RECORDS, compression=zipfile.ZIP_DEFLATED),
        "a zip bomb": archived({**RECORDS, "data.pkl": bytes(200_000_000)}, compression=zipfile.ZIP_DEFLATED),
        "TorchScript": archived({**RECORDS, "constants.pkl": b""}),
        "no pickle": archived({"a.txt": b""}),
        "two pickles": archived({"a/data.pkl": b"", "b/data.pkl": b""}, folder=""),
        "a folder too deep": archived(RECORDS, folder="a/b/"),
        "a document": archived({"word/document.xml": b"<a/>"}, folder=""),
        "big numbers first": archived({**RECORDS, "byteorder": b"big"}),
        "a long directory": archived({str(n): b"" for n in range(20_000)}),
        "the pickle alone": archived({"data.pkl": RECORDS["data.pkl"]}),
        "a name twice": archived(RECORDS, copies=2),
        "overlapping records": overlapping_records(),
    }
    return st.sampled_from([Broken(f"archive: {name}", ".pth", content) for name, content in records.items()])


TORCH = (torch_truncated(), code(), storages(), sizes(), zips())
LISTED = (pickles, archives)  # a few given files each
