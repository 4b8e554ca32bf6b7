"""Which expert a LoRA's tensors are for, where a file has both experts' or another model's."""

import pytest
import torch
from pack.tests.toy.conformed import conform
from pack.tests.unit.test_lora_format import LAYER, LORA, SHAPES, name, ones, parts
from pack.weights.formats.header import DamageError


def both_experts(low="transformer_2"):
    return {
        f"{expert}.blocks.0.attn1.to_q.lora_{factor}.weight": value * ones(*shape)
        for expert, value in (("transformer", 1), (low, 2))
        for factor, shape in (("A", (2, 6)), ("B", (8, 2)))
    }


def test_a_file_with_both_experts_gives_each_its_own():
    file = both_experts()
    for expert, value in (("high", 1), ("low", 2)):
        found = conform(file, SHAPES, expert=expert)
        assert found.passes[0][name("lora_up.weight")][0, 0] == value
        assert len(found.other_expert) == 2
        assert found.unmatched == found.ignored == []


def test_a_file_for_the_low_noise_expert_alone_gives_the_other_nothing():
    file = {key: value for key, value in both_experts().items() if "_2" in key}
    found = conform(file, SHAPES, expert="high")
    assert (found.passes, found.other_expert) == ([], list(file))
    assert conform(file, SHAPES, expert="low").other_expert == []


def test_without_its_other_half_the_usual_prefix_is_for_both():
    file = {key: value for key, value in both_experts().items() if "_2" not in key}
    assert conform(file, SHAPES, expert="low").unmatched == []
    assert conform(file, SHAPES, expert="high").unmatched == []


def halves(high, low, end="self_attn.q"):
    """A file that gives the two experts factors of 1 and of 2 under two prefixes."""
    return {
        f"{prefix}{end}.lora_{factor}.weight": value * ones(*shape)
        for prefix, value in ((high, 1), (low, 2))
        for factor, shape in (("down", (2, 6)), ("up", (8, 2)))
    }


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("diffusion_model.transformer_1.blocks.0.", "diffusion_model.transformer_2.blocks.0."),
        ("transformer_1.blocks.0.", "transformer_2.blocks.0."),
        ("diffusion_model.transformer.blocks.0.", "diffusion_model.transformer_2.blocks.0."),
        ("high_noise.blocks.0.", "low_noise.blocks.0."),
        ("diffusion_model.high_noise.blocks.0.", "diffusion_model.low_noise.blocks.0."),
        ("high_noise_model.blocks.0.", "low_noise_model.blocks.0."),
        ("pipe.dit.blocks.0.", "pipe.dit2.blocks.0."),
        ("diffusion_model.blocks.0.", "diffusion_model_2.blocks.0."),
        ("base_model.model.transformer_1._orig_mod.blocks.0.", "base_model.model.transformer_2._orig_mod.blocks.0."),
        ("lora_transformer.blocks.0.", "lora_transformer_2.blocks.0."),
        ("lora_transformer_blocks_0_", "lora_transformer_2_blocks_0_"),
        ("lora_unet_transformer_1_blocks_0_", "lora_unet_transformer_2_blocks_0_"),
        ("lora_unet_high_noise_blocks_0_", "lora_unet_low_noise_blocks_0_"),
        ("lycoris_transformer_1_blocks_0_", "lycoris_transformer_2_blocks_0_"),
        ("high.blocks.0.", "low.blocks.0."),
        ("highnoise.blocks.0.", "diffusion_model.lownoise.blocks.0."),
        ("HIGH_NOISE.blocks.0.", "LOW_NOISE.blocks.0."),
        ("Transformer.blocks.0.", "Transformer_2.blocks.0."),
    ],
)
def test_each_expert_gets_its_half_however_it_is_named(high, low):
    file = halves(high, low, "self_attn_q" if high.endswith("_") else "self_attn.q")
    for expert, value in (("high", 1), ("low", 2)):
        for tensors in (file, dict(reversed(file.items()))):
            found = conform(tensors, SHAPES, expert=expert)
            assert found.passes[0][name("lora_up.weight")].unique().item() == value
            assert (len(found.other_expert), found.unmatched, found.ignored) == (2, [], [])


@pytest.mark.parametrize(("high", "low"), [("high", "low"), ("high_noise", "low_noise"), ("HIGH", "LOW")])
def test_each_expert_gets_its_half_of_a_file_with_an_adapter_for_each(high, low):
    """PEFT keeps two adapters under one layer, each by the name that its user gave it."""
    file = {
        f"{LAYER}.lora_{factor}.{adapter}.weight": value * ones(*shape)
        for adapter, value in ((high, 1), (low, 2))
        for factor, shape in (("A", (2, 6)), ("B", (8, 2)))
    }
    for expert, value in (("high", 1), ("low", 2)):
        found = conform(file, SHAPES, expert=expert)
        assert found.passes[0][name("lora_up.weight")].unique().item() == value


def test_one_half_alone_is_for_its_expert_whatever_names_it():
    for key in ("low.blocks.0.self_attn.q.lora_A.weight", f"{LAYER}.lora_A.low.weight"):
        file = {key: ones(2, 6), key.replace("_A", "_B"): ones(8, 2)}
        assert conform(file, SHAPES, expert="high").passes == []
        assert len(conform(file, SHAPES, expert="low").passes) == 1


@pytest.mark.parametrize("adapter", ["low_light", "camera_high", "slow"])
def test_an_adapter_of_another_name_is_for_both_experts(adapter):
    file = {f"{LAYER}.lora_A.{adapter}.weight": ones(2, 6), f"{LAYER}.lora_B.{adapter}.weight": ones(8, 2)}
    for expert in ("high", "low"):
        assert len(conform(file, SHAPES, expert=expert).passes) == 1


@pytest.mark.parametrize("strange", ["transformer_3", "transformer_0", "mid_noise", "dit7", "unet_2", "expert_1"])
@pytest.mark.parametrize("beside", ["transformer_1", "diffusion_model"])
def test_a_part_of_another_model_is_named(strange, beside):
    with pytest.raises(DamageError, match=f"has tensors for {strange}, which is no part of Wan 2.2") as caught:
        conform(halves(f"{beside}.blocks.0.", f"diffusion_model.{strange}.blocks.0."), SHAPES)
    assert "transformer_1, for high noise, and transformer_2, for low noise" in str(caught.value)


def test_the_same_layers_under_two_names_that_nobody_knows_are_refused():
    with pytest.raises(DamageError, match=r"holds the same layers twice, .* such as early, late"):
        conform(halves("early.blocks.0.", "late.blocks.0."), SHAPES)
    assert conform(halves("transformer.blocks.0.", "diffusion_model.blocks.0."), SHAPES).unmatched == []


def test_what_has_no_place_may_be_called_anything():
    file = parts(**LORA) | {"lora_te1_text_model_encoder_2.transformer_3.alpha": torch.tensor(1.0)}
    assert len(conform(file, SHAPES).unmatched) == 1


def test_what_is_left_of_the_other_expert_is_not_this_ones():
    file = halves("transformer_1.blocks.0.", "transformer_2.blocks.0.")
    file["transformer_2.blocks.0.cross_attn.k_img.lora_down.weight"] = ones(2, 6)
    assert len(conform(file, SHAPES, expert="high").other_expert) == 3
