"""Reading the header of a safetensors file: whole files in full, damaged ones in one sentence."""

import io
import json
import os
import re
import threading
import tracemalloc
from math import prod

import pytest
import torch
from pack.tests.toy.models import expert_shapes
from pack.weights.formats.header import TensorInfo, is_safetensors
from pack.weights.formats.model_file import open_model
from safetensors.torch import save_file


def test_reads_names_types_shapes_and_metadata(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2, 3, dtype=torch.bfloat16), "b": torch.zeros(0)}, path, {"key": "wörd"})

    header = open_model(path).header

    assert header.tensors == {"a": TensorInfo("BF16", (2, 3)), "b": TensorInfo("F32", (0,))}
    assert header.metadata == {"key": "wörd"}


def a14b(path):
    """Writes the file of a 14B expert in fp16, 28.6 GB without its tensors: it takes no room on the disk."""
    header, end = {}, 0
    for name, shape in expert_shapes(36, 16, 5120, 40, 13824):
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    raw = packed(json.dumps(header).encode())
    path.write_bytes(raw)
    os.truncate(path, len(raw) + end)


def test_reads_only_the_header_of_a_large_file(tmp_path):
    path = tmp_path / "x.safetensors"
    a14b(path)
    assert path.stat().st_size > 28e9

    tracemalloc.start()
    header = open_model(path).header
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(header.tensors) == 1095
    assert header.size("patch_embedding.weight", 0) == 5120
    assert most < 2_000_000  # bytes


def test_asks_the_system_for_the_header_and_no_more(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    a14b(path)
    counted = CountedFile(path)
    monkeypatch.setattr("pack.weights.formats.model_file.open_file", lambda _: counted)

    assert len(open_model(path).header.tensors) == 1095
    assert counted.bytes_read < 200_000
    assert counted.closed


class CountedFile(io.FileIO):
    """A file that counts what is read from it."""

    bytes_read = 0

    def read(self, size=-1, /):
        content = super().read(size)
        self.bytes_read += len(content)
        return content


def test_metadata_may_be_empty_or_missing(tmp_path):
    for number, raw in enumerate((b"{}", b'{"__metadata__": null}', b' {"__metadata__" : { } } \n ')):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(packed(raw))
        assert open_model(path).header.metadata == {}


TAGS = json.dumps({"10_cat": {f'a "{n}" cat, 猫': n for n in range(25_000)}}, ensure_ascii=False)
NOTE = 'a "note" \\ of \n\u2028 猫 ' * 30_000  # 0.8 million bytes in the header


def header_with(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        packed(json.dumps({"__metadata__": metadata, "a": entry(0, 1)}, ensure_ascii=False).encode(), b"1")
    )
    header = open_model(path).header
    assert header.tensors == {"a": TensorInfo("U8", (1,))}
    return header


@pytest.mark.parametrize("notes", [0, 2], ids=["a short header", "a long header"])
def test_a_trainers_long_notes_are_read(tmp_path, notes):
    metadata = {"title": "Cats", "ss_tag_frequency": TAGS, **{f"note {n}": NOTE for n in range(notes)}, "z": "2"}
    header = header_with(tmp_path, metadata)
    assert header.metadata == metadata
    assert header.unread == ()


def test_notes_beyond_three_million_bytes_are_left_out_and_named(tmp_path):
    long = {"note 3": NOTE, "ss_tag_frequency": TAGS}
    metadata = {"a": "1", **{f"note {n}": NOTE for n in range(3)}, **long, "words": "cat, " * 400, "z": "2"}
    header = header_with(tmp_path, metadata)
    assert header.metadata == metadata | dict.fromkeys(long, "")
    assert header.unread == tuple(long)


@pytest.mark.parametrize("notes", [0, 2], ids=["a short header", "a long header"])
def test_a_note_that_is_too_long_by_itself_is_left_out_and_named(tmp_path, notes):
    kept = {"a": "x" * 800_000, **{f"note {n}": NOTE for n in range(notes)}}
    header = header_with(tmp_path, {"b": "y" * 800_001, **kept})
    assert header.metadata == {"b": "", **kept}
    assert header.unread == ("b",)


def test_tells_where_the_bytes_of_a_tensor_are(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.tensor([1.5, 2.5]), "b": torch.tensor([7], dtype=torch.uint8)}, path)
    info = open_model(path).header.tensors["b"]
    assert path.read_bytes()[info.begin : info.begin + info.length] == b"\x07"


def entry(begin, end, **changes):
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]} | changes


