import json
import math

import pytest
import torch
from pack.weights.lora_format import Scaling, conform

LAYER = "blocks.0.self_attn.q"
SHAPES = {LAYER: (8, 6), "patch_embedding": (8, 3, 1, 2, 2), "blocks.0.norm3": (8,), "blocks.0.packed": None}


def ones(*shape):
    return torch.ones(*shape)


def parts(layer=LAYER, **tensors):
    return {f"diffusion_model.{layer}.{part.replace('__', '.')}": tensor for part, tensor in tensors.items()}


LORA = {"lora_down__weight": ones(2, 6), "lora_up__weight": ones(8, 2)}
LOHA = {"hada_w1_a": ones(8, 2), "hada_w1_b": ones(2, 6), "hada_w2_a": ones(8, 2), "hada_w2_b": ones(2, 6)}
LOKR = {"lokr_w1": ones(2, 2), "lokr_w2": ones(4, 3)}


@pytest.mark.parametrize(
    "tensors",
    [
        LORA,
        LORA | {"alpha": torch.tensor(1.0)},
        LORA | {"dora_scale": ones(1, 6)},
        LORA | {"dora_scale": ones(8)},
        LORA | {"dora_scale": ones(8, 1)},
        LOHA,
        LOKR,
        {"lokr_w1_a": ones(2, 1), "lokr_w1_b": ones(1, 2), "lokr_w2": ones(4, 3)},
        {"diff": ones(8, 6)},
        {"diff_b": ones(8)},
    ],
)
def test_what_fits_keeps_every_key(tensors):
    file = parts(**tensors)
    found = conform(file, SHAPES, {})
    assert found.unmatched == []
    assert set(found.origin.values()) == set(file)


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_down__weight": ones(2, 6)},  # half a LoRA
        {"lora_up__weight": ones(8, 2)},
        {"alpha": torch.tensor(1.0)},
        {"dora_scale": ones(8)},
        LORA | {"lora_up__weight": ones(8, 3)},  # two ranks
        LORA | {"lora_up__weight": ones(9, 2)},  # another model's size
        LORA | {"lora_up__weight": ones(8)},
        LORA | {"lora_up__weight": torch.tensor(1.0)},
        LORA | {"lora_mid__weight": ones(2, 2, 1, 1)},
        LORA | {"alpha": ones(2)},
        LORA | {"dora_scale": ones(5)},
        LOHA | {"hada_w2_b": ones(2, 5)},
        LOHA | {"hada_w2_b": ones(3, 6)},
        LOHA | {"hada_t1": ones(2, 2, 1, 1)},
        {"hada_w1_a": ones(8, 2)},
        LOKR | {"lokr_w2": ones(4, 4)},
        LOKR | {"lokr_t2": ones(4, 4)},
        {"lokr_w1": ones(2, 2)},
        {"lokr_w1_a": ones(2, 2), "lokr_w2": ones(4, 3)},
        {"diff": ones(6, 8)},
        {"set_weight": ones(8)},
    ],
)
def test_what_cannot_be_applied_is_unmatched_whole(tensors):
    file = parts(**tensors)
    found = conform(file, SHAPES, {})
    assert found.tensors == {}
    assert found.unmatched == list(file)


def test_a_packed_weight_is_left_for_the_patcher_to_judge():
    file = parts("blocks.0.packed", lora_down__weight=ones(2, 999), lora_up__weight=ones(5, 2), dora_scale=ones(3))
    assert conform(file, SHAPES, {}).unmatched == []
    broken = parts("blocks.0.packed", lora_down__weight=ones(2, 999), lora_up__weight=ones(5, 3))
    assert conform(broken, SHAPES, {}).tensors == {}


def test_a_reshaping_lora_is_left_for_the_patcher_to_judge():
    file = parts(**LORA, reshape_weight=ones(2)) | {}
    file[f"diffusion_model.{LAYER}.lora_up.weight"] = ones(16, 2)
    assert conform(file, SHAPES, {}).unmatched == []


def test_a_second_adapter_in_the_file_is_not_mixed_into_the_first():
    file = {f"{LAYER}.lora_{factor}.{adapter}.weight": ones(*shape)
            for adapter in ("first", "second") for factor, shape in (("A", (2, 6)), ("B", (8, 2)))}  # fmt: skip
    found = conform(file, SHAPES, {})
    assert found.unmatched == [f"{LAYER}.lora_A.second.weight", f"{LAYER}.lora_B.second.weight"]


def test_what_is_no_float_tensor_is_unmatched():
    file = {f"{LAYER}.lora_A.weight": ones(2, 6).int(), f"{LAYER}.lora_B.weight": "text", f"{LAYER}.alpha": 3}
    assert conform(file, SHAPES, {}).unmatched == list(file)
    assert conform({}, SHAPES, {}).tensors == {}


def test_a_kronecker_kernel_is_made_a_matrix():
    file = parts("patch_embedding", lokr_w1=ones(2, 1), lokr_w2=ones(4, 3, 1, 2, 2))
    found = conform(file, SHAPES, {})
    assert found.tensors["diffusion_model.patch_embedding.lokr_w2"].shape == (4, 12)


def settings(**values):
    return {"lora_adapter_metadata": json.dumps(values)}


@pytest.mark.parametrize(
    ("metadata", "alpha"),
    [
        ({}, None),
        (settings(lora_alpha=4), 4),
        (settings(**{"transformer.lora_alpha": 4, "transformer.r": 2}), 4),
        (settings(lora_alpha=4, use_rslora=True), 4 * math.sqrt(2)),
        (settings(lora_alpha=4, alpha_pattern={"self_attn.q": 7, "ffn.0": 9}), 7),
        (settings(lora_alpha=4, alpha_pattern={"attn.q": 7}), 4),  # a part of a component is no layer
        (settings(lora_alpha=4, alpha_pattern={".*q": 7}), 4),  # patterns of a file are not run
        (settings(lora_alpha=4, alpha_pattern=["q"]), 4),
        (settings(lora_alpha="4"), None),
        (settings(lora_alpha=True), None),
        ({"lora_adapter_metadata": '{"lora_alpha": NaN}'}, None),
        ({"lora_adapter_metadata": "[" * 100_000}, None),
        ({"lora_adapter_metadata": "[4]"}, None),
        ({"lora_adapter_metadata": '{"lora_alpha": 1e999}'}, None),
    ],
)
def test_peft_settings_give_the_alpha(metadata, alpha):
    found = conform(parts(**LORA), SHAPES, metadata)
    made = found.tensors.get(f"diffusion_model.{LAYER}.alpha")
    assert (None if made is None else made.item()) == (None if alpha is None else pytest.approx(alpha))


def test_an_alpha_tensor_comes_before_the_settings():
    found = conform(parts(**LORA, alpha=torch.tensor(3.0)), SHAPES, settings(lora_alpha=4))
    assert found.tensors[f"diffusion_model.{LAYER}.alpha"].item() == 3.0


def test_the_main_transformer_of_the_settings_counts():
    of_both = settings(**{"transformer.lora_alpha": 4, "transformer_2.lora_alpha": 9})
    assert Scaling.of(of_both) == Scaling(4.0, {}, False)
