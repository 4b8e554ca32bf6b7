"""Knowing a file by its structure."""

import pytest
from pack.tests.toy.shapes import I2V
from pack.weights.wan.transformer import Kind, identify


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "model.", "net."])
@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Kind.WAN22_I2V),
        ({"attn.comfy_quant": (3,), "scaled_fp8": (0,)}, Kind.WAN22_I2V),
        ({"patch_embedding.weight": (128, 16, 1, 2, 2)}, Kind.WAN_T2V),
        ({"patch_embedding.weight": (128, 48, 1, 2, 2), "head.head.weight": (192, 128)}, Kind.WAN22_TI2V_5B),
        ({"img_emb.proj.0.bias": (8,)}, Kind.WAN21_I2V),
        ({"vace_patch_embedding.weight": (128, 96, 1, 2, 2)}, Kind.WAN_VACE),
        ({"face_adapter.fuser_blocks.0.k_norm.weight": (8,), "img_emb.proj.0.bias": (8,)}, Kind.WAN_ANIMATE),
        ({"control_adapter.conv.weight": (8, 8)}, Kind.WAN_FUN_CAMERA),
        ({"ref_conv.weight": (8, 8)}, Kind.WAN_FUN_CONTROL),
        ({"casual_audio_encoder.encoder.final_linear.weight": (8, 8)}, Kind.WAN_S2V),
        ({"audio_proj.audio_proj_glob_1.layer.bias": (8,)}, Kind.WAN_OTHER),
        ({"patch_embedding_pose.weight": (8, 8)}, Kind.WAN_OTHER),
        ({"patch_embedding.weight": (128, 52, 1, 2, 2)}, Kind.WAN_FUN_CONTROL),
        ({"patch_embedding.weight": (128, 48, 1, 2, 2), "img_emb.proj.0.bias": (8,)}, Kind.WAN_FUN_CONTROL),
        ({"patch_embedding.weight": (128, 100, 1, 2, 2)}, Kind.WAN_OTHER),
        ({"patch_embedding.weight": (128, 144)}, Kind.WAN22_I2V),  # TurboDiffusion
        ({"patch_embedding.weight": (128, 64)}, Kind.WAN_T2V),
        ({"blocks.0.ffn.0.int8_weight": (8, 8)}, Kind.WAN22_I2V),
        ({"head.head.weight": None}, Kind.WAN_PART),
        ({"patch_embedding.weight": None}, Kind.WAN_PART),
    ],
)
def test_a_wan_model_is_known_by_its_structure(header, prefix, changes, kind):
    shapes = {prefix + key: shape for key, shape in (I2V | changes).items() if shape is not None}
    assert identify(header(shapes)) is kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["lora_unet_blocks_0_ffn_0.lora_down.weight"], Kind.LORA),
        (["diffusion_model.blocks.0.ffn.0.lora_A.weight"], Kind.LORA),
        (["blocks.0.ffn.0.lora_B.default.weight"], Kind.LORA),
        (["unet.up_lora.down.weight"], Kind.LORA),
        (["x.hada_w1_a"], Kind.LORA),
        (["x.lokr_w1"], Kind.LORA),
        (["diffusion_model.head.modulation.diff"], Kind.LORA),
        (["diffusion_model.blocks.0.ffn.0.diff_b"], Kind.LORA),
        (["blocks.0.self_attn.q.lora_linear_layer.up.weight"], Kind.LORA),
        (["lora_unet_blocks_0_self_attn_q.oft_blocks"], Kind.LORA),
        (["blocks.0.attn1.to_q.oft_r.default.weight"], Kind.LORA),
        (["blocks.0.attn1.to_q.boft_R"], Kind.LORA),
        (["blocks.0.self_attn.q.a1.weight", "blocks.0.self_attn.q.b2.weight"], Kind.LORA),
        (["diffusion_model.blocks.0.norm3.set_weight"], Kind.LORA),
        (["diffusion_model.blocks.0.norm3.w_norm"], Kind.LORA),
        (["blocks.0.self_attn.q.alpha"], Kind.WAN_PART),
        (["decoder.middle.0.residual.0.gamma"], Kind.VAE),
        (["decoder.conv_in.weight"], Kind.VAE),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], Kind.TEXT_ENCODER),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], Kind.TEXT_ENCODER),
        (["model.layers.0.self_attn.q_proj.weight"], Kind.TEXT_ENCODER),
        (["token_embedding.weight", "blocks.0.attn.q.weight"], Kind.TEXT_ENCODER),
        (["model.diffusion_model.input_blocks.0.0.weight"], Kind.UNKNOWN),
        (["explora_download.weight", "x.different"], Kind.UNKNOWN),
        ([], Kind.UNKNOWN),
    ],
)
def test_other_files_are_known_by_their_names(header, names, kind):
    assert identify(header(dict.fromkeys(names, (4, 4)))) is kind
