"""NaN, infinity, zeros and packed factors in LoRAs: refused or told, and good ones are passed."""

from pathlib import Path

import pytest
import torch
from pack.weights.formats.header import DamageError, Header, ModelFile
from pack.weights.loras.format import check_types, conform, idle_layers
from pack.weights.loras.report import Match

LAYER = "blocks.0.self_attn.q"
SHAPES = {LAYER: (8, 6), f"{LAYER}.bias": (8,), "blocks.1.self_attn.q": (8, 6)}
ONES = {"lora_down.weight": torch.ones(2, 6), "lora_up.weight": torch.ones(8, 2)}


def file(parts, layer=LAYER):
    return {f"{layer}.{part}": value for part, value in parts.items()}


def match():
    return Match(ModelFile(Path("x.safetensors"), Header({}, {})), "high")


def zeros(parts, layer=LAYER):
    noted = match()
    passes = conform(file(parts, layer), SHAPES, noted)
    assert noted.unmatched == noted.ignored == []
    return idle_layers(passes)


LOHA = {f"hada_w{n}_{side}": torch.ones(*shape) for n in (1, 2) for side, shape in (("a", (8, 2)), ("b", (2, 6)))}
LOKR = {"lokr_w1": torch.ones(2, 2), "lokr_w2": torch.ones(4, 3)}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
@pytest.mark.parametrize(
    ("parts", "part"),
    [
        (ONES, "lora_down.weight"),
        (ONES, "lora_up.weight"),
        (ONES | {"alpha": torch.ones(1)}, "alpha"),
        (ONES | {"dora_scale": torch.ones(8)}, "dora_scale"),
        (LOHA, "hada_w2_b"),
        (LOKR, "lokr_w2"),
        ({"diff": torch.ones(8, 6)}, "diff"),
        (ONES | {"diff_b": torch.ones(8)}, "diff_b"),
    ],
)
def test_one_number_that_is_none_is_refused_with_its_layer(parts, part, dtype, bad):
    damaged = parts[part].clone()
    damaged.view(-1)[-1] = bad
    found = conform(file(parts | {part: damaged.to(dtype)}), SHAPES, match())
    with pytest.raises(DamageError) as caught:
        idle_layers(found)
    what = "NaN" if bad != bad else "infinity"
    assert str(caught.value).startswith(f"holds {what} in {LAYER}.{part}, which would make the whole clip NaN.")


def test_the_largest_numbers_of_a_type_are_none_the_worse():
    largest = torch.full((8, 2), torch.finfo(torch.float16).max, dtype=torch.float16)
    assert zeros(ONES | {"lora_up.weight": largest}) == set()


def test_a_damaged_tensor_that_is_not_applied_harms_nobody():
    found = conform(file(ONES) | file({"diff": torch.full((9, 9), torch.nan)}, "blocks.7.ffn.0"), SHAPES, match())
    assert idle_layers(found) == set()


@pytest.mark.parametrize(
    ("parts", "idle"),
    [
        (ONES | {"lora_up.weight": torch.zeros(8, 2)}, True),
        (ONES | {"lora_down.weight": torch.zeros(2, 6)}, True),
        (ONES | {"alpha": torch.zeros(())}, True),
        (LOHA | {"hada_w1_b": torch.zeros(2, 6)}, True),
        (LOKR | {"lokr_w1": torch.zeros(2, 2)}, True),
        ({"diff": torch.zeros(8, 6)}, True),
        ({"diff_b": torch.zeros(8)}, True),
        (ONES, False),
        (LOKR | {"alpha": torch.zeros(())}, False),  # of whole factors it is no part
        (ONES | {"lora_up.weight": torch.zeros(8, 2), "dora_scale": torch.ones(8)}, False),
        (ONES | {"lora_up.weight": torch.zeros(8, 2), "diff_b": torch.ones(8)}, False),
        (ONES | {"lora_up.weight": torch.zeros(8, 2), "diff": torch.ones(8, 6)}, False),
        ({"diff": torch.zeros(8, 6), "diff_b": torch.ones(8)}, False),
    ],
)
def test_layers_that_change_nothing_are_found(parts, idle):
    assert zeros(parts) == ({f"diffusion_model.{LAYER}"} if idle else set())


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_A.weight": torch.ones(2, 6, dtype=torch.int8), "lora_B.weight": torch.ones(8, 2, dtype=torch.int8)},
        {"lora_A.weight._data": torch.ones(2, 6, dtype=torch.int8), "lora_A.weight._scale": torch.ones(2, 1)},
        {"lora_up.weight": torch.ones(4, 2, dtype=torch.uint8), "lora_up.weight.absmax": torch.ones(2)},
        {"lora_linear_layer.up.weight": torch.ones(8, 2, dtype=torch.int8)},
        {"lokr_w1": torch.ones(2, 2, dtype=torch.int8)},
        {"diff": torch.ones(8, 6, dtype=torch.int8)},
    ],
)
def test_factors_of_integers_are_refused_by_their_type(tensors):
    with pytest.raises(DamageError, match=r"^stores its factors as u?int8, as quanto does") as caught:
        check_types(file(tensors))
    assert str(caught.value).endswith("which is not read here. Choose its bf16 or fp16 version.")


@pytest.mark.parametrize("scale", ["lora_up.scale_weight", "lora_up.weight_scale", "lora_up.weight._scale"])
def test_factors_of_8_bits_with_a_scale_are_refused(scale):
    tensors = {"lora_up.weight": torch.ones(8, 2).to(torch.float8_e4m3fn), scale: torch.ones(())}
    with pytest.raises(DamageError, match=r"^stores its factors in 8 bits with a scale for each"):
        check_types(file(tensors))


@pytest.mark.parametrize(
    "tensors",
    [
        ONES,
        {name: value.to(torch.float8_e4m3fn) for name, value in ONES.items()},
        {name: value.to(torch.float8_e4m3fn) for name, value in ONES.items()} | {"dora_scale": torch.ones(8)},
        ONES | {"alpha": torch.tensor(1, dtype=torch.int8)},
        {"lora_A.grayscale.weight": torch.ones(2, 6), "lora_B.grayscale.weight": torch.ones(8, 2)},
    ],
)
def test_factors_that_say_what_they_mean_are_passed(tensors):
    check_types(file(tensors))


def test_a_wrapper_whose_name_begins_like_a_change_is_none():
    layer = f"base_model.model.diffusion_model.{LAYER}"  # .diffusion_model, as .diff
    factors = {name: value.to(torch.float8_e4m3fn) for name, value in ONES.items()}
    check_types(file(factors | {"dora_scale": torch.ones(8)}, layer))
    check_types(file(ONES | {"alpha": torch.tensor(1, dtype=torch.int8)}, layer))