def packed(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


EMPTY = json.dumps(entry(0, 0)).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has 0 bytes and no header."),
        (b"\x02\x00\x00", "it has 3 bytes and no header."),
        (bytes(100), "it has 100 bytes and no header."),
        (b"\xff" * 16, "its header would be 18446744073709551615 bytes long, at most 10000000 are allowed."),
        ((100).to_bytes(8, "little") + b"{}", "it ends within its header, after 10 bytes."),
        (packed({"a": entry(0, 9)}, b"1234"), "it holds 4 of the 9 bytes that its header lists."),
        (packed({"a": entry(0, 2), "b": entry(1, 4)}, b"1234"), "its tensors overlap or leave gaps."),
        (packed({"a": entry(1, 4)}, b"1234"), "its tensors overlap or leave gaps."),
        (packed({"a": entry(0, 0, data_offsets=[4, 0])}, b""), "a tensor's place is not as long as its type"),
        (packed(b"nothing"), "its header is not the JSON of the format."),
        (packed(b"\xff\xfe{}"), "its header is not the JSON of the format."),
        (packed(b"[" * 200_000), "its header is not the JSON of the format."),
        (packed(b'{"a": ' + b"[" * 200_000), "its header is not the JSON of the format."),
        (packed(b'{"a": {"shape": ' + b"[" * 900 + b"}}"), "its header is not the JSON of the format."),
        (packed(b'{"a'), "its header is not the JSON of the format."),
        (packed(b"{}}"), "its header is not the JSON of the format."),
        (packed({"a" * 300: entry(0, 0)}), "a tensor's name has more than 200 bytes."),
        (packed({str(n): entry(0, 0) for n in range(20_001)}), "it lists more than 20000 tensors."),
        (packed({"a": entry(0, 4, dtype="F32", shape=[2])}, b"1234"), "a tensor's place is not as long as its type"),
        (packed({"a": entry(0, 4, dtype="F32", shape=[10**300, 10**300])}, b"1234"), "a tensor's place is not as long"),
        (
            packed(b'{"\\ud800": ' + json.dumps(entry(0, 0)).encode() + b"}"),
            "its header is not the JSON of the format.",
        ),
        (
            packed({"__metadata__": {"a": "\ud800"}}),
            "its metadata is not a table of at most 20000 texts, each",
        ),
        (packed([]), "its header is not the JSON of the format."),
        (packed(b'{"a": {}, "a": {}}'.replace(b"{}", EMPTY)), "a name occurs twice in its header."),
        (packed(b'{"__metadata__": {}, "__metadata__": {}}'), "a name occurs twice in its header."),
        (packed(b'{"a": {"dtype": 1, "dtype": 2}}'), "a name occurs twice in its header."),
        (packed(b'{"__metadata__": {"a": "", "a": ""}}'), "a name occurs twice in its header."),
        (
            packed({"__metadata__": {"a": 1}}),
            "its metadata is not a table of at most 20000 texts, each",
        ),
        (packed({"__metadata__": {str(n): "" for n in range(20_001)}}), "its metadata is not a table of at most 20000"),
        (
            packed({"__metadata__": ["a"]}),
            "its metadata is not a table of at most 20000 texts, each",
        ),
        (packed({"a": None}), "an entry of its header is not the type, shape and place of a tensor."),
        (packed({"a": entry(0, 1, shape=[True])}, b"1"), "an entry of its header is not the type, shape"),
        (packed({"a": entry(0, 1, shape=[-1])}, b"1"), "an entry of its header is not the type, shape"),
        (packed({"a": entry(0, 1, dtype=1)}, b"1"), "an entry of its header is not the type, shape"),
        (packed({"a": entry(0, 1, data_offsets=[0])}, b"1"), "an entry of its header is not the type, shape"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, content, reason):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"^'x\.safetensors' is ") as caught:
        open_model(path)

    assert str(caught.value).startswith(f"'x.safetensors' is not a whole safetensors file: {reason}")
    assert str(caught.value).endswith("Download it again.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(90), "it is a PyTorch file. Choose its safetensors version."),
        (b"GGUF" + bytes(90), "it is a GGUF file. Load it with a GGUF loader node."),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer, a note that stands for the file."),
        (b"<!DOCTYPE html><html>", "it is a web page, saved in place of the file. Download the file itself."),
        (b"<html><head></head>", "it is a web page, saved in place of the file. Download the file itself."),
    ],
)
def test_a_file_of_another_format_is_named_with_its_own_remedy(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=re.escape(f"'x.safetensors' is not a whole safetensors file: {message}")):
        open_model(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"it is a folder or a device\. Choose a file\.$"):
        open_model(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "x.safetensors")
    caught = []

    def read():
        try:
            open_model(tmp_path / "x.safetensors")
        except ValueError as err:
            caught.append(str(err))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    assert caught == ["'x.safetensors' is not a whole safetensors file: it is a folder or a device. Choose a file."]


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        open_model(tmp_path / "x.safetensors")
    assert str(caught.value) == "'x.safetensors' is no longer there. Refresh the page and choose another file."


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_file_that_the_system_keeps_from_us_is_named_without_its_folder(tmp_path):
    looped = tmp_path / "x.safetensors"
    looped.symlink_to(looped)
    with pytest.raises(
        RuntimeError, match=r"^'x.safetensors' cannot be read: .*\. Check disk and permissions\.$"
    ) as caught:
        open_model(looped)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(("name", "known"), [("a.safetensors", True), ("a.SFT", True), ("a.pth", False), ("a", False)])
def test_knows_by_its_suffix_which_file_has_a_header(name, known):
    assert is_safetensors(name) is known


@pytest.mark.parametrize("spare", [1, 16, 4096])
def test_bytes_after_the_last_tensor_are_counted_and_taken(tmp_path, spare):
    path = tmp_path / "x.safetensors"
    path.write_bytes(packed({"a": entry(0, 3)}, bytes(3 + spare)))
    header = open_model(path).header
    assert (header.spare, header.tensors["a"].length) == (spare, 3)
