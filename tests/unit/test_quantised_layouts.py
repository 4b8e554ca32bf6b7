"""How the weights of a file are stored, by types and names alone."""

import pytest
from pack.weights.formats.header import Header, ModelFile, TensorInfo
from pack.weights.wan.quantised import check_storage
from pack.weights.wan.transformer import layout_of


def stored_as(**types):
    """A header with these large weights and small scales, beside a small float32 norm."""
    names = {name.replace("__", "."): dtype for name, dtype in types.items()}
    large = (".weight", ".int8_weight")
    tensors = {name: TensorInfo(dtype, (64, 64) if name.endswith(large) else (1,)) for name, dtype in names.items()}
    return Header(tensors | {"norm.weight": TensorInfo("F32", (8,))}, {})


STORED = [
    (stored_as(a__weight="F32"), ""),
    (stored_as(a__weight="F16"), ""),
    (stored_as(a__weight="BF16"), ""),
    (stored_as(a__weight="F8_E4M3"), ""),
    (stored_as(a__weight="F8_E5M2"), ""),
    (stored_as(a__weight="F8_E4M3", a__scale_weight="F32", scaled_fp8="F8_E4M3"), ""),
    (stored_as(a__weight="F8_E4M3", a__weight_scale="F32", a__comfy_quant="U8"), ""),
    (stored_as(a__weight="F8_E4M3", a__weight_scale="U8", a__comfy_quant="U8"), "mxfp8"),
    (stored_as(a__weight="U8", a__weight_scale="F8_E4M3", a__weight_scale_2="F32"), "nvfp4"),
    (stored_as(a__weight="I8", a__weight_scale="F32", a__comfy_quant="U8"), "int8_tensorwise"),
    (stored_as(a__int8_weight="I8", a__scale="F32"), ""),
    (stored_as(a__weight="I64"), ""),
    (Header({}, {}), ""),
]


@pytest.mark.parametrize(("listed", "layout"), STORED)
def test_the_way_that_weights_are_stored_is_known_by_types_and_names(listed, layout):
    assert layout_of(listed) == layout


@pytest.mark.parametrize("layout", ["nvfp4", "mxfp8", "int8_tensorwise"])
def test_a_layout_that_comfyui_is_too_old_for_is_refused(tmp_path, layout):
    (listed,) = (listed for listed, stored in STORED if stored == layout)
    tensors = {name: info for name, info in listed.tensors.items() if not name.endswith("comfy_quant")}
    with pytest.raises(ValueError, match=rf"stores its weights as {layout}, which this version of ComfyUI"):
        check_storage(ModelFile(tmp_path / "x.safetensors", Header(tensors, {})), {"float8_e4m3fn"})


def test_nvfp4_as_lightx2v_writes_it_is_refused(tmp_path):
    """Its numbers are packed the other way round, and `alpha` is no scale of ComfyUI's: Wan2.2-NVFP4-Sparse is so."""
    own = stored_as(a__weight="U8", a__weight_scale="F8_E4M3", a__alpha="F32", a__input_global_scale="F32")
    with pytest.raises(ValueError, match=r"in a way that ComfyUI does not apply.* Choose the file's ComfyUI version"):
        check_storage(ModelFile(tmp_path / "x.safetensors", own), {"nvfp4"})
