import pytest
from pack.weights.lora_keys import Key, Layers, diffusers_name, split

NAMES = [
    "patch_embedding",
    "blocks.0.self_attn.q",
    "blocks.0.self_attn.o",
    "blocks.0.self_attn.norm_q",
    "blocks.0.cross_attn.k",
    "blocks.0.norm3",
    "blocks.0.ffn.0",
    "blocks.0.modulation",
    "blocks.11.ffn.2",
    "head.head",
    "head.modulation",
    "time_projection.1",
]


@pytest.mark.parametrize(
    ("key", "layer", "part"),
    [
        ("a.b.lora_down.weight", "a.b", "lora_down.weight"),
        ("a.b.lora_A", "a.b", "lora_down.weight"),
        ("a.b_lora.up.weight", "a.b", "lora_up.weight"),
        ("a.b.lora.down.weight", "a.b", "lora_down.weight"),
        ("a.b.lora_linear_layer.up.weight", "a.b", "lora_up.weight"),
        ("a.b.lora_mid.weight", "a.b", "lora_mid.weight"),
        ("a.b.lora_magnitude_vector", "a.b", "dora_scale"),
        ("a.b.alpha", "a.b", "alpha"),
        ("a.b.hada_w1_a", "a.b", "hada_w1_a"),
        ("a.b.lokr_w2", "a.b", "lokr_w2"),
        ("a.b.diff_b", "a.b", "diff_b"),
        ("a.b.lora_B.bias", "a.b", "lora_up.bias"),
        ("a.b.lora_A.bias", "a.b.lora_A.bias", ""),
        ("a.b.weight", "a.b.weight", ""),
        ("alpha", "alpha", ""),
        ("", "", ""),
    ],
)
def test_a_key_is_split_into_layer_and_part(key, layer, part):
    assert split(key) == Key(layer, part)


@pytest.mark.parametrize("adapter", ["default", "my_style", "my-style", "水彩"])
@pytest.mark.parametrize("end", ["", ".weight"])
def test_an_adapters_name_is_told_apart(adapter, end):
    assert split(f"a.b.lora_B.{adapter}{end}") == Key("a.b", "lora_up.weight", adapter)
    assert split(f"a.b.lora_magnitude_vector.{adapter}{end}") == Key("a.b", "dora_scale", adapter)


@pytest.mark.parametrize(
    ("key", "layer", "part"),
    [
        ("diffusion_model.blocks.0.self_attn.q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("model.diffusion_model.blocks.0.self_attn.q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("lora_unet__blocks_11_ffn_2.alpha", "blocks.11.ffn.2", "alpha"),
        ("lycoris_blocks_0_attn1_to_out_0.lokr_w1", "blocks.0.self_attn.o", "lokr_w1"),
        ("transformer.blocks.0.attn1.norm_q.diff", "blocks.0.self_attn.norm_q", "diff"),
        ("transformer.blocks.0.norm2.diff", "blocks.0.norm3", "diff"),
        ("transformer.scale_shift_table.diff", "head.modulation", "diff"),
        ("transformer.blocks.0.scale_shift_table.diff", "blocks.0.modulation", "diff"),
        ("diffusion_model.blocks.0.diff_m", "blocks.0.modulation", "diff"),
        ("diffusion_model.head.diff_m", "head.modulation", "diff"),
        ("proj_out.lora_A.weight", "head.head", "lora_down.weight"),
        ("blocks.0._orig_mod.self_attn.q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("_orig_mod.module.blocks.0.self_attn.q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("diffusion_model._orig_mod.blocks.0.module.self_attn.q._orig_mod.lora_A", "blocks.0.self_attn.q", None),
        ("blocks.0._fsdp_wrapped_module._checkpoint_wrapped_module.ffn.0.alpha", "blocks.0.ffn.0", "alpha"),
        ("blocks.11.base_model.model.ffn.2.alpha", "blocks.11.ffn.2", "alpha"),
        ("transformer.blocks.0._orig_mod.attn1.to_q.base_layer.alpha", "blocks.0.self_attn.q", "alpha"),
        ("blocks.0._orig_mod.diff_m", "blocks.0.modulation", "diff"),
        ("lora_unet_blocks_0__orig_mod_self_attn_q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("lora_unet__orig_mod_blocks_0_module_self_attn_q.alpha", "blocks.0.self_attn.q", "alpha"),
        ("lycoris_blocks_0__orig_mod_attn1_to_out_0.lokr_w1", "blocks.0.self_attn.o", "lokr_w1"),
    ],
)
def test_a_layer_is_found_however_it_is_spelled(key, layer, part):
    assert Layers(NAMES).find(key) == Key(layer, part or "lora_down.weight")


@pytest.mark.parametrize(
    "key",
    [
        "vace_blocks.0.self_attn.q.alpha",
        "transformer_blocks.0.attn1.to_q.alpha",
        "blocks.00.self_attn.q.alpha",
        "blocks.1.self_attn.q.alpha",
        "lora_te_blocks_0_mlp.alpha",
        "blocks.0.self_attn.q.weight",
        "blocks.0.cross_attn.k_img.alpha",
        "...alpha",
        "",
    ],
)
def test_what_belongs_to_no_layer_is_not_found(key):
    assert Layers(NAMES).find(key) is None


def test_diffusers_names_are_those_of_its_conversion():
    assert {name: diffusers_name(name) for name in NAMES} == {
        "patch_embedding": "patch_embedding",
        "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
        "blocks.0.self_attn.o": "blocks.0.attn1.to_out.0",
        "blocks.0.self_attn.norm_q": "blocks.0.attn1.norm_q",
        "blocks.0.cross_attn.k": "blocks.0.attn2.to_k",
        "blocks.0.norm3": "blocks.0.norm2",
        "blocks.0.ffn.0": "blocks.0.ffn.net.0.proj",
        "blocks.0.modulation": "blocks.0.scale_shift_table",
        "blocks.11.ffn.2": "blocks.11.ffn.net.2",
        "head.head": "proj_out",
        "head.modulation": "scale_shift_table",
        "time_projection.1": "condition_embedder.time_proj",
    }
