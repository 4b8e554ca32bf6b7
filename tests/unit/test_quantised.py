"""Quantised files: how they store their weights is known, and only those that ComfyUI computes with are passed."""

import errno
import json

import pytest
import torch
from pack.weights.formats.model_file import open_model, tensors_of
from pack.weights.wan import quantised
from pack.weights.wan.quantised import check_scales, check_storage, without_prefix
from safetensors.torch import save_file

KNOWN = {"float8_e4m3fn", "nvfp4", "mxfp8", "int8_tensorwise"}


def text(settings):
    return torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)


def check(path, tensors, metadata=None, known=frozenset(KNOWN), prefix=""):
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, path, metadata)
    file = open_model(path)
    with tensors_of(path) as read:
        check_scales(check_storage(file, known), file.name, read)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


BODY = {"head.modulation": torch.ones(1, 2, 8)}
WEIGHT = BODY | {"a.weight": torch.ones(64, 64).to(torch.float8_e4m3fn)}
INT8 = BODY | {"a.weight": torch.ones(64, 64, dtype=torch.int8), "a.weight_scale": torch.ones(64, 1)}
FP8 = WEIGHT | {"a.weight_scale": torch.ones(())}
OLD = WEIGHT | {"a.scale_weight": torch.ones(())}


def metadata(layer, name="float8_e4m3fn"):
    return {"_quantization_metadata": json.dumps({"layers": {layer: {"format": name}}})}


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", "model.diffusion_model."])
@pytest.mark.parametrize(
    ("tensors", "layer"),
    [
        (FP8 | {"a.comfy_quant": text({"format": "float8_e4m3fn"})}, None),
        (INT8 | {"a.comfy_quant": text({"format": "int8_tensorwise"})}, None),
        (OLD | {"scaled_fp8": torch.zeros(2)}, None),
        (FP8, "a"),
        (BODY, None),
        (BODY | {"a.weight": torch.ones(9, 9), "a.weight_scale": torch.ones(())}, None),  # of no quantised weight
    ],
)
def test_scales_that_comfyui_applies_are_passed(path, tensors, layer, prefix):
    check(path, tensors, metadata(prefix + layer) if layer else None, prefix=prefix)


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (FP8, None),
        (INT8, None),
        (OLD, None),
        (FP8 | {"scaled_fp8": torch.zeros(2)}, None),  # the old mark is for the old name alone
        (FP8 | {"b.comfy_quant": text({"format": "float8_e4m3fn"})}, None),
        (FP8, metadata("b")),
        (OLD | {"scaled_fp8": torch.zeros(2)}, metadata("b")),  # ComfyUI asks the metadata first
    ],
)
def test_scales_that_comfyui_does_not_apply_are_refused(path, tensors, said, prefix):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' stores scales") as caught:
        check(path, tensors, said, known=KNOWN, prefix=prefix)
    assert str(caught.value) == (
        "'x.safetensors' stores scales in a way that ComfyUI does not apply, for example of the layer a. "
        "Choose the file's ComfyUI version, or an fp8_scaled file."
    )


