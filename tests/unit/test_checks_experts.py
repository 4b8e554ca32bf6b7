"""Refusing the wrong file for an expert with a remedy, and one that is not whole."""

from pathlib import Path

import pytest
from pack.tests.toy.models import expert_shapes
from pack.tests.toy.shapes import I2V, LORA, T2V, UMT5, VAE21, without
from pack.weights import checks
from pack.weights.formats.header import Header, ModelFile, TensorInfo
from pack.weights.names import expert_of
from pack.weights.wan.transformer import Kind


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
        checks.check_expert(ModelFile(Path("x.safetensors"), header(shapes)), slot)

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
        checks.check_expert(ModelFile(Path(name), header(T2V | {"head.modulation": (1, 2, width)})), "high")


def test_every_kind_but_the_right_one_has_a_reason():
    assert set(checks._WHY_NOT_AN_EXPERT) == set(Kind) - {Kind.WAN22_I2V}


@pytest.mark.parametrize(("name", "slot"), [("i2v_high_noise.safetensors", "high"), ("i2v.safetensors", "low")])
def test_a_fitting_expert_gives_no_warning(header, name, slot):
    assert checks.check_expert(ModelFile(Path(name), header(I2V)), slot, expert_of(name)) == []


def test_a_part_that_has_the_ends_of_the_model_is_known_by_its_name(header):
    with pytest.raises(
        ValueError, match=r"^'wan-00001-of-00006\.safetensors' is one part of a Wan model: ComfyUI reads"
    ):
        checks.check_expert(ModelFile(Path("wan-00001-of-00006.safetensors"), header(I2V)), "high")


def expert(width, blocks, prefix="", **changes):
    """A header with such blocks of a Wan transformer, and with these tensors in place of its own."""
    shapes = dict(expert_shapes(36, 16, width, 1, 8))
    block = {name[8:]: shape for name, shape in shapes.items() if name.startswith("blocks.0.")}
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("blocks.")}
    shapes |= {f"blocks.{n}{name}": shape for n in blocks for name, shape in block.items()}
    infos = {name: TensorInfo("BF16", shape) for name, shape in shapes.items()}
    return Header({prefix + name: info for name, info in (infos | changes).items()}, {})


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blocks.1.ffn.0.weight", (9, 128)),
        ("blocks.0.self_attn.q.bias", (64,)),
        ("blocks.1.modulation", (6, 128)),
        ("text_embedding.2.weight", (128, 4096)),
    ],
)
def test_an_expert_with_a_tensor_of_another_size_is_refused(prefix, dtype, name, shape):
    header = expert(128, range(2), prefix, **{name: TensorInfo(dtype, shape)})
    with pytest.raises(ValueError, match="do not fit") as caught:
        checks.check_expert(ModelFile(Path("high.safetensors"), header), "high")
    assert str(caught.value) == (
        f"'high.safetensors' has tensors whose sizes do not fit the others: {name}. Choose another version."
    )


def test_a_packed_weight_may_have_any_size():
    packed = {"blocks.1.ffn.0.weight": TensorInfo("U8", (8, 64)), "blocks.0.ffn.0.weight": TensorInfo("U8", (8, 64))}
    assert checks.check_expert(ModelFile(Path("high.safetensors"), expert(128, range(2), **packed)), "high") == []


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
@pytest.mark.parametrize(("width", "blocks"), [(5120, range(40)), (128, range(2)), (256, range(7))])
def test_a_whole_expert_is_passed(width, blocks, prefix):
    assert checks.check_expert(ModelFile(Path("high.safetensors"), expert(width, blocks, prefix)), "high") == []


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
        checks.check_expert(ModelFile(Path("high.safetensors"), expert(width, blocks, prefix)), "high")
    assert str(caught.value).endswith(" more. Download it again.")


def test_an_expert_without_one_tensor_or_with_more_blocks_is_refused(header):
    with pytest.raises(ValueError, match=r"is not whole: it lacks blocks\.0\.ffn\.2\.bias\. Download it again\.$"):
        checks.check_expert(ModelFile(Path("high.safetensors"), header(without(I2V, "blocks.0.ffn.2.bias"))), "high")
    with pytest.raises(
        ValueError, match=r"has 41 blocks, where a Wan model of its width has 40\. Choose another version"
    ):
        checks.check_expert(ModelFile(Path("high.safetensors"), expert(5120, range(41))), "high")


def test_an_expert_named_for_the_other_input_gives_a_warning(header):
    assert checks.check_expert(ModelFile(Path("i2v_low_noise.safetensors"), header(I2V)), "high", "low") == [
        "'i2v_low_noise.safetensors' is in the input high_noise, but its name says that it is the low-noise expert. "
        "Check that the two experts are not swapped."
    ]
