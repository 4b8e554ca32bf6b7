"""Every LoRA format on the tiny experts: what it does to the weights equals the format's own formula."""

import comfy.sd
import pytest
import torch
from comfy.model_management import load_models_gpu
from pack.tests.toy import lora_formats
from pack.tests.toy import models as toy
from pack.tests.toy.changed import changed, distance, latent, own, value
from pack.tests.toy.loaded import apply_lora
from pack.tests.toy.quantised import fp8_scaled
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

NEAR = 1e-4  # of a latent's size
DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
}


@pytest.fixture(scope="module")
def experts(models, tmp_path_factory):
    """The same tiny expert with weights of each kind."""
    folder = tmp_path_factory.mktemp("experts")
    states = {
        "fp32": (toy.expert(1), {}),
        "fp16": (toy.expert(1, dtype=torch.float16), {"dtype": torch.float16}),  # a CPU would widen it
        "fp8 scaled": (fp8_scaled(toy.expert(1, dtype=torch.float16)), {}),
    }
    loaded = {}
    for kind, (state, options) in states.items():
        save_file(state, folder / f"{kind}.safetensors")
        loaded[kind] = comfy.sd.load_diffusion_model(str(folder / f"{kind}.safetensors"), model_options=options)
    stored = {kind: getattr(*own(model, "blocks.0.ffn.0.weight")) for kind, model in loaded.items()}
    assert stored["fp16"].dtype == torch.float16
    assert "Quantized" in type(stored["fp8 scaled"]).__name__
    return loaded


@pytest.fixture(scope="module")
def plain(experts):
    """What the sampler makes of each expert without a LoRA."""
    return {model: latent(model) for model in experts.values()}


def check_sampled(model, patched, changes, strength, plain):
    """Asserts that the sampler makes of a patched expert what it makes of one whose weights the formula has changed."""
    assert all(change.abs().max() > 0 for change in changes.values())
    with changed(model, {name: strength * change for name, change in changes.items()}):
        wanted = latent(model)
    assert distance(latent(patched), wanted) <= NEAR
    assert distance(plain[model], wanted) > 30 * NEAR  # so that a missing effect would be seen


def check_loaded(model, patched, changes, strength, plain=None):
    """Asserts that ComfyUI loads every weight moved by strength x its change, within the rounding of its type."""
    load_models_gpu([model])
    before = {name: value(model, name) for name in changes}
    load_models_gpu([patched])
    for name, change in changes.items():
        kept, after = getattr(*own(model, name)), value(model, name)
        wanted = before[name] + strength * change
        # fp8 keeps 3 bits of mantissa: patched weights are rounded to one of two neighbours at most 1/8 apart, and the
        # smallest to steps of 2^-9 of the scale, which is chosen so that the largest is 448.
        packed = "Quantized" in type(kept).__name__
        step = {torch.float32: 1e-5, torch.float16: 2**-10}[kept.dtype] if not packed else 2**-3
        floor = wanted.abs().max() / 448 * 2**-9 if packed else 1e-6
        assert ((after - wanted).abs() <= wanted.abs() * step * 1.01 + floor + 1e-6).all(), name
        assert (after - before[name]).abs().max() > 0, f"{name} did not change"
    load_models_gpu([model])
    assert all(value(model, name).equal(weight) for name, weight in before.items())


@pytest.fixture
def applied(tmp_path):
    def apply(model, tensors, metadata, strength):
        path = tmp_path / "a b 水.safetensors"
        save_file(tensors, path, metadata)
        return apply_lora(model, str(path), strength)

    return apply


@pytest.mark.parametrize(("strength", "check"), [(1.0, check_sampled), (-0.6, check_loaded)], ids=["sampled", "loaded"])
@pytest.mark.parametrize("weights", ["fp32", "fp16", "fp8 scaled"])
@pytest.mark.parametrize("name", lora_formats.FORMATS)
def test_a_format_does_what_its_formula_says(experts, plain, applied, name, weights, strength, check):
    model = experts[weights]
    tensors, metadata, changes = lora_formats.FORMATS[name](torch.Generator().manual_seed(3), torch.float32)
    found = applied(model, tensors, metadata, strength)

    assert found.match.unmatched == found.match.ignored == []
    assert found.match.keys == len(tensors)
    assert found.match.matched == len(
        {name.rpartition(".")[0] if "modulation" not in name else name for name in changes}
    )
    check(model, found.model, changes, strength, plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", lora_formats.FORMATS)
def test_files_of_every_type_apply(experts, applied, name, dtype):
    model = experts["fp32"]
    tensors, metadata, changes = lora_formats.FORMATS[name](torch.Generator().manual_seed(4), DTYPES[dtype])
    found = applied(model, tensors, metadata, 0.8)
    assert found.match.unmatched == found.match.ignored == []
    check_loaded(model, found.model, changes, 0.8)


@pytest.mark.parametrize("strength", [1.0, 0.5, -0.6])
@pytest.mark.parametrize("peft", [True, False], ids=["PEFT", "LyCORIS"])
@pytest.mark.parametrize("weights", ["fp32", "fp16", "fp8 scaled"])
def test_dora_scales_the_sum(experts, plain, applied, weights, peft, strength):
    model = experts[weights]
    load_models_gpu([model])
    weights_of = {f"{name}.weight": value(model, f"{name}.weight") for name in lora_formats.SIZES}
    tensors, metadata, changes = lora_formats.dora(weights_of, peft)(torch.Generator().manual_seed(5), torch.float32)
    found = applied(model, tensors, metadata, strength)
    assert found.match.unmatched == found.match.ignored == []
    (check_sampled if strength == 1 else check_loaded)(model, found.model, changes, strength, plain)


def test_peft_biases_of_the_second_factor_change_the_biases(experts, plain, applied):
    model = experts["fp32"]
    generator = torch.Generator().manual_seed(7)
    tensors, metadata, changes = lora_formats.FORMATS["diffusers with settings"](generator, torch.float32)
    for layer, spelled in lora_formats.DIFFUSERS.items():
        bias = lora_formats.factor(generator, torch.float32, lora_formats.SIZES[layer][0])
        tensors[f"transformer.{spelled}.lora_B.bias"] = bias
        changes[f"{layer}.bias"] = lora_formats.ALPHA / lora_formats.RANK * bias
    found = applied(model, tensors, metadata, 0.8)
    assert (found.match.unmatched, found.match.ignored, found.match.keys) == ([], [], len(tensors))
    check_sampled(model, found.model, changes, 0.8, plain)


def test_two_kinds_of_change_of_one_layer_add_up(experts, plain, applied):
    model = experts["fp32"]
    generator = torch.Generator().manual_seed(6)
    tensors, _, changes = lora_formats.FORMATS["musubi for ComfyUI"](generator, torch.float32)
    for layer in ("blocks.0.self_attn.q", "head.head"):
        whole = lora_formats.factor(generator, torch.float32, *lora_formats.SIZES[layer])
        tensors[f"diffusion_model.{layer}.diff"] = whole
        changes[f"{layer}.weight"] = changes[f"{layer}.weight"] + whole
    found = applied(model, tensors, None, 0.8)
    assert (found.match.unmatched, found.match.matched, found.match.keys) == ([], len(changes), len(tensors))
    check_sampled(model, found.model, changes, 0.8, plain)