@pytest.mark.parametrize(
    ("tensors", "said", "named"),
    [
        (INT8 | {"a.comfy_quant": text({"format": "int8_blockwise"})}, None, "int8_blockwise"),
        (INT8 | {"a.comfy_quant": text({"format": "int8_tensorwise"})}, None, "int8_tensorwise"),
        (FP8 | {"a.comfy_quant": text({"format": None})}, None, "null"),
        (FP8 | {"a.comfy_quant": text([])}, None, "null"),
        (FP8 | {"a.comfy_quant": text({"format": "\n" * 9 + "x" * 99})}, None, "x" * 40),
        (FP8, metadata("a", "convrot_w4a4"), "convrot_w4a4"),
    ],
)
def test_a_format_that_this_comfyui_lacks_is_named(path, tensors, said, named):
    with pytest.raises(ValueError, match=rf"^'x\.safetensors' stores its weights as {named}, which this") as caught:
        check(path, tensors, said, known={"float8_e4m3fn"})
    assert str(caught.value).endswith("does not compute with. Update ComfyUI, or choose the file's fp8_scaled version.")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (FP8 | {"a.comfy_quant": torch.zeros(9, dtype=torch.uint8)}, None),
        (FP8 | {"a.comfy_quant": torch.full((9_999,), ord("["), dtype=torch.uint8)}, None),
        (FP8 | {"a.comfy_quant": torch.full((10_001,), ord(" "), dtype=torch.uint8)}, None),
        (FP8, {"_quantization_metadata": "no JSON"}),
        (FP8, {"_quantization_metadata": "[" * 100_000}),
        (FP8, {"_quantization_metadata": "[]"}),
        (FP8, {"_quantization_metadata": '{"layers": 3}'}),
        (FP8, {"_quantization_metadata": "{}"}),
        (BODY, {"_quantization_metadata": "{}"}),  # ComfyUI reads it whatever the weights are
    ],
)
def test_formats_that_cannot_be_read_are_refused(path, tensors, said):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' does not say in ComfyUI's way how its layers are"):
        check(path, tensors, said)


def test_a_file_that_the_system_does_not_hand_out_is_said_without_its_folder(path, monkeypatch):
    save_file(FP8 | {"a.comfy_quant": text({"format": "float8_e4m3fn"})}, path)
    file = open_model(path)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(quantised, "open_file", refuse)
    with pytest.raises(RuntimeError, match="cannot be read") as caught:
        check_storage(file, KNOWN)
    assert str(caught.value) == "'x.safetensors' cannot be read: Permission denied. Check disk and permissions."


def test_metadata_names_layers_without_the_prefix_of_the_file():
    assert without_prefix(None, "p.") is None
    assert without_prefix({"a": "b"}, "p.") == {"a": "b"}
    given = metadata("p.a") | {"b": "c"}
    assert without_prefix(given, "p.") == metadata("a") | {"b": "c"}
    assert given == metadata("p.a") | {"b": "c"}


INT8_MARK = {"a.comfy_quant": text({"format": "int8_tensorwise"})}
FP8_MARK = {"a.comfy_quant": text({"format": "float8_e4m3fn"})}
E5M2 = BODY | {"a.weight": torch.ones(64, 32).to(torch.float8_e5m2)}
OTHER = {"b.weight": torch.ones(64, 64).to(torch.float8_e4m3fn)}


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize(
    ("tensors", "detail"),
    [
        (WEIGHT | {"a.weight_scale_inv": torch.ones(1, 1)}, "weight_scale_inv of shape [1, 1]"),
        (FP8 | FP8_MARK | {"a.weight_scale_inv": torch.ones(1, 1)}, "weight_scale_inv of shape [1, 1]"),
        (INT8 | INT8_MARK | {"a.weight_zero_point": torch.ones(64)}, "weight_zero_point of shape [64]"),
        (
            BODY | {"a.weight": torch.ones(64, 64, dtype=torch.int8), "a.weight.SCB": torch.ones(64)},
            "weight.SCB of shape [64]",
        ),
        (BODY | {"a.weight": torch.ones(64, 64, dtype=torch.int8), "a.scb": torch.ones(64)}, "scb of shape [64]"),
        (WEIGHT | {"a.weight.absmax": torch.ones(64)}, "weight.absmax of shape [64]"),
        (
            WEIGHT | {"a.scale_weight": torch.ones(64, 4, 1), "scaled_fp8": torch.zeros(2)},
            "scale_weight of shape [64, 4, 1]",
        ),
        (WEIGHT | {"a.scale_weight": torch.ones(64, 1), "scaled_fp8": torch.zeros(2)}, "scale_weight of shape [64, 1]"),
        (WEIGHT | FP8_MARK | {"a.weight_scale": torch.ones(64)}, "weight_scale of shape [64]"),
        (FP8 | FP8_MARK | {"a.input_scale": torch.ones(3)}, "input_scale of shape [3]"),
        (INT8 | INT8_MARK | {"a.weight_scale": torch.ones(1, 64)}, "weight_scale of shape [1, 64]"),
        (
            WEIGHT | {"a.comfy_quant": text({"format": "mxfp8"}), "a.weight_scale": torch.ones(64, dtype=torch.uint8)},
            "weight_scale of shape [64]",
        ),
    ],
)
def test_a_scale_of_another_name_or_shape_is_refused_with_both(path, tensors, detail, prefix):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' stores scales") as caught:
        check(path, tensors, prefix=prefix)
    assert str(caught.value) == (
        f"'x.safetensors' stores scales in a way that ComfyUI does not apply, for example of the layer a ({detail}). "
        "Choose the file's ComfyUI version, or an fp8_scaled file."
    )


