"""Knowing a file by its structure, and refusing the wrong one with a remedy."""

import pytest
import torch
from pack.tests.toy import models as toy
from pack.weights import inspect, turbodiffusion
from pack.weights.inspect import Header, Kind, TensorInfo
from safetensors.torch import save_file

I2V = dict(toy.expert_shapes(36, 16, 128, 1, 8))
T2V = I2V | {"patch_embedding.weight": (128, 16, 1, 2, 2)}
ATTENTION = "encoder.block.{}.layer.0.SelfAttention.{}.weight"
UMT5 = {
    "shared.weight": (20, 4096),
    ATTENTION.format(0, "q"): (6, 4096),
    ATTENTION.format(0, "relative_attention_bias"): (32, 2),
    ATTENTION.format(1, "q"): (6, 4096),
    ATTENTION.format(1, "relative_attention_bias"): (32, 2),
    "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (5, 4096),
    "spiece_model": (9,),
}
VAE21 = {"decoder.middle.0.residual.0.gamma": (8, 1, 1, 1), "decoder.conv1.weight": (8, 16, 3, 3, 3)}
VAE22 = VAE21 | {"decoder.upsamples.0.upsamples.0.residual.2.weight": (8, 8, 3, 3, 3)}
SD_VAE = {"decoder.conv_in.weight": (8, 4, 3, 3)}
LORA = {"diffusion_model.blocks.0.ffn.0.lora_A.weight": (4, 8)}
FILES = {
    "i2v_high_noise.safetensors": I2V,
    "i2v_low_noise.safetensors": I2V,
    "umt5.safetensors": UMT5,
    "vae.safetensors": VAE21,
}


def write(folder, shapes, name="x.safetensors", metadata=None):
    path = folder / name
    save_file({key: torch.zeros(shape, dtype=torch.uint8) for key, shape in shapes.items()}, path, metadata)
    return path


@pytest.fixture
def header(tmp_path):
    return lambda shapes: inspect.read_header(write(tmp_path, shapes))


def without(shapes, *names):
    return {key: shape for key, shape in shapes.items() if key not in names}


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
    assert inspect.identify(header(shapes)) is kind


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
    assert inspect.identify(header(dict.fromkeys(names, (4, 4)))) is kind


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (T2V, "Wan T2V (16 input channels): it takes no start image."),
        (
            I2V | {"patch_embedding.weight": (128, 48, 1, 2, 2), "head.head.weight": (192, 128)},
            "Wan 2.2 TI2V 5B (48 input channels): it is one small model instead of two experts, with a VAE of its own.",
        ),
        (
            I2V | {"img_emb.proj.0.bias": (8,)},
            "Wan 2.1 I2V (36 input channels): it is one model instead of two experts.",
        ),
        (
            T2V | {"vace_blocks.0.x": (8,)},
            "Wan VACE (16 input channels): it follows control videos instead of a start image.",
        ),
        (
            I2V | {"face_adapter.x": (8,)},
            "Wan Animate (36 input channels): it follows the video of a performer.",
        ),
        (
            I2V | {"patch_embedding.weight": (128, 52, 1, 2, 2)},
            "Wan Fun Control (52 input channels): it follows control videos beside the start image.",
        ),
        (
            I2V | {"control_adapter.conv.weight": (8, 8)},
            "Wan Fun Camera (36 input channels): it follows a camera path beside the start image.",
        ),
        (
            T2V | {"casual_audio_encoder.encoder.final_linear.weight": (8, 8)},
            "Wan S2V (16 input channels): it follows a voice recording.",
        ),
        (
            I2V | {"patch_embedding.weight": (128, 100, 1, 2, 2)},
            "another Wan variant (100 input channels): it wants inputs that an image-to-video expert does not have.",
        ),
        (
            T2V | {"patch_embedding.weight": (128, 64)},
            "Wan T2V (16 input channels): it takes no start image.",
        ),
        (UMT5, "a text encoder: it belongs in the input text_encoder."),
        (VAE21, "a VAE: it belongs in the input vae."),
        (
            LORA,
            "a LoRA: it changes a model and is none itself, so it belongs in the node Load LoRA with Trigger Words.",
        ),
        (
            without(I2V, "head.modulation", "head.head.weight"),
            "one part of a Wan model: ComfyUI reads a model from one file, not from several.",
        ),
        (
            without(I2V, "patch_embedding.weight"),
            "one part of a Wan model: ComfyUI reads a model from one file, not from several.",
        ),
        (
            {"condition_embedder.time_proj.weight": (8, 8), "patch_embedding.weight": (128, 36, 1, 2, 2)},
            "a Wan model with the tensor names of diffusers: ComfyUI does not read those.",
        ),
        (
            {"blocks.9.attn1.to_q.weight": (8, 8)},
            "a Wan model with the tensor names of diffusers: ComfyUI does not read those.",
        ),
        ({"x": (1,)}, "an unknown kind of file: it has no tensors of a Wan model."),
    ],
)
@pytest.mark.parametrize("slot", ["high", "low"])
def test_a_file_that_is_no_expert_is_named_with_what_to_choose(header, shapes, reason, slot):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' is ") as caught:
        inspect.check_expert(header(shapes), "x.safetensors", slot)

    assert str(caught.value) == (
        f"'x.safetensors' is {reason} Choose a Wan 2.2 I2V A14B {slot}-noise file, "
        f"for example wan2.2_i2v_{slot}_noise_14B_fp8_scaled.safetensors."
    )


