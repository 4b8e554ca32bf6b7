"""Refusing the wrong text encoder and the wrong VAE with a remedy, and the loader's four files together."""

import os
from pathlib import Path

import pytest
import torch
from pack.tests.toy.shapes import ATTENTION, I2V, LORA, T2V, UMT5, VAE21, without, write
from pack.weights import checks
from pack.weights.formats.header import Header, ModelFile, TensorInfo
from pack.weights.formats.model_file import open_model
from safetensors.torch import save_file

VAE22 = VAE21 | {"decoder.upsamples.0.upsamples.0.residual.2.weight": (8, 8, 3, 3, 3)}
SD_VAE = {"decoder.conv_in.weight": (8, 4, 3, 3)}
FILES = {
    "i2v_high_noise.safetensors": I2V,
    "i2v_low_noise.safetensors": I2V,
    "umt5.safetensors": UMT5,
    "vae.safetensors": VAE21,
}


def test_reads_the_sizes_that_a_small_umt5_may_differ_in(header):
    sizes = {"d_ff": 5, "d_kv": 3, "num_heads": 2, "num_layers": 2, "vocab_size": 20}
    assert checks.text_encoder_sizes(header(UMT5)) == sizes


@pytest.mark.parametrize("missing", [key for key in UMT5 if "block.1" not in key and key != "spiece_model"])
def test_sizes_of_an_incomplete_text_encoder_are_refused(header, missing):
    with pytest.raises(ValueError, match=r"^The text encoder has no complete first block of umT5\. Choose umT5-XXL"):
        checks.text_encoder_sizes(header(without(UMT5, missing)))


def test_heads_that_do_not_divide_the_attention_are_refused(header):
    with pytest.raises(ValueError, match="no complete first block"):
        checks.text_encoder_sizes(header(UMT5 | {ATTENTION.format(0, "q"): (7, 4096)}))


def test_umt5_is_accepted(header):
    checks.check_text_encoder(ModelFile(Path("x.safetensors"), header(UMT5)))


def xxl():
    parts = [f"encoder.block.{layer}.{part}" for layer in range(24) for part in checks._PARTS_OF_A_LAYER]
    sizes = {"shared.weight": (256384, 4096), ATTENTION.format(0, "relative_attention_bias"): (32, 64)}
    names = (*UMT5, *parts, "encoder.final_layer_norm.weight")
    return Header({name: TensorInfo("BF16", sizes.get(name, (4096, 4096))) for name in names}, {})


def test_umt5_xxl_is_passed_only_with_all_its_layers():
    whole = xxl()
    checks.check_text_encoder(ModelFile(Path("x.safetensors"), whole))
    for layers, lacks in (
        (23, "encoder.block.23.layer.0.SelfAttention.q.weight, .* and 7 more"),
        (5, ".* and 187 more"),
    ):
        names = [name for name in whole.tensors if not name.startswith("encoder.b") or int(name.split(".")[2]) < layers]
        cut = Header({name: whole.tensors[name] for name in names}, {})
        with pytest.raises(
            ValueError, match=rf"^'x\.safetensors' is not whole: it lacks {lacks}\. Download it again\.$"
        ):
            checks.check_text_encoder(ModelFile(Path("x.safetensors"), cut))
    del whole.tensors["encoder.block.9.layer.1.DenseReluDense.wo.weight"]
    with pytest.raises(ValueError, match=r"it lacks encoder\.block\.9\.layer\.1\.DenseReluDense\.wo\.weight\."):
        checks.check_text_encoder(ModelFile(Path("x.safetensors"), whole))


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
        checks.check_text_encoder(ModelFile(Path("x.safetensors"), header(shapes)))
    assert str(caught.value) == (
        f"'x.safetensors' {problem} "
        "Choose umT5-XXL as ComfyUI packs it, for example umt5_xxl_fp8_e4m3fn_scaled.safetensors."
    )


def test_the_vae_of_wan_21_is_accepted(header):
    assert checks.check_vae(ModelFile(Path("wan_2.1_vae.safetensors"), header(VAE21))) == []


