"""Load LoRA with Trigger Words: what it does to the experts, and what it reports."""

import json
from pathlib import Path

import pytest
import torch
from pack.tests.toy import models as toy
from pack.tests.toy.loaded import apply_lora, load_expert
from pack.tests.toy.lora_node import apply, effect, expected_effect
from pack.weights import loading
from pack.weights.formats import model_file
from pack.weights.loading import shapes_of

pytestmark = pytest.mark.comfy

reader = loading.read_tensors


@pytest.mark.parametrize("strength", [1.0, 0.4, -0.7])
def test_each_expert_gets_its_own_file_at_its_own_strength(high, low, strength):
    patched_high, patched_low, *_ = apply(high, low, strength_high=strength, strength_low=0.5)
    assert torch.allclose(effect(patched_high, high), expected_effect(toy.lora(5), strength), atol=1e-5)
    assert torch.allclose(effect(patched_low, low), expected_effect(toy.lora(6), 0.5), atol=1e-5)


def test_the_experts_that_came_in_stay_as_they_were(high, low):
    apply(high, low)
    assert not high.patches
    assert not low.patches


def test_two_nodes_in_a_row_add_up(high, low):
    once_high, once_low, *_ = apply(high, low)
    twice, *_ = apply(once_high, once_low, strength_high=0.5)
    assert torch.allclose(effect(twice, high), expected_effect(toy.lora(5), 1.5), atol=1e-5)


def test_none_and_strength_0_change_nothing(high, low):
    same_high, same_low, *_ = apply(high, low, lora_high="none", lora_low="auto")
    assert same_high is high
    assert same_low is low
    same_high, _, _, _, report = apply(high, low, strength_high=0.0)
    assert same_high is high
    assert "The strength of" in report


def test_report_counts_layers_per_expert(high, low, add_lora):
    state = toy.lora(8)
    state["diffusion_model.blocks.9.self_attn.q.lora_down.weight"] = torch.zeros(4, 128)
    state["diffusion_model.blocks.9.self_attn.q.lora_up.weight"] = torch.zeros(128, 4)
    *_, report = apply(high, low, lora_high=add_lora("long.safetensors", state))
    assert "8 of 9 layers (24 keys), rank 4" in report
    assert "not applied: diffusion_model.blocks.9.self_attn.q (2 keys)" in report
    assert "8 of 8 layers (24 keys), rank 4" in report


def test_a_lora_that_matches_nothing_is_an_error_with_the_likely_cause(high, low, add_lora):
    state = {
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": torch.zeros(4, 320),
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": torch.zeros(320, 4),
    }
    name = add_lora("sdxl.safetensors", state)
    with pytest.raises(
        ValueError, match=r"LoRA 'sdxl.safetensors' matched 0 of 1 layers .* made for Stable Diffusion or SDXL"
    ):
        apply(high, low, lora_high=name)


def test_a_file_that_is_no_lora_is_named(high, low, add_lora):
    name = add_lora("expert.safetensors", toy.expert(1))
    with pytest.raises(ValueError, match=r"'expert.safetensors' is Wan 2.2 I2V A14B, not a LoRA"):
        apply(high, low, lora_high=name)


@pytest.mark.parametrize("extra", [{5: "x"}, {("a", "b"): 1}, {"epoch": 3}])
def test_a_pytorch_file_that_holds_more_than_its_tensors_applies(high, tmp_path, extra):
    torch.save({**toy.lora(8), **extra}, tmp_path / "x.pt")
    assert apply_lora(high, str(tmp_path / "x.pt"), 1.0).match.matched == 8


def test_a_lora_of_a_smaller_model_is_no_match_though_its_names_are(high, low, add_lora):
    name = add_lora("small.safetensors", toy.lora(8, dim=64))
    with pytest.raises(ValueError, match=r"LoRA 'small.safetensors' matched 0 of 8 layers"):
        apply(high, low, lora_high=name)


