"""Load Wan 2.2 I2V: the right files load, the wrong ones are named."""

import pytest
import torch
from pack.nodes.loader import Loader
from pack.tests.toy import models as toy

pytestmark = pytest.mark.comfy

FILES = {"high_noise": toy.HIGH, "low_noise": toy.LOW, "text_encoder": toy.TEXT_ENCODER, "vae": toy.VAE}


def load(**changes):
    return Loader.execute(**{**FILES, "weight_dtype": "default", **changes})


def test_loads_both_experts_text_encoder_and_vae(models):
    high, low, clip, vae = load().args
    weight = "diffusion_model.head.head.weight"
    assert not high.model.state_dict()[weight].equal(low.model.state_dict()[weight])
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize("A cat turns its head. 一只猫"))
    assert conditioning[0][0].shape == (1, 512, 4096)
    assert conditioning[0][0].isfinite().all()
    assert vae.latent_channels == 16
    assert vae.encode(torch.rand(1, 32, 32, 3)).shape == (1, 16, 1, 4, 4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"in_dim": 16},
            "is Wan T2V .16 input channels.: it takes no start image. Choose a Wan 2.2 I2V A14B high-noise",
        ),
        ({"in_dim": 48, "out_dim": 48}, "is Wan 2.2 TI2V 5B .48 input channels.: it is one small model"),
        ({"img_emb": True}, "is Wan 2.1 I2V .36 input channels.: it is one model instead of two experts"),
    ],
    ids=["t2v", "5b", "wan2.1"],
)
def test_names_an_expert_of_another_model(add_file, state, message):
    image_encoder = state.pop("img_emb", False)
    tensors = toy.expert(1, **state)
    if image_encoder:
        tensors["img_emb.proj.0.bias"] = torch.zeros(1280)
    name = add_file("diffusion_models", "wrong.safetensors", tensors)
    with pytest.raises(ValueError, match=f"'wrong.safetensors' {message}"):
        load(high_noise=name)


def test_the_same_file_for_both_experts_is_loaded_once_and_said(models, caplog):
    high, low, _, _ = load(low_noise=toy.HIGH).args
    assert high is low
    assert f"Both experts are the same file, '{toy.HIGH}'" in caplog.text


def test_swapped_experts_are_said(models, caplog):
    load(high_noise=toy.LOW, low_noise=toy.HIGH)
    assert "Check that the two experts are not swapped" in caplog.text


@pytest.mark.parametrize(
    ("slot", "folder"), [("high_noise", "diffusion_models"), ("vae", "vae"), ("text_encoder", "text_encoders")]
)
def test_a_missing_file_is_named_before_the_run(models, slot, folder):
    answer = Loader.validate_inputs(**{**FILES, slot: "missing_file.safetensors"})
    assert isinstance(answer, str)
    assert answer.startswith(f"{slot}: 'missing_file.safetensors' is not in ComfyUI's folder '{folder}'.")


def test_every_missing_file_is_named_at_once(models):
    answer = Loader.validate_inputs(**dict.fromkeys(FILES, "gone.safetensors"))
    assert isinstance(answer, str)
    assert all(f"{slot}: 'gone.safetensors' is not in" in answer for slot in FILES)


def test_a_linked_name_is_checked_when_it_is_known(models):
    assert Loader.validate_inputs(**{**FILES, "vae": None}) is True


def test_files_of_another_machine_are_found_by_their_names(models):
    foreign = {slot: f"wan\\2.2\\{name.upper()}" for slot, name in FILES.items()}
    assert Loader.validate_inputs(**foreign) is True
    assert load(**foreign)[3].latent_channels == 16


def test_the_wrong_expert_is_never_substituted(models):
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "wan2.2_i2v_high_noise_14B_fp16.safetensors"})
    assert isinstance(answer, str)
    assert toy.LOW not in answer


def test_a_name_with_spaces_and_chinese_characters_loads(add_file):
    name = add_file("diffusion_models", "我的 模型 high_noise.safetensors", toy.expert(1))
    assert load(high_noise=name)[0].model is not None


def test_the_vae_of_the_5b_model_is_refused(add_file):
    state = toy.vae(1)
    state["decoder.upsamples.0.upsamples.0.residual.2.weight"] = torch.zeros(1)
    name = add_file("vae", "wan2.2_vae.safetensors", state)
    with pytest.raises(ValueError, match=r"'wan2.2_vae.safetensors' is the VAE of Wan 2.2 TI2V 5B.*Choose wan_2.1_vae"):
        load(vae=name)


def test_a_truncated_download_is_named(add_file, models):
    name = add_file("diffusion_models", "cut_high_noise.safetensors", toy.expert(1))
    path = models / "diffusion_models" / name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match=r"'cut_high_noise.safetensors' is not a whole safetensors file: .*Download it again"
    ):
        load(high_noise=name)