@pytest.mark.parametrize("lacks", ["decoder.middle.0.residual.2.weight", "encoder.downsamples.5.time_conv.bias"])
def test_a_vae_that_is_not_whole_is_refused(header, lacks):
    with pytest.raises(ValueError, match="not whole") as caught:
        checks.check_vae(ModelFile(Path("x.safetensors"), header(without(VAE21, lacks))))
    assert str(caught.value) == f"'x.safetensors' is not whole: it lacks {lacks}. Download it again."


def test_the_vae_of_qwen_image_is_known_by_its_name_alone(header):
    assert checks.check_vae(ModelFile(Path("qwen_image_vae.safetensors"), header(VAE21))) == [
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
            VAE21 | {"decoder.head.2.weight": (4, 8, 3, 3, 3)},
            "is a VAE of Wan whose decoder does not give the three colours of a picture.",
        ),
        (
            VAE21 | {"decoder.head.2.weight": (12, 8, 3, 3, 3)},
            "is a VAE of Wan whose decoder gives pictures of twice the size, as Wan2.1-VAE-upscale2x does. It was "
            "trained on single pictures, and ComfyUI does not put its pixels together.",
        ),
        (
            {"decoder.1.weight": (256, 16, 3, 3), "decoder.22.bias": (3,), "encoder.0.weight": (64, 3, 3, 3)},
            "is a tiny autoencoder (taehv, taew, lighttae), whose picture is that of a draft. For one, connect "
            "ComfyUI's own Load VAE to VAE Decode, and leave the start picture to Wan's own VAE.",
        ),
    ],
)
def test_what_is_not_the_vae_of_wan_21_is_refused(header, shapes, problem):
    with pytest.raises(ValueError, match=r"^'x\.safetensors' is ") as caught:
        checks.check_vae(ModelFile(Path("x.safetensors"), header(shapes)))
    assert str(caught.value) == (
        f"'x.safetensors' {problem} Choose wan_2.1_vae.safetensors: Wan 2.2 A14B uses the VAE of Wan 2.1."
    )


@pytest.fixture
def files(tmp_path):
    return [open_model(write(tmp_path, shapes, name)) for name, shapes in FILES.items()]


def test_the_four_right_files_pass_without_a_warning(files):
    assert checks.check_files(*files) == []


def test_swapped_experts_give_two_warnings(files):
    high, low, *others = files
    assert [warning.split("'")[1] for warning in checks.check_files(low, high, *others)] == [
        "i2v_low_noise.safetensors",
        "i2v_high_noise.safetensors",
    ]


def test_one_file_for_both_experts_gives_one_warning(files):
    high, _, *others = files
    (warning,) = checks.check_files(high, high, *others)
    assert warning == (
        "Both experts are the same file, 'i2v_high_noise.safetensors'. Wan 2.2 was made to change from a high-noise to "
        "a low-noise expert during a run: unless this is deliberate, choose the other expert's file in one of the "
        "inputs."
    )


@pytest.mark.parametrize("place", range(4))
def test_each_file_is_checked_for_its_own_input(files, tmp_path, place):
    files[place] = open_model(write(tmp_path, LORA, "lora.safetensors"))
    with pytest.raises(ValueError, match=r"^'lora\.safetensors' is a LoRA"):
        checks.check_files(*files)


@pytest.mark.parametrize("place", range(4))
def test_a_pytorch_file_is_checked_like_any_other(files, tmp_path, place):
    shapes = list(FILES.values())
    for name, contents in (("right", shapes[place]), ("wrong", LORA)):
        torch.save({key: torch.zeros(shape) for key, shape in contents.items()}, tmp_path / f"{name}.pth")
    right, wrong = (
        [*files[:place], open_model(tmp_path / f"{name}.pth"), *files[place + 1 :]] for name in ("right", "wrong")
    )
    assert checks.check_files(*right) == []
    with pytest.raises(ValueError, match=r"^'wrong\.pth' is a LoRA"):
        checks.check_files(*wrong)


def test_a_file_is_listed_when_it_is_opened_and_anew_when_it_has_changed(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    first = open_model(str(path))
    times = path.stat()
    save_file({"b": torch.zeros(2)}, path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # of the same size and time, as an archive may bring it
    assert (list(first.header.tensors), list(open_model(path).header.tensors)) == (["a"], ["b"])
    assert (first.path, first.name) == (path, "x.safetensors")