def test_a_layer_with_weight_and_bias_counts_once(high, low, add_lora):
    state = toy.lora(8)
    for key in [key for key in state if key.endswith(".alpha")]:
        state[key.replace(".alpha", ".diff_b")] = torch.zeros(128)
    *_, report = apply(high, low, lora_high=add_lora("biased.safetensors", state))
    assert report.splitlines()[1].strip().startswith("8 of 8 layers")


def test_a_file_with_both_experts_gives_each_its_own_half(high, low, add_lora):
    seeds, alphas = {"transformer": 5, "transformer_2": 6}, {"transformer": 8.0, "transformer_2": 2.0}
    state, layer = {}, "diffusion_model.blocks.0.self_attn.q"
    for half, seed in seeds.items():
        for part, spelled in (("down", "A"), ("up", "B")):
            state[f"{half}.blocks.0.attn1.to_q.lora_{spelled}.weight"] = toy.lora(seed)[f"{layer}.lora_{part}.weight"]
    settings = {f"{half}.lora_alpha": alpha for half, alpha in alphas.items()}
    name = add_lora("both.safetensors", state, {"lora_adapter_metadata": json.dumps(settings)})
    patched_high, patched_low, *_, report = apply(high, low, lora_high=name, lora_low="auto")
    for half, patched, original in (("transformer", patched_high, high), ("transformer_2", patched_low, low)):
        change = expected_effect(toy.lora(seeds[half]), alphas[half] / toy.RANK)
        assert torch.allclose(effect(patched, original), change, atol=1e-5), half
    assert report.count("for the other expert: 2 keys") == 2