@pytest.mark.parametrize(
    ("width", "name", "model"),
    [
        (5120, "wan2.2_t2v_high_noise_14B_fp16.safetensors", "Wan 2.2 T2V A14B"),
        (5120, "wan2.1_t2v_14B_fp16.safetensors", "Wan 2.1 T2V 14B"),
        (1536, "wan2.1_t2v_1.3B_fp16.safetensors", "Wan 2.1 T2V 1.3B"),
        (128, "wan.safetensors", "Wan T2V"),
    ],
)
def test_a_text_to_video_model_is_told_by_its_width_and_its_name(header, width, name, model):
    with pytest.raises(ValueError, match=rf"^'{name}' is {model} \(16 input channels\): it takes no start image\."):
        inspect.check_expert(header(T2V | {"head.modulation": (1, 2, width)}), name, "high")


def test_every_kind_but_the_right_one_has_a_reason():
    assert set(inspect._WHY_NOT_AN_EXPERT) == set(Kind) - {Kind.WAN22_I2V}


@pytest.mark.parametrize(("name", "slot"), [("i2v_high_noise.safetensors", "high"), ("i2v.safetensors", "low")])
def test_a_fitting_expert_gives_no_warning(header, name, slot):
    assert inspect.check_expert(header(I2V), name, slot) == []


def test_a_part_that_has_the_ends_of_the_model_is_known_by_its_name(header):
    with pytest.raises(
        ValueError, match=r"^'wan-00001-of-00006\.safetensors' is one part of a Wan model: ComfyUI reads"
    ):
        inspect.check_expert(header(I2V), "wan-00001-of-00006.safetensors", "high")


def expert(width, blocks, prefix=""):
    shapes = turbodiffusion._shapes(1) | {f"blocks.{n}{name[8:]}": () for n in blocks for name in BLOCK}
    if 0 not in blocks:
        shapes = {name: axes for name, axes in shapes.items() if not name.startswith("blocks.0.")}
    sizes = {"head.modulation": (1, 2, width), "patch_embedding.weight": (width, 36, 1, 2, 2)}
    sizes |= {"head.head.weight": (64, width)}
    return Header({prefix + name: TensorInfo("BF16", sizes.get(name, (8, 8))) for name in shapes}, {})


BLOCK = [name for name in turbodiffusion._shapes(1) if name.startswith("blocks.0.")]


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize(("width", "blocks"), [(5120, range(40)), (128, range(2)), (256, range(7))])
def test_a_whole_expert_is_passed(width, blocks, prefix):
    assert inspect.check_expert(expert(width, blocks, prefix), "high.safetensors", "high") == []


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize(
    ("width", "blocks", "lacks"),
    [
        (5120, range(20), "blocks.20.modulation, blocks.20.norm3.weight, blocks.20.norm3.bias and 537 more"),
        (5120, [], "blocks.0.modulation, blocks.0.norm3.weight, blocks.0.norm3.bias and 1077 more"),
        (5120, [*range(7), *range(8, 40)], "blocks.7.modulation, blocks.7.norm3.weight, blocks.7.norm3.bias and 24"),
        (128, [0, 2], "blocks.1.modulation, blocks.1.norm3.weight, blocks.1.norm3.bias and 24 more"),
    ],
)
def test_an_expert_without_some_blocks_is_refused(width, blocks, lacks, prefix):
    with pytest.raises(ValueError, match=rf"^'high\.safetensors' is not whole: it lacks {lacks}") as caught:
        inspect.check_expert(expert(width, blocks, prefix), "high.safetensors", "high")
    assert str(caught.value).endswith(" more. Download it again.")


