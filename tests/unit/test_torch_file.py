"""Listing a PyTorch file: whole files in full, others in one sentence, and nothing is run."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from pack.tests.toy.malformed import WHOLE
from pack.tests.toy.malformed_torch import CANARY, PICKLES, RECORDS, archived, overlapping_records, torch_file
from pack.weights.formats.model_file import open_model

STATE = {
    "half": torch.randn(3, 4).to(torch.float16),
    "brain": torch.randn(2, 2).to(torch.bfloat16),
    "float8": torch.ones(5).to(torch.float8_e4m3fn),
    "whole": torch.arange(9, dtype=torch.int8).view(3, 3),
    "number": torch.tensor(3),
    "part": torch.arange(10.0)[4:7],
    "turned": torch.randn(4, 5).t(),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "nothing": torch.zeros(0),
}
DTYPES = ["F16", "BF16", "F8_E4M3", "I8", "I64", "F32", "F32", "F32", "F32"]


def save(path, contents):
    torch.save(contents, path)
    return path


def check(path, state):
    header, raw = open_model(path).header, path.read_bytes()
    assert {name: info.shape for name, info in header.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in state.items()
    }
    for name, info in header.tensors.items():
        if info.begin is not None:
            stored = state[name].detach().reshape(-1).view(torch.uint8).numpy().tobytes()
            assert raw[info.begin : info.begin + info.length] == stored
    return header


def test_tells_names_types_shapes_and_places(tmp_path):
    header = check(save(tmp_path / "x.pth", STATE), STATE)
    assert [info.dtype for info in header.tensors.values()] == DTYPES
    assert [name for name, info in header.tensors.items() if info.begin is None] == ["turned"]


def test_tensors_may_share_their_bytes(tmp_path):
    whole = torch.arange(6.0)
    check(save(tmp_path / "x.pth", {"a": whole, "b": whole, "c": whole[2:]}), {"a": whole, "b": whole, "c": whole[2:]})


@pytest.mark.parametrize("inner", [None, 3, torch.ones(2), {}])
def test_a_state_that_holds_no_tensors_by_name_is_refused(tmp_path, inner):
    path = save(tmp_path / "x.pth", {"a": torch.ones(2), "state_dict": inner})  # ComfyUI looks under state_dict alone
    with pytest.raises(ValueError, match=r"it lists no tensors by name\. Choose the model file itself\.$"):
        open_model(path)


def test_reads_what_a_module_writes(tmp_path):
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).state_dict()
    assert isinstance(state, OrderedDict)
    check(save(tmp_path / "x.pt", state), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "losses": [1.5, 2]},
        lambda state: {"model": state},
        lambda state: {**state, "note": "x", "step": 7, "flag": True, "rest": (1, None), "size": torch.Size([2])},
    ],
)
def test_finds_the_tensors_where_comfyui_does(tmp_path, wrap):
    check(save(tmp_path / "x.ckpt", wrap(STATE)), STATE)


def test_neither_archives_without_checksums_nor_long_names_are_a_hindrance(tmp_path):
    path = tmp_path / "一个 长 name.pth"
    torch.serialization.set_crc32_options(False)
    try:
        check(save(path, STATE), STATE)
    finally:
        torch.serialization.set_crc32_options(True)


def patched(at, content, start=b"PK\x01\x02"):
    """Returns a whole file with other bytes in its zip directory."""
    raw = bytearray(archived(RECORDS))
    place = raw.index(start) + at
    raw[place : place + len(content)] = content
    return bytes(raw)


def pickled(program):
    return archived({**RECORDS, "data.pkl": program})


def legacy():
    file = io.BytesIO()
    torch.save(STATE, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def without(name):
    return archived({key: content for key, content in RECORDS.items() if key != name})


SYSTEM = b"\x80\x02cposix\nsystem\n" + pickle.dumps((CANARY,), 2)[2:-1] + b"R."
LIST = "its list of tensors "


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it does not begin as a zip archive. Download it again."),
        (WHOLE, "it is a safetensors file with another suffix. Rename it to end in .safetensors."),
        (legacy(), "it has the format that PyTorch wrote before version 1.6. Choose its safetensors version."),
        (b"GGUF" + bytes(99), "it is a GGUF file. Load it with a GGUF loader node."),
        (archived(RECORDS)[:-30], "its zip directory is damaged or cut off. Download it again."),
        (archived(RECORDS)[:900], "its zip directory is damaged or cut off. Download it again."),
        (patched(42, b"\x07"), "its zip directory points to nothing. Download it again."),
        (patched(42, struct.pack("<I", 2**31)), "its zip directory points to nothing. Download it again."),
        (archived({str(n): b"" for n in range(20_000)}), f"{LIST}has 1168890 bytes, at most 1000000 are allowed."),
        (pickled(b"N" * 1_000_001), f"{LIST}has 1000001 bytes, at most 1000000 are allowed. Download it again."),
        (archived(RECORDS, copies=2), "a name occurs twice in its zip directory. Download it again."),
        (archived({**RECORDS, "byteorder": b"big"}), "its numbers have the byte order of another kind of machine."),
        (archived({"a.txt": b""}), "it is a zip archive without the tensors of a model. Choose the model file itself."),
        (archived({**RECORDS, "constants.pkl": b""}), "it is a TorchScript program. Choose its safetensors version."),
        (without("data/1"), "the bytes of a tensor are missing. Download it again."),
        (archived({**RECORDS, "data/0": b"1234"}), "the bytes of a tensor are not as many as its type and shape need."),
        (overlapping_records(), "its tensors overlap. Download it again."),
        (
            archived(RECORDS, compression=zipfile.ZIP_DEFLATED),
            "it is compressed or encrypted, which PyTorch does not do. Choose another version.",
        ),
        (patched(8, struct.pack("<H", 1)), "it is compressed or encrypted, which PyTorch does not do."),
        (patched(20, struct.pack("<II", 9999, 9999)), "it ends within its tensors. Download it again."),
        (pickled(pickle.dumps({}, 2)), "it lists no tensors by name. Choose the model file itself."),
        (pickled(pickle.dumps([1, 2], 2)), "it lists no tensors by name. Choose the model file itself."),
        (pickled(PICKLES["numbers for names"]), "a tensor's name is no text. Download it again."),
        (pickled(PICKLES["half a character"]), "a tensor's name is no text. Download it again."),
        (pickled(b"\x80\x02" + b"N" * 300_001), f"{LIST}has more than 300000 instructions. Download it again."),
        (pickled(b""), f"{LIST}is damaged. Download it again."),
        (pickled(b"\x80\x02R."), f"{LIST}is damaged. Download it again."),
        (pickled(b"\x80\x04\x8c\x01a."), f"{LIST}has the instruction SHORT_BINUNICODE, which PyTorch does not write."),
        (pickled(SYSTEM), "it holds code, 'posix.system', which is not run. Choose its safetensors version."),
        (pickled(b"\x80\x02c\\x1b[31m" + b"a" * 99 + b"\nb\n."), f"it holds code, '[31m{'a' * 56}', which is not run."),
        (
            pickled(torch_file({"a": torch.zeros(6)})["data.pkl"].replace(b"K\x06\x85", b"K\x07\x85")),
            "a tensor is longer than its bytes. Download it again.",
        ),
        (pickled(PICKLES["huge sizes"]), f"{LIST}is damaged. Download it again."),
        (pickled(PICKLES["dimensions"]), f"{LIST}is damaged. Download it again."),
        (pickled(PICKLES["a size beyond any"]), f"{LIST}is damaged. Download it again."),
        (
            archived(torch_file({"a": torch.zeros(1).expand(2_000_000, 128)})),
            "a tensor repeats its bytes to seem larger than they are, as no model's does. Download it again.",
        ),
    ],
)  # fmt: skip
def test_what_is_no_whole_pytorch_file_is_refused_in_one_sentence(tmp_path, content, reason):
    path = tmp_path / "x.pth"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"^'x\.pth' is not a whole PyTorch file: ") as caught:
        open_model(path)

    assert str(caught.value).startswith(f"'x.pth' is not a whole PyTorch file: {reason}")


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"it is a folder or a device\. Choose a file\.$"):
        open_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^'x\.pth' is no longer there\. Refresh the page"):
        open_model(tmp_path / "x.pth")