@pytest.mark.parametrize(
    ("tensors", "layer", "stored"),
    [
        (FP8 | FP8_MARK | OTHER, "b", "F8_E4M3"),
        (OLD | {"scaled_fp8": torch.zeros(2)} | OTHER, "b", "F8_E4M3"),
        (WEIGHT | {"scaled_fp8": torch.zeros(2)}, "a", "F8_E4M3"),
        (WEIGHT | FP8_MARK, "a", "F8_E4M3"),
        (BODY | INT8_MARK | {"a.weight": torch.ones(64, 64, dtype=torch.int8)}, "a", "I8"),
        (BODY | {"a.weight": torch.ones(64, 64, dtype=torch.int8)}, "a", "I8"),
        (BODY | {"a.weight": torch.ones(64, 32, dtype=torch.uint8)}, "a", "U8"),
        (
            BODY
            | {
                "a.weight": torch.ones(64, 32, dtype=torch.uint8),
                "a.weight_scale": torch.ones(128, 4).to(torch.float8_e4m3fn),
            }
            | {"a.comfy_quant": text({"format": "nvfp4"})},
            "a",
            "U8",
        ),
    ],
)
def test_no_8_bit_weight_goes_without_the_scale_that_it_needs(path, tensors, layer, stored):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' lacks the scale") as caught:
        check(path, tensors)
    assert str(caught.value) == (
        f"'x.safetensors' lacks the scale of the layer {layer}, which is stored as {stored} and means nothing without "
        "one. Choose the file's ComfyUI version, or an fp8_scaled file."
    )


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0, -1.0])
@pytest.mark.parametrize(
    ("tensors", "scale"),
    [
        (FP8 | FP8_MARK, "a.weight_scale"),
        (FP8 | FP8_MARK | {"a.input_scale": torch.ones(())}, "a.input_scale"),
        (OLD | {"scaled_fp8": torch.zeros(2)}, "a.scale_weight"),
        (E5M2 | {"a.scale_weight": torch.ones(()), "scaled_fp8": torch.zeros(2)}, "a.scale_weight"),
        (INT8 | INT8_MARK, "a.weight_scale"),
    ],
)
def test_a_scale_that_is_no_scale_is_refused(path, tensors, scale, bad):
    with pytest.raises(ValueError, match=rf"holds a scale that is NaN, infinite, negative or zero: {scale}\. The file"):
        check(path, tensors | {scale: torch.full_like(tensors[scale], bad)})


@pytest.mark.parametrize("bad", [torch.full((), torch.nan), torch.full((), -0.5), torch.zeros(())])
@pytest.mark.parametrize("number", [0, 63, 64, 99])
def test_one_bad_scale_among_a_hundred_is_named(path, number, bad):
    fp8 = torch.ones(8, 8).to(torch.float8_e4m3fn)
    layers = {f"{n:03}.weight": fp8.clone() for n in range(100)}
    scales = {name.replace("weight", "scale_weight"): torch.ones(()) for name in layers}
    tensors = BODY | layers | scales | {"scaled_fp8": torch.zeros(2)}
    check(path, tensors)
    with pytest.raises(ValueError, match=rf"holds a scale that is NaN, .*: {number:03}\.scale_weight\. The file"):
        check(path, tensors | {f"{number:03}.scale_weight": bad})