def test_an_expert_without_one_tensor_or_with_more_blocks_is_refused(header):
    with pytest.raises(ValueError, match=r"is not whole: it lacks blocks\.0\.ffn\.2\.bias\. Download it again\.$"):
        inspect.check_expert(header(without(I2V, "blocks.0.ffn.2.bias")), "high.safetensors", "high")
    with pytest.raises(
        ValueError, match=r"has 41 blocks, where a Wan model of its width has 40\. Choose another version"
    ):
        inspect.check_expert(expert(5120, range(41)), "high.safetensors", "high")


def test_an_expert_named_for_the_other_input_gives_a_warning(header):
    assert inspect.check_expert(header(I2V), "i2v_low_noise.safetensors", "high") == [
        "'i2v_low_noise.safetensors' is in the input high_noise, but its name says that it is the low-noise expert. "
        "Check that the two experts are not swapped."
    ]


def test_the_same_file_for_both_experts_gives_a_warning():
    assert inspect.check_pair("high.safetensors", "low.safetensors") == []
    assert inspect.check_pair("a.safetensors", "a.safetensors") == [
        "Both experts are the same file, 'a.safetensors'. Wan 2.2 was made to change from a high-noise to a low-noise "
        "expert during a run: unless this is deliberate, choose the other expert's file in one of the inputs."
    ]


def test_reads_the_sizes_that_a_small_umt5_may_differ_in(header):
    sizes = {"d_ff": 5, "d_kv": 3, "num_heads": 2, "num_layers": 2, "vocab_size": 20}
    assert inspect.text_encoder_sizes(header(UMT5)) == sizes


@pytest.mark.parametrize("missing", [key for key in UMT5 if "block.1" not in key and key != "spiece_model"])
def test_sizes_of_an_incomplete_text_encoder_are_refused(header, missing):
    with pytest.raises(ValueError, match=r"^The text encoder has no complete first block of umT5\. Choose umT5-XXL"):
        inspect.text_encoder_sizes(header(without(UMT5, missing)))


def test_heads_that_do_not_divide_the_attention_are_refused(header):
    with pytest.raises(ValueError, match="no complete first block"):
        inspect.text_encoder_sizes(header(UMT5 | {ATTENTION.format(0, "q"): (7, 4096)}))


def test_umt5_is_accepted(header):
    inspect.check_text_encoder(header(UMT5), "x.safetensors")


def xxl():
    parts = [f"encoder.block.{layer}.{part}" for layer in range(24) for part in inspect._PARTS_OF_A_LAYER]
    sizes = {"shared.weight": (256384, 4096), ATTENTION.format(0, "relative_attention_bias"): (32, 64)}
    names = (*UMT5, *parts, "encoder.final_layer_norm.weight")
    return Header({name: TensorInfo("BF16", sizes.get(name, (4096, 4096))) for name in names}, {})


def test_umt5_xxl_is_passed_only_with_all_its_layers():
    whole = xxl()
    inspect.check_text_encoder(whole, "x.safetensors")
    for layers, lacks in (
        (23, "encoder.block.23.layer.0.SelfAttention.q.weight, .* and 7 more"),
        (5, ".* and 187 more"),
    ):
        names = [name for name in whole.tensors if not name.startswith("encoder.b") or int(name.split(".")[2]) < layers]
        cut = Header({name: whole.tensors[name] for name in names}, {})
        with pytest.raises(
            ValueError, match=rf"^'x\.safetensors' is not whole: it lacks {lacks}\. Download it again\.$"
        ):
            inspect.check_text_encoder(cut, "x.safetensors")
    del whole.tensors["encoder.block.9.layer.1.DenseReluDense.wo.weight"]
    with pytest.raises(ValueError, match=r"it lacks encoder\.block\.9\.layer\.1\.DenseReluDense\.wo\.weight\."):
        inspect.check_text_encoder(whole, "x.safetensors")


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        (I2V, "is Wan 2.2 I2V A14B (36 input channels), not a text encoder."),
        (VAE21, "is a VAE, not a text encoder."),
        (
            {"token_embedding.weight": (8, 8)},
            "is umT5 with the tensor names of the original Wan release, which ComfyUI does not read.",
        ),
        (
            UMT5 | {"shared.weight": (20, 2048)},
            "is a text encoder, but not umT5-XXL, which Wan was trained with.",
        ),
        (
            {"text_model.encoder.layers.0.mlp.fc1.weight": (8, 8)},
            "is a text encoder, but not umT5-XXL, which Wan was trained with.",
        ),
        (
            without(UMT5, ATTENTION.format(1, "relative_attention_bias")),
            "is T5-XXL, the text encoder of Flux and SD3; Wan was trained with umT5-XXL.",
        ),
        (without(UMT5, "spiece_model"), "is umT5 without the tokenizer that ComfyUI expects inside the file."),
    ],
)
def test_what_is_not_umt5_is_refused(header, shapes, problem):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' is ") as caught:
        inspect.check_text_encoder(header(shapes), "x.safetensors")
    assert str(caught.value) == (
        f"'x.safetensors' {problem} "
        "Choose umT5-XXL as ComfyUI packs it, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors."
    )


