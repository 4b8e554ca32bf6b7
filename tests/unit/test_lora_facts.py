"""What a LoRA file tells of itself: rank, model, trainer."""

import json

import pytest
import torch
from pack.tests.toy import lora_formats
from pack.tests.toy.shapes import WAN, wan
from pack.weights.formats.model_file import open_model
from pack.weights.loras import report as lora_report
from pack.weights.wan.transformer import Kind
from safetensors.torch import save_file


@pytest.mark.parametrize(
    "ends",
    [
        [".lora_down.weight", ".lora_up.weight", ".alpha", ".dora_scale"],
        [".lora_A.weight", ".lora_B.weight"],
        [".lora_A.default.weight", ".lora_B.default.weight"],
        ["_lora.down.weight", "_lora.up.weight"],
        [".lora.down.weight", ".lora.up.weight"],
        [".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"],
        [".lokr_w1", ".lokr_w2_a", ".lokr_w2_b"],
        [".diff", ".diff_b"],
    ],
)
def test_the_tensors_of_one_layer_count_once(ends):
    names = [f"{layer}{end}" for layer in ("blocks.0.ffn.0", "blocks.1.ffn.0") for end in ends]
    assert lora_report.layers(names) == ["blocks.0.ffn.0", "blocks.1.ffn.0"]


def test_the_rank_is_read_from_the_tensors_before_the_metadata(facts):
    found = facts(wan(ranks=(4, 4)) | {WAN.format(0, "B"): (5120, 4)}, ss_network_dim="64")
    assert (found.rank, found.rank_varies) == (4, False)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lora_unet_blocks_0_ffn_0.lora_down.weight", (4, 9)),
        ("blocks.0.ffn.0.lora_A.default.weight", (4, 9)),
        ("x_lora.down.weight", (4, 9)),
        ("x.hada_w1_b", (4, 9)),
        ("x.lokr_w2_b", (4, 9)),
    ],
)
def test_the_rank_is_known_in_every_format(facts, name, shape):
    assert facts({name: shape}).rank == 4


def test_a_rank_that_differs_between_layers_is_given_by_its_largest(facts):
    found = facts(wan(ranks=(4, 12, 8)))
    assert (found.rank, found.rank_varies) == (12, True)


@pytest.mark.parametrize(
    ("written", "rank"),
    [("64", 64), ("Dynamic", None), ("nan", None), ("inf", None), ("", None), ("1e300", None), ("-4", None)],
)
def test_without_shapes_the_rank_is_what_the_trainer_wrote(facts, written, rank):
    assert facts({"x.diff": (4,)}, ss_network_dim=written).rank == rank


@pytest.mark.parametrize(
    ("names", "model"),
    [
        ({WAN.format(0, "A"): (4, 5120)}, "Wan 14B"),
        ({"lora_unet_blocks_0_cross_attn_k.lora_down.weight": (4, 3072)}, "Wan 2.2 TI2V 5B"),
        ({"lora_unet__blocks_0_self_attn_o.lora_down.weight": (4, 1536)}, "Wan 1.3B"),
        ({WAN.format(0, "A"): (4, 128)}, "a Wan model of width 128"),
        ({"transformer.blocks.0.attn1.to_q.lora_A.weight": (4, 5120)}, "Wan 14B"),
        ({"lycoris_blocks_0_attn1_to_q.lokr_w1": (4, 4)}, "Wan"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 8)}, "Stable Diffusion or SDXL"),
        ({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": (4, 8)}, "Stable Diffusion or SDXL"),
        ({"unet.up_blocks.0.attn1.to_q.lora_A.weight": (4, 8)}, "Stable Diffusion or SDXL"),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 8)}, "Flux"),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 8)}, "Flux or HunyuanVideo"),
        ({"transformer_blocks.0.attn.add_q_proj.lora_A.weight": (4, 8)}, "Qwen-Image"),
        ({"diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight": (4, 8)}, "LTX-Video"),
        ({"net.blocks.0.self_attn.q_proj.lora_A.weight": (4, 5120)}, ""),
        ({"lora_te_layers_0.lora_down.weight": (4, 8)}, ""),
        ({"lora_transformer_blocks_0_attn1_to_q.lora_down.weight": (4, 5120)}, "Wan 14B"),
        ({"lora_transformer_blocks_0_attn1_to_q.hada_w1_a": (4, 8)}, "Wan"),
        ({"lora_blocks_0_self_attn_q.lora_down.weight": (4, 1536)}, "Wan 1.3B"),
        ({"lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight": (4, 8)}, "LTX-Video"),
    ],
)
def test_the_layers_tell_the_model_it_was_made_for(facts, names, model):
    assert facts(names).made_for == model


@pytest.mark.parametrize("name", lora_formats.FORMATS)
def test_every_format_is_known_as_a_lora_of_wan(tmp_path, name):
    tensors, metadata, _ = lora_formats.FORMATS[name](torch.Generator().manual_seed(1), torch.float32)
    save_file(tensors, tmp_path / "x.safetensors", metadata)
    found = lora_report.facts(open_model(tmp_path / "x.safetensors").header)
    assert found.kind is Kind.LORA
    assert found.made_for == ("Wan" if name == "LoKr" else "a Wan model of width 128")
    assert found.rank == lora_formats.RANK


@pytest.mark.parametrize(
    ("metadata", "trainer"),
    [
        ({"software": json.dumps({"name": "ai-toolkit", "version": "0.5"})}, "ai-toolkit"),
        ({"software": "diffusion-pipe"}, "diffusion-pipe"),
        ({"software": json.dumps({"name": 3}), "ss_network_module": "networks.lora"}, "sd-scripts"),
        ({"ss_network_module": "networks.lora_wan"}, "musubi-tuner"),
        ({"ss_network_module": "lycoris.kohya"}, "LyCORIS"),
        ({"ss_network_module": "my.module"}, "my.module"),
        ({"software": "[" * 100_000, "ss_network_module": "networks.lora_wan"}, "[" * 60),
        ({}, ""),
    ],
)
def test_the_trainer_is_named(facts, metadata, trainer):
    assert facts(wan(), **metadata).trainer == trainer


def test_what_the_trainer_wrote_is_made_printable_and_short(facts):
    found = facts(wan(), modelspec__architecture="wan\n2.2\x1b", modelspec__title="t" * 1000, ss_network_alpha="16")
    assert (found.base, found.title, found.alpha) == ("wan 2.2", "t" * 60, 16.0)
    assert facts(wan(), ss_base_model_version="wan22_14b", modelspec__architecture="other").base == "wan22_14b"
    assert facts(wan(), ss_network_alpha="sixteen").alpha is None