def test_a_scale_without_numbers_is_refused_also_beside_others(path):
    marked = OLD | {"scaled_fp8": torch.zeros(2)}
    convrot = {"b.weight": torch.ones(8, 8, dtype=torch.int8), "b.weight_scale": torch.ones(0)}
    named = {"b.comfy_quant": text({"format": "convrot_w4a4"})}
    with pytest.raises(ValueError, match=r"holds a scale that is NaN, .*: b\.weight_scale\. The file"):
        check(path, marked | convrot | named, known=KNOWN | {"convrot_w4a4"})


def test_a_row_of_zeros_in_int8_may_have_a_scale_of_zero(path):
    check(path, INT8 | INT8_MARK | {"a.weight_scale": torch.ones(64, 1).index_fill(0, torch.tensor([3]), 0.0)})


@pytest.mark.parametrize(
    ("named", "weight"),
    [
        ("float8_e4m3fn", torch.ones(64, 64).to(torch.float8_e5m2)),
        ("float8_e4m3fn", torch.ones(64, 64).to(torch.float16)),
        ("int8_tensorwise", torch.ones(64, 64).to(torch.float8_e4m3fn)),
    ],
)
def test_a_format_that_is_not_that_of_the_weight_is_refused(path, named, weight):
    tensors = BODY | {"a.weight": weight, "a.weight_scale": torch.ones(()), "a.comfy_quant": text({"format": named})}
    with pytest.raises(ValueError, match=f"says that the layer a is stored as {named}, but stores it as"):
        check(path, tensors)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float8_e4m3fn, 448), (torch.float8_e5m2, 57344)])
def test_fp8_whose_scales_are_gone_is_known_by_its_numbers(path, dtype, largest):
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    check(path, BODY | {"a.weight": weight.to(dtype)})
    with pytest.raises(ValueError, match=f"holds 8-bit numbers as large as {largest}, for example in the layer a,"):
        check(path, BODY | {"a.weight": (weight / weight.abs().max() * largest).to(dtype)})


@pytest.mark.parametrize(
    ("mark", "scale"), [(torch.float8_e5m2, 0.5), (torch.float8_e4m3fn, 0.5), (torch.float32, 1.0)]
)
def test_e5m2_with_the_older_mark_gets_todays_names(path, mark, scale):
    added = {"a.scale_weight": torch.tensor(scale), "scaled_fp8": torch.zeros(2).to(mark), "a.bias": torch.ones(64)}
    tensors = E5M2 | added
    check(path, tensors)
    header = open_model(path).header
    assert quantised.is_misread(header)
    state, said = quantised.in_new_names(tensors, {"x": "y"}, header)
    assert state.keys() == {"head.modulation", "a.weight", "a.weight_scale", "a.bias"}
    settings = {"format": "float8_e5m2", "full_precision_matrix_mult": True}
    assert (said["x"], json.loads(said["_quantization_metadata"])) == ("y", {"layers": {"a": settings}})


def test_what_comfyui_reads_is_left_to_it(path):
    check(path, OLD | {"scaled_fp8": torch.zeros(2)})
    assert not quantised.is_misread(open_model(path).header)


def test_comfyuis_own_block_formats_have_the_sizes_that_are_passed(path):
    mx = WEIGHT | {"a.comfy_quant": text({"format": "mxfp8"}), "a.weight_scale": torch.ones(128, 4, dtype=torch.uint8)}
    check(path, mx)
    packed = {
        "a.weight": torch.ones(64, 32, dtype=torch.uint8),
        "a.weight_scale": torch.ones(128, 4).to(torch.float8_e4m3fn),
    }
    check(path, BODY | packed | {"a.comfy_quant": text({"format": "nvfp4"}), "a.weight_scale_2": torch.ones(())})