def test_the_vae_of_wan_21_is_accepted(header):
    assert (
        inspect.check_vae(header(VAE21 | {"decoder.head.2.weight": (3, 8, 3, 3, 3)}), "wan_2.1_vae.safetensors") == []
    )


def test_the_vae_of_qwen_image_is_known_by_its_name_alone(header):
    assert inspect.check_vae(header(VAE21), "qwen_image_vae.safetensors") == [
        "'qwen_image_vae.safetensors' is named for Qwen-Image, whose VAE has the tensors of Wan's, but was trained for "
        "single pictures. Choose wan_2.1_vae.safetensors: Wan 2.2 A14B uses the VAE of Wan 2.1."
    ]


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        (UMT5, "is a text encoder, not a VAE."),
        (T2V, "is Wan T2V (16 input channels), not a VAE."),
        (VAE22, "is the VAE of Wan 2.2 TI2V 5B, with 48 latent channels where A14B has 16."),
        (SD_VAE, "is the VAE of another model."),
        (VAE21 | {"decoder.conv1.weight": (8, 12, 3, 3, 3)}, "is the VAE of another model."),
        (
            VAE21 | {"decoder.head.2.weight": (12, 8, 3, 3, 3)},
            "is a VAE of Wan whose decoder does not give the three colours of a picture.",
        ),
    ],
)
def test_what_is_not_the_vae_of_wan_21_is_refused(header, shapes, problem):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' is ") as caught:
        inspect.check_vae(header(shapes), "x.safetensors")
    assert str(caught.value) == (
        f"'x.safetensors' {problem} Choose wan_2.1_vae.safetensors: Wan 2.2 A14B uses the VAE of Wan 2.1."
    )


@pytest.fixture
def files(tmp_path):
    return [str(write(tmp_path, shapes, name)) for name, shapes in FILES.items()]


def test_the_four_right_files_pass_without_a_warning(files):
    assert inspect.check_files(*files) == []


def test_swapped_experts_give_two_warnings(files):
    high, low, *others = files
    assert [warning.split("'")[1] for warning in inspect.check_files(low, high, *others)] == [
        "i2v_low_noise.safetensors",
        "i2v_high_noise.safetensors",
    ]


def test_one_file_for_both_experts_gives_one_warning(files):
    high, _, *others = files
    (warning,) = inspect.check_files(high, high, *others)
    assert warning.startswith("Both experts are the same file, 'i2v_high_noise.safetensors'.")


@pytest.mark.parametrize("place", range(4))
def test_each_file_is_checked_for_its_own_input(files, tmp_path, place):
    files[place] = str(write(tmp_path, LORA, "lora.safetensors"))
    with pytest.raises(ValueError, match=r"^'lora\.safetensors' is a LoRA"):
        inspect.check_files(*files)


@pytest.mark.parametrize("place", range(4))
def test_a_pytorch_file_is_checked_like_any_other(files, tmp_path, place):
    shapes = list(FILES.values())
    for name, contents in (("right", shapes[place]), ("wrong", LORA)):
        torch.save({key: torch.zeros(shape) for key, shape in contents.items()}, tmp_path / f"{name}.pth")
    right, wrong = ([*files[:place], str(tmp_path / f"{name}.pth"), *files[place + 1 :]] for name in ("right", "wrong"))
    assert inspect.check_files(*right) == []
    with pytest.raises(ValueError, match=r"^'wrong\.pth' is a LoRA"):
        inspect.check_files(*wrong)
