"""Files that are damaged or hostile: one clear sentence for each, and nothing else happens."""

import json
import os
import re
import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pack.tests.toy import malformed, malformed_torch, read_files
from pack.weights.formats import header
from pack.weights.formats.model_file import open_model
from safetensors import SafetensorError, safe_open

drawn = settings(
    derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
MEMORY = 64_000_000  # bytes
SENTENCE = re.compile(
    r"ValueError: '{name}' is not a whole (safetensors|PyTorch) file: [^\n]+\. "
    r"(Choose|Download|Load|Rename)( [\w.]+)+\.$"
    r"|RuntimeError: '{name}' cannot be read: [\w ]+\. Check disk and permissions\.$"
    r"|FileNotFoundError: '{name}' is no longer there\. Refresh the page and choose another file\.$".replace(
        "{name}", r"[\w .-]+"
    )
)


def corpus():
    """Draws at least 200 different broken files, some from each strategy."""
    found = {}
    for strategy in (*malformed.SAFETENSORS, *malformed_torch.TORCH):

        @settings(drawn, max_examples=30)
        @given(strategy)
        def draw(broken):
            found[broken.suffix, broken.content] = broken

        draw()
    for made in (*malformed.LISTED, *malformed_torch.LISTED):
        found |= {(broken.suffix, broken.content): broken for broken in made().elements}
    return list(found.values())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What a process of its own says about each file of the corpus, by name."""
    folder = tmp_path_factory.mktemp("models")
    write(folder, corpus())
    add_what_is_no_file(folder)
    return read(folder, tmp_path_factory.mktemp("elsewhere")), folder


def write(folder, files):
    for number, broken in enumerate(files):
        label = re.sub(r"\W", "-", broken.label)
        (folder / f"{number:03}-{label}{broken.suffix}").write_bytes(broken.content)


def read(folder, elsewhere):
    """Returns what a process of its own says about each file of a folder, by name."""
    run = subprocess.run(
        [sys.executable, read_files.__file__, str(folder)], cwd=elsewhere, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert list(elsewhere.iterdir()) == []  # no code of any file has run
    return {result["name"]: result for result in map(json.loads, run.stdout.splitlines())}


def add_what_is_no_file(folder):
    """Adds folders, and where the system has them, pipes, links and a file that may not be read."""
    for suffix in (".safetensors", ".pth"):
        (folder / f"folder{suffix}").mkdir()
        if os.name != "nt":
            os.mkfifo(folder / f"pipe{suffix}")
            (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
            (folder / f"nowhere{suffix}").symlink_to(folder / "gone")
            (folder / f"device{suffix}").symlink_to("/dev/zero")
            (folder / f"out{suffix}").symlink_to("/etc/passwd")
        if hasattr(os, "geteuid") and os.geteuid():
            (folder / f"locked{suffix}").write_bytes(malformed.WHOLE)
            (folder / f"locked{suffix}").chmod(0)


@pytest.mark.slow
def test_the_corpus_is_large(results):
    assert len(results[0]) >= 200


@pytest.mark.slow
def test_each_broken_file_gives_one_clear_sentence(results):
    said, folder = results
    for name, result in said.items():
        assert SENTENCE.fullmatch(result["error"]), (name, result["error"])
        assert result["error"].isprintable()
        assert len(result["error"]) < 250
        assert str(folder) not in result["error"]


@pytest.mark.slow
def test_no_broken_file_takes_much_memory(results):
    most = {name: result["memory"] for name, result in results[0].items()}
    worst = max(most, key=most.__getitem__)
    assert most[worst] <= MEMORY, (worst, most[worst])


@pytest.mark.slow
def test_no_broken_file_runs_code_or_opens_anything_else(results):
    assert {name: result["events"] for name, result in results[0].items() if result["events"]} == {}


@pytest.mark.slow
def test_metadata_takes_little_memory_and_is_refused_in_a_sentence_at_most(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metadata")
    write(folder, [*map(malformed.with_metadata, malformed.METADATA_BOMBS), malformed.layers_said_at_length()])
    for name, result in read(folder, tmp_path_factory.mktemp("elsewhere")).items():
        assert result["memory"] <= MEMORY, (name, result)
        assert result["events"] == [], name
        quantisation = "quantization" in name or "comfy_quant" in name
        sentence = f"ValueError: '{name}' " + (
            "stores its weights as null, which this version of ComfyUI does not compute with. Update ComfyUI, or "
            "choose the file's fp8_scaled version."
            if "comfy_quant" in name
            else "does not say in ComfyUI's way how its layers are quantised. Download it again."
        )
        assert result["error"] == (sentence if quantisation else ""), name


@st.composite
def changed(draw, whole):
    """Changes, adds or takes away a few bytes anywhere."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(raw)


def taken(path):
    """Returns what a file lists; None where it is refused, in the sentence that it should be."""
    try:
        return open_model(path).header
    except ValueError as err:
        sentence = f"ValueError: {err}"
    assert SENTENCE.fullmatch(sentence)
    return None


@pytest.mark.parametrize("dtype", ["Q4", "I4", "F6_E2M3", "C128", "\n" * 9 + "x" * 99])
def test_a_type_that_no_tensor_has_is_named(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    path.write_bytes(malformed.header_file("type", {"a": malformed.entry(0, 8, dtype=dtype)}, bytes(8)).content)
    with pytest.raises(ValueError, match="has the type") as caught:
        open_model(path)
    shown = "x" * 40 if "x" in dtype else dtype
    assert str(caught.value) == (
        f"'x.safetensors' is not a whole safetensors file: a tensor has the type {shown}, which is not read here. "
        "Choose another version."
    )


@pytest.mark.parametrize("dtype", header.BITS)
def test_the_safetensors_library_takes_every_type_that_we_take(tmp_path, dtype):
    if dtype == "F4" or "FNUZ" in dtype:
        pytest.importorskip("safetensors", "0.7")
    path = tmp_path / "x.safetensors"
    begin_to_end = malformed.entry(0, header.BITS[dtype], dtype=dtype, shape=[8])
    path.write_bytes(malformed.header_file("type", {"a": begin_to_end}, bytes(header.BITS[dtype])).content)
    assert open_model(path).header.tensors["a"].dtype == dtype
    with safe_open(path, "pt") as file:
        file.get_tensor("a")


@settings(drawn, max_examples=500)
@given(changed(malformed.WHOLE))
@pytest.mark.slow
def test_what_we_take_the_safetensors_library_takes_too(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(raw)
    ours = taken(path)
    if ours is None:
        return
    path.write_bytes(raw[: len(raw) - ours.spare])  # bytes after the last tensor are all that it minds, and we do not
    try:
        with safe_open(path, "pt") as file:
            theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as err:
        raise AssertionError(f"{raw!r} is taken: {ours}") from err
    assert {name: info.shape for name, info in ours.tensors.items()} == theirs


@settings(drawn, max_examples=500)
@given(changed(malformed_torch.RECORDS["data.pkl"]))
@pytest.mark.slow
def test_what_we_take_pytorch_takes_too(tmp_path_factory, program):
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    path.write_bytes(malformed_torch.with_pickle("changed", program).content)
    ours = taken(path)
    if ours is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.load(path, weights_only=True, map_location="cpu")  # as ComfyUI does
    raw = path.read_bytes()
    for name, info in ours.tensors.items():
        assert tuple(loaded[name].shape) == info.shape
        if info.begin is not None:
            assert raw[info.begin : info.begin + info.length] == loaded[name].numpy().tobytes()
