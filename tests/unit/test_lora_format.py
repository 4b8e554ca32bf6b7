"""A LoRA's tensors in the one form that ComfyUI's patcher reads."""

import pytest
import torch
from pack.tests.toy.conformed import conform
from pack.weights.lora_keys import Scaling

LAYER = "blocks.0.self_attn.q"
SHAPES = {
    LAYER: (8, 6),
    f"{LAYER}.bias": (8,),
    "patch_embedding": (8, 3, 1, 2, 2),
    "blocks.0.self_attn.norm_q": (8,),  # without a bias
    "blocks.0.packed": None,
}


def ones(*shape):
    return torch.ones(*shape)


def parts(layer=LAYER, **tensors):
    return {f"diffusion_model.{layer}.{part.replace('__', '.')}": tensor for part, tensor in tensors.items()}


LORA = {"lora_down__weight": ones(2, 6), "lora_up__weight": ones(8, 2)}
LOHA = {"hada_w1_a": ones(8, 2), "hada_w1_b": ones(2, 6), "hada_w2_a": ones(8, 2), "hada_w2_b": ones(2, 6)}
LOKR = {"lokr_w1": ones(2, 2), "lokr_w2": ones(4, 3)}


def name(part):
    return f"diffusion_model.{LAYER}.{part}"


@pytest.mark.parametrize(
    "tensors",
    [
        LORA,
        LORA | {"alpha": torch.tensor(1.0)},
        {"lora_down__weight": ones(2, 6, 1, 1), "lora_up__weight": ones(8, 2, 1, 1)},  # as of a convolution of size 1
        LORA | {"alpha": torch.tensor(1)},  # scripts write it so
        LORA | {"dora_scale": ones(1, 6)},
        LORA | {"dora_scale": ones(8)},
        LORA | {"dora_scale": ones(8, 1)},
        LOHA,
        LOKR,
        {"lokr_w1_a": ones(2, 1), "lokr_w1_b": ones(1, 2), "lokr_w2": ones(4, 3)},
        {"diff": ones(8, 6)},
        {"diff_b": ones(8)},
        {"w_norm": ones(8, 6), "b_norm": ones(8)},
    ],
)
def test_what_fits_keeps_every_key(tensors):
    file = parts(**tensors)
    found = conform(file, SHAPES)
    assert found.unmatched == found.ignored == []
    assert set().union(*(origin.values() for origin in found.origin)) == set(file)


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
        LORA | {"lora_up__weight": ones(8, 2, 3, 3)},  # a kernel in the second factor makes its rank 18
        {"lora_down__weight": ones(2, 8), "lora_up__weight": ones(6, 2)},  # the product has the size, turned
        {"lora_down__weight": ones(0, 6), "lora_up__weight": ones(8, 0)},
        {"lora_down__weight": ones(2), "lora_up__weight": ones(8, 2)},
        LORA | {"alpha": ones(2)},
        LORA | {"dora_scale": ones(5)},
        LORA | {"dora_scale": ones(1, 8)},
        LOHA | {"hada_w2_b": ones(2, 5)},
        LOHA | {"hada_w2_b": ones(3, 6)},
        LOHA | {"hada_w2_b": ones(2, 6, 1)},
        LOHA | {"hada_t1": ones(2, 2, 1, 1)},
        LOHA | {"hada_t2": ones(2, 2, 1, 1)},
        {"hada_w1_a": ones(8, 2)},
        LOKR | {"lokr_w2": ones(4, 4)},
        LOKR | {"lokr_t2": ones(4, 4)},
        {"lokr_w1": ones(2, 2)},
        {"lokr_w1_a": ones(2, 2), "lokr_w2": ones(4, 3)},
        {"lokr_w1": ones(2, 2), "lokr_w2_a": ones(4, 1), "lokr_w2_b": ones(1, 3, 1)},
        {"diff": ones(6, 8)},
        {"diff_b": ones(6)},
        {"set_weight": ones(8, 6)},  # it replaces the weight, whatever the strength
        {"oft_blocks": ones(2, 4, 4)},
    ],
)
def test_what_cannot_be_applied_is_unmatched_whole(tensors):
    file = parts(**tensors)
    found = conform(file, SHAPES)
    assert found.passes == []
    assert found.unmatched == list(file)


def test_a_bias_that_the_layer_has_not_is_without_a_use():
    file = parts("blocks.0.self_attn.norm_q", diff=ones(8), diff_b=ones(8))
    found = conform(file, SHAPES)
    assert found.ignored == ["diffusion_model.blocks.0.self_attn.norm_q.diff_b"]
    assert found.unmatched == []


