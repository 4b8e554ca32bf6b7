"""Strategies that draw safetensors files which no loader should take: broken by construction, hostile where possible.

A drawn file is a `Broken`: a label, a suffix, and its bytes; what cannot be bytes (a folder, a pipe) is in the test.
"""

import json
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from safetensors.torch import save

SMILE = "😀".encode()  # one such character makes a whole text four bytes a character in memory
BOMB = 9_900_000  # bytes, just below the largest header that is read
PARSED = 1_290_000  # bytes, just below the largest that is parsed as it is


class Broken(NamedTuple):
    """A file to write, and what is wrong with it."""

    label: str
    suffix: str
    content: bytes


def packed(raw: bytes, data: bytes = b"") -> bytes:
    """Returns a safetensors file with this header and these tensors."""
    return len(raw).to_bytes(8, "little") + raw + data


def entry(begin: int, end: int, **changes: object) -> dict[str, object]:
    """Returns the header's entry of a tensor of bytes."""
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end], **changes}


def header_file(label: str, header: object, data: bytes = b"", end: bytes = b"") -> Broken:
    """Returns a file with a header that JSON can write."""
    return Broken(label, ".safetensors", packed(json.dumps(header).encode() + end, data))


WHOLE = save({"a": torch.arange(6.0), "b": torch.zeros(3, dtype=torch.uint8)}, {"note": "x"})
JUNK = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.integers(-9, -1),
    st.dictionaries(st.text(), st.none()),
)  # fmt: skip


@st.composite
def truncated(draw: st.DrawFn) -> Broken:
    """A download that stopped."""
    return Broken("truncated", ".safetensors", WHOLE[: draw(st.integers(0, len(WHOLE) - 1))])


@st.composite
def absurd_length(draw: st.DrawFn) -> Broken:
    """A header longer than the file, or than any."""
    length = draw(st.one_of(st.integers(0, 1), st.integers(len(WHOLE), 2**64 - 1), st.integers(2**62, 2**64 - 1)))
    return Broken("absurd length", ".safetensors", length.to_bytes(8, "little") + WHOLE[8:])


@st.composite
def wrong_offsets(draw: st.DrawFn) -> Broken:
    """Tensors that overlap, leave gaps, end before they begin, or lie outside of the file."""
    offsets = st.one_of(st.integers(0, 12), st.integers(0, 10**30))
    places = st.tuples(offsets, offsets)
    first, second = draw(st.tuples(places, places).filter(lambda both: set(both) != {(0, 4), (4, 8)}))
    header = {"a": entry(*first, shape=[4]), "b": entry(*second, shape=[4])}
    return header_file("wrong offsets", header, bytes(8))


@st.composite
def overlapping(draw: st.DrawFn) -> Broken:
    """Tensors that are each right, but share bytes or leave some to nobody."""
    first, second = draw(st.integers(1, 9)), draw(st.integers(0, 9))
    gap = draw(st.integers(-first, 9).filter(bool))
    begin = first + gap
    header = {"a": entry(0, first), "b": entry(begin, begin + second + 1)}
    return header_file("overlap or gap", header, bytes(begin + second + 1))


@st.composite
def duplicates(draw: st.DrawFn) -> Broken:
    """A name that occurs twice, among tensors, in the metadata or within an entry."""
    name, one = json.dumps(draw(st.text(max_size=8))), json.dumps(entry(0, 0))
    text = draw(
        st.sampled_from(
            [
                f"{{{name}: {one}, {name}: {one}}}",
                f'{{"__metadata__": {{{name}: "", {name}: ""}}}}',
                f'{{"__metadata__": {{}}, "a": {one}, "__metadata__": {{}}}}',
                '{"a": {"shape": [], "dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}',
            ]
        )
    )
    return Broken("duplicate", ".safetensors", packed(text.encode()))


@st.composite
def deep_json(draw: st.DrawFn) -> Broken:
    """Brackets within brackets, closed or not, in any place."""
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    depth = draw(st.sampled_from([5, 50, 500, 5_000, 50_000, 500_000]))
    inside = opening * depth + (b"1" + closing * depth if draw(st.booleans()) else b"")
    around = draw(st.sampled_from([b'{"a":%s}', b'{"__metadata__":%s}', b'{"__metadata__":{"a":%s}}', b"%s", ENTRY_OF]))
    return Broken("deep JSON", ".safetensors", packed(around % inside))


ONE = json.dumps(entry(0, 0)).encode()
ENTRY_OF = b'{"a":{"dtype":"U8","shape":%s,"data_offsets":[0,0]}}'


@st.composite
def wrong_types(draw: st.DrawFn) -> Broken:
    """A value of another type, a huge or a negative number."""
    field = draw(st.sampled_from(["dtype", "shape", "data_offsets", "entry", "metadata", "metadata value"]))
    junk = draw(JUNK.filter(lambda value: not (field == "dtype" and isinstance(value, str))))
    if field == "entry":
        return header_file(field, {"a": junk})
    if field == "metadata":
        return header_file(field, {"__metadata__": junk if junk not in (None, {}) else [1]}, end=b"")
    if field == "metadata value":
        return header_file(field, {"__metadata__": {"a": junk if not isinstance(junk, str) else 1}})
    inner = draw(st.sampled_from([junk, [junk], [junk, junk], [10**400, 2], [1e308, 0]]))
    if field == "dtype" and isinstance(inner, str):
        inner = 1
    return header_file(field, {"a": entry(0, 4, **{field: inner})}, bytes(4))