class Packed(torch.nn.Linear):
    """A layer that stores its weight in a form of its own, as those of other packs do."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        destination[f"{prefix}packed"] = self.weight


def test_what_comfyuis_patcher_has_no_place_for_is_told(models, add_lora):
    model = load_expert(str(models / "diffusion_models" / toy.HIGH), "default")
    model.model.diffusion_model.blocks[1].self_attn.o = Packed(toy.DIM, toy.DIM)
    name = add_lora("style.safetensors", toy.lora(8))
    *_, report = apply(model, model, lora_high=name, lora_low="none")
    assert "7 of 8 layers (21 keys)" in report
    assert "not applied: diffusion_model.blocks.1.self_attn.o (3 keys)" in report


def test_at_strength_0_no_tensor_is_read(high, low, monkeypatch):
    read = []
    monkeypatch.setattr(loading, "read_tensors", lambda file: read.append(file.name) or reader(file))
    apply(high, low, strength_high=0.0, strength_low=0.0)
    assert read == []
    apply(high, low, strength_low=0.0)
    assert read == [toy.LORA_HIGH]


def test_each_file_is_listed_once(high, low, monkeypatch):
    listed, read = [], model_file.read_safetensors

    def note(file, size):
        listed.append(Path(file.name).name)
        return read(file, size)

    monkeypatch.setattr(model_file, "read_safetensors", note)
    apply(high, low)
    assert listed == [toy.LORA_HIGH, toy.LORA_LOW]
    apply(high, low, lora_low=toy.LORA_HIGH)
    assert listed[2:] == [toy.LORA_HIGH]


def test_the_shapes_of_packed_weights_are_not_known(high):
    packed = high.clone()
    packed.model = torch.nn.Module()
    packed.model.diffusion_model = torch.nn.Module()
    packed.model.diffusion_model.weight = torch.nn.Parameter(torch.zeros(4, 8, dtype=torch.uint8), requires_grad=False)
    assert shapes_of(packed) == {"weight": None}
    assert shapes_of(high)["blocks.0.self_attn.q"] == (128, 128)
    assert shapes_of(high)["blocks.0.modulation"] == (1, 6, 128)


@pytest.mark.parametrize("slots", ["high and auto", "high", "low", "both"])
@pytest.mark.parametrize(
    ("high_name", "low_name"),
    [("diffusion_model.transformer_1.", "diffusion_model.transformer_2."), ("high_noise.", "low_noise.")],
)
def test_a_file_for_both_experts_gives_each_its_half_whichever_slot_it_is_in(
    high, low, add_lora, high_name, low_name, slots
):
    state = {
        name.replace("diffusion_model.", prefix): value
        for seed, prefix in ((5, high_name), (6, low_name))
        for name, value in toy.lora(seed).items()
    }
    name = add_lora("both.safetensors", state)
    chosen = {
        "high and auto": {"lora_high": name, "lora_low": "auto"},
        "high": {"lora_high": name, "lora_low": "none"},
        "low": {"lora_high": "none", "lora_low": name},
        "both": {"lora_high": name, "lora_low": name},
    }[slots]
    patched_high, patched_low, *_, report = apply(high, low, **chosen)
    for patched, original, seed, slot in ((patched_high, high, 5, "lora_high"), (patched_low, low, 6, "lora_low")):
        if chosen[slot] == "none":
            assert patched is original
        else:
            assert torch.allclose(effect(patched, original), expected_effect(toy.lora(seed), 1.0), atol=1e-5)
    alone = slots in ("high", "low")
    assert report.count("for the other expert: 24 keys, as the file holds both") == (1 if alone else 2)
    assert ("which is not applied. Choose it in lora_" in report) == alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lora_up.weight": torch.nan},
            "holds NaN in diffusion_model.blocks.1.self_attn.k.lora_up.weight, which would",
        ),
        ({"lora_down.weight": torch.inf}, "holds infinity in diffusion_model.blocks.1.self_attn.k.lora_down.weight"),
        ({"alpha": torch.inf}, "holds infinity in diffusion_model.blocks.1.self_attn.k.alpha"),
        ({"alpha": torch.nan}, "holds NaN in diffusion_model.blocks.1.self_attn.k.alpha"),
    ],
)
def test_numbers_that_are_none_are_refused_with_their_layer(high, low, add_lora, change, message):
    state = toy.lora(8)
    for part, bad in change.items():
        state[f"diffusion_model.blocks.1.self_attn.k.{part}"].view(-1)[0] = bad
    with pytest.raises(ValueError, match=f"^LoRA 'bad.safetensors' {message}"):
        apply(high, low, lora_high=add_lora("bad.safetensors", state))


def test_a_lora_in_int8_is_refused_with_the_reason(high, low, add_lora):
    state = {name.replace(".weight", ".weight._data"): value.char() for name, value in toy.lora(8).items()}
    with pytest.raises(ValueError, match=r"^LoRA 'int8.safetensors' stores its factors as int8, as quanto does"):
        apply(high, low, lora_high=add_lora("int8.safetensors", state))


def test_a_lora_of_zeros_applies_with_a_warning(high, low, add_lora):
    state = {name: value * 0 if "lora_up" in name else value for name, value in toy.lora(8).items()}
    *_, report = apply(high, low, lora_high=add_lora("untrained.safetensors", state), lora_low="none")
    assert "  layers of zeros, which change nothing: 8" in report.splitlines()
    assert "Warning: All layers of 'untrained.safetensors' hold zeros, so it does nothing" in report


def test_a_lora_with_bytes_after_its_last_tensor_applies(high, low, add_lora, models):
    name = add_lora("spare.safetensors", toy.lora(8))
    with (models / "loras" / name).open("ab") as file:
        file.write(b"\0" * 16)
    patched, *_, report = apply(high, low, lora_high=name, lora_low="none")
    assert torch.allclose(effect(patched, high), expected_effect(toy.lora(8), 1.0), atol=1e-5)
    assert "8 of 8 layers (24 keys)" in report


def test_a_lora_of_a_compiled_model_applies(high, low, add_lora):
    state = {
        name.replace("diffusion_model.blocks.", "_orig_mod.blocks.").replace(
            ".self_attn.", "._orig_mod.self_attn."
        ): value
        for name, value in toy.lora(8).items()
    }
    patched, *_, report = apply(high, low, lora_high=add_lora("compiled.safetensors", state), lora_low="none")
    assert torch.allclose(effect(patched, high), expected_effect(toy.lora(8), 1.0), atol=1e-5)
    assert "8 of 8 layers (24 keys)" in report