@pytest.mark.parametrize(
    ("tensors", "first", "second"),
    [
        (LORA | {"diff": ones(8, 6)}, "lora_up.weight", "diff"),
        (LORA | LOKR, "lora_up.weight", "lokr_w1"),
        (LOHA | {"w_norm": ones(8, 6)}, "hada_w1_a", "w_norm"),
        ({"diff_b": ones(8), "b_norm": ones(8)}, "diff_b", "b_norm"),
    ],
)
def test_two_changes_of_one_weight_go_in_two_passes(tensors, first, second):
    found = conform(parts(**tensors), SHAPES)
    assert name(first) in found.passes[0]
    assert name(first) not in found.passes[1]
    assert name(second) in found.passes[1]
    assert name(second) not in found.passes[0]
    assert found.unmatched == []


def test_a_change_of_the_bias_goes_with_that_of_the_weight():
    assert len(conform(parts(**LORA, diff_b=ones(8)), SHAPES).passes) == 1


def test_a_packed_weight_is_left_for_the_patcher_to_judge():
    file = parts("blocks.0.packed", lora_down__weight=ones(2, 999), lora_up__weight=ones(5, 2), dora_scale=ones(3))
    assert conform(file, SHAPES).unmatched == []
    broken = parts("blocks.0.packed", lora_down__weight=ones(2, 999), lora_up__weight=ones(5, 3))
    assert conform(broken, SHAPES).passes == []


@pytest.mark.parametrize("adapter", ["", ".default"])
@pytest.mark.parametrize(
    ("others", "scale"),
    [({}, 1.0), ({"alpha": torch.tensor(1.0)}, 0.5)],
)
def test_a_bias_of_the_second_factor_changes_the_bias_as_the_factors_do_the_weight(adapter, others, scale):
    key = f"diffusion_model.{LAYER}.lora_B{adapter}.bias"
    file = parts(**LORA, **others) | {key: 3 * ones(8)}
    found = conform(file, SHAPES)
    assert found.unmatched == found.ignored == []
    assert found.passes[0][name("diff_b")].equal(3 * scale * ones(8))
    assert found.origin[0][name("diff_b")] == key
    assert conform(file, SHAPES, Scaling(4.0, {}, False)).passes[0][name("diff_b")][0] == (1.5 if others else 6)


@pytest.mark.parametrize("others", [{"diff_b": ones(8)}, {}])
def test_a_bias_of_the_second_factor_that_has_no_place_is_without_a_use(others):
    key = f"{LAYER}.lora_B.bias"
    found = conform(parts(**LORA, **others) | {key: ones(8 if others else 9)}, SHAPES)
    assert (found.ignored, found.unmatched) == ([key], [])


def test_a_second_adapter_in_the_file_is_not_mixed_into_the_first():
    file = {f"{LAYER}.lora_A.first.weight": ones(2, 6), f"{LAYER}.lora_B.first.weight": ones(8, 2)}
    other = {
        f"{LAYER}.lora_A.second.weight": ones(2, 6),
        f"{LAYER}.lora_B.second.weight": ones(8, 2),
        f"{LAYER}.lora_magnitude_vector.second.weight": ones(8),
    }
    found = conform(file | other, SHAPES)
    assert found.ignored == list(other)
    assert set(found.passes[0]) == {name("lora_down.weight"), name("lora_up.weight")}


def test_a_second_spelling_of_a_layer_is_not_mixed_into_the_first():
    file = parts(**LORA) | {"lora_unet_blocks_0_self_attn_q.alpha": torch.tensor(400.0)}
    found = conform(file, SHAPES)
    assert found.ignored == ["lora_unet_blocks_0_self_attn_q.alpha"]
    assert name("alpha") not in found.passes[0]


def test_a_damaged_spelling_does_not_hide_a_whole_one():
    file = {f"a.{LAYER}.lora_A.weight": ones(2, 6)} | parts(**LORA)
    assert conform(file, SHAPES).ignored == [f"a.{LAYER}.lora_A.weight"]


def test_what_is_no_float_tensor_is_unmatched():
    file = {f"{LAYER}.lora_A.weight": ones(2, 6).int(), f"{LAYER}.lora_B.weight": "text", f"{LAYER}.alpha": 3}
    assert conform(file, SHAPES).unmatched == list(file)
    assert conform({}, SHAPES).passes == []


def test_a_kronecker_kernel_is_made_a_matrix():
    file = parts("patch_embedding", lokr_w1=ones(2, 1), lokr_w2=ones(4, 3, 1, 2, 2))
    found = conform(file, SHAPES)
    assert found.passes[0]["diffusion_model.patch_embedding.lokr_w2"].shape == (4, 12)


def test_the_settings_give_an_alpha_where_the_file_has_no_tensor_of_it():
    settings = Scaling(4.0, {}, False)
    assert conform(parts(**LORA), SHAPES, settings).passes[0][name("alpha")].item() == 4.0
    own = parts(**LORA, alpha=torch.tensor(3))
    assert conform(own, SHAPES, settings).passes[0][name("alpha")].item() == 3