@st.composite
def not_text(draw: st.DrawFn) -> Broken:
    """Bytes that are no UTF-8, half characters, control characters."""
    bad = draw(st.sampled_from([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\ud800", b"\n", b"\x00", b"\\x", b"\\"]))
    header = draw(st.sampled_from([b'{"a%s": {}}', b'{"__metadata__": {"a": "%s"}}', b'{"__metadata__": {"%s": ""}}']))
    return Broken("not text", ".safetensors", packed(header.replace(b"{}", ONE) % bad))


@st.composite
def no_json(draw: st.DrawFn) -> Broken:
    """A header of any bytes, or right JSON with something after it."""
    noise = draw(st.binary(min_size=2, max_size=40).filter(lambda raw: not raw.strip(b" \t\r\n").startswith(b"{")))
    return Broken("no JSON", ".safetensors", packed(draw(st.sampled_from([noise, b"{}" + noise.strip() + b"!"]))))


@st.composite
def foreign(draw: st.DrawFn) -> Broken:
    """Something else under the name of a model."""
    starts = [b"GGUF", b"version https://git-lfs", b"<!DOCTYPE html>", b"<html>", b"PK\x03\x04", b"\x80\x02"]
    start = draw(st.sampled_from(starts))
    suffix = draw(st.sampled_from([".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".bin"]))
    return Broken("foreign", suffix, start + draw(st.binary(min_size=8, max_size=99)))


def _header_bombs() -> dict[str, bytes]:
    """Headers of nearly the largest size; each would be many times as large in memory as in the file."""
    texts = b",".join(b'"%d":"%s"' % (n, SMILE * 240_000) for n in range(9))
    return {
        "lists": b'{"a":[' + b"[]," * (BOMB // 3),
        "lists in an entry": ENTRY_OF % (b"[" + b"[]," * (BOMB // 3)),
        "objects": b'{"a":' + b'{"":0},' * (BOMB // 7),
        "numbers": b'{"a":[' + b"99999," * (BOMB // 6),
        "a long number": ENTRY_OF % (b"[" + b"9" * BOMB + b"]"),
        "entries": b"{" + b",".join(b'"%d":%s' % (n, ONE) for n in range(BOMB // 80)) + b"}",
        "names": b"{" + b",".join(b'"%d%s":%s' % (n, SMILE * 45, ONE) for n in range(20_000)) + b"}]",
        "a name": b'{"' + b"n" * BOMB + b'":0}',
        "escapes": b'{"' + b'\\"' * (BOMB // 2),
        "escapes of both kinds": b'{"' + rb"\\\"" * (BOMB // 4),
        "metadata": b'{"__metadata__":{' + b",".join(b'"%d":""' % n for n in range(BOMB // 14)) + b"}]",
        "a metadata text": b'{"__metadata__":{"a":"' + SMILE * (BOMB // 4) + b'"}]',
        "metadata texts": b'{"__metadata__":{' + texts + b"}]",
        "the longest metadata text": b'{"__metadata__":{"a":"' + SMILE * 740_000 + b'"}]',
        "the longest escaped metadata text": b'{"__metadata__":{"a":"' + b"\\n" * 1_400_000 + SMILE + b'"}]',
        "escaped metadata": b'{"__metadata__":{"a":"' + b"\\ud83d\\ude00" * 160_000 + b'"}]',
        "spaces": b" " * BOMB,
        "parsed lists": b'{"a":[' + b"[]," * (PARSED // 3),
        "parsed objects": b'{"a":[' + b'{"":0},' * (PARSED // 7),
        "parsed names": b"{" + b",".join(b'"%d%s":0' % (n, SMILE) for n in range(PARSED // 14)) + b"}",
        "wide notes": b'{"__metadata__":{"a":"' + b"x" * BOMB + SMILE + b'"}]',
    }  # fmt: skip


NESTED = ["[" + "[]," * count + "[]]" for count in (266_000, 950_000)]  # just below what is parsed, and kept
TAGS = '{"a":{' + ",".join(f'"{n}":1' for n in range(70_000)) + "}}"
# Metadata that a whole file may have, and that takes many times as much memory once it is parsed.
METADATA_BOMBS = [
    {name: text}
    for name in ("software", "ss_tag_frequency", "lora_adapter_metadata", "_quantization_metadata")
    for text in (*NESTED, TAGS)
]


def with_metadata(metadata: dict[str, str]) -> Broken:
    """Returns a whole file with metadata that nobody should parse carelessly."""
    name, text = next(iter(metadata.items()))
    return Broken(f"{name} {text[:2]} {len(text)}", ".safetensors", save({"a": torch.zeros(1)}, metadata))


def layers_said_at_length() -> Broken:
    """Returns a whole file with many layers that each say their format at the greatest length."""
    text = torch.tensor(list(b"[" + b"[]," * 3_300 + b"[]]"), dtype=torch.uint8)
    return Broken("comfy_quant", ".safetensors", save({f"{n}.comfy_quant": text.clone() for n in range(600)}))


def header_bombs() -> st.SearchStrategy[Broken]:
    """Headers of nearly the largest size."""
    return st.sampled_from(
        [Broken(f"bomb: {name}", ".safetensors", packed(raw)) for name, raw in _header_bombs().items()]
    )


SAFETENSORS = (
    truncated(), absurd_length(), wrong_offsets(), overlapping(), duplicates(), deep_json(), wrong_types(), not_text(),
    no_json(), foreign(),
)  # fmt: skip
LISTED = (header_bombs,)  # a few given files; made by who needs them, as that takes a second
