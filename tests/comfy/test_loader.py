"""Load Wan 2.2 I2V: the right files load, the wrong ones are named."""

import re
from pathlib import Path

import comfy.sd
import pytest
import torch
from pack.nodes.loader import Loader
from pack.tests.toy import models as toy
from pack.tests.toy.loader_node import FILES, load
from pack.weights.checks import vae_tensors
from pack.weights.formats import model_file

pytestmark = pytest.mark.comfy


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


def test_each_file_is_listed_once(models, monkeypatch):
    listed, read = [], model_file.read_safetensors

    def note(file, size):
        listed.append(Path(file.name).name)
        return read(file, size)

    monkeypatch.setattr(model_file, "read_safetensors", note)
    load(low_noise=toy.HIGH)
    assert listed == [toy.HIGH, toy.TEXT_ENCODER, toy.VAE]


def test_swapped_experts_are_said(models, caplog):
    load(high_noise=toy.LOW, low_noise=toy.HIGH)
    assert "Check that the two experts are not swapped" in caplog.text


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("high_noise_model/diffusion_pytorch_model.safetensors", "low_noise_model/diffusion_pytorch_model.safetensors"),
        ("mix_H.safetensors", "mix_L.safetensors"),
    ],
)
def test_a_swap_that_only_folders_or_letters_tell_is_said(add_file, caplog, high, low):
    for name in (high, low):
        add_file("diffusion_models", name, toy.expert(1))
    load(high_noise=high, low_noise=low)
    assert "swapped" not in caplog.text
    load(high_noise=low, low_noise=high)
    assert caplog.text.count("Check that the two experts are not swapped") == 2


def test_the_vae_of_the_5b_model_is_refused(add_file):
    state = toy.vae(1)
    state["decoder.upsamples.0.upsamples.0.residual.2.weight"] = torch.zeros(1)
    name = add_file("vae", "wan2.2_vae.safetensors", state)
    with pytest.raises(ValueError, match=r"'wan2.2_vae.safetensors' is the VAE of Wan 2.2 TI2V 5B.*Choose wan_2.1_vae"):
        load(vae=name)


def test_the_tensors_of_the_vae_are_those_that_comfyui_has():
    assert set(vae_tensors()) == set(toy.vae(1))


def test_a_truncated_download_is_named(add_file, models):
    name = add_file("diffusion_models", "cut_high_noise.safetensors", toy.expert(1))
    path = models / "diffusion_models" / name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match=r"'cut_high_noise.safetensors' is not a whole safetensors file: .*Download it again"
    ):
        load(high_noise=name)


def test_a_swap_is_said_on_the_node(models):
    output = Loader.execute(**{**FILES, "high_noise": toy.LOW, "low_noise": toy.HIGH, "weight_dtype": "default"})
    (text,) = output.ui.as_dict()["text"]
    assert text.splitlines() == [
        f"'{toy.LOW}' is in the input high_noise, but its name says that it is the low-noise expert. "
        "Check that the two experts are not swapped.",
        f"'{toy.HIGH}' is in the input low_noise, but its name says that it is the high-noise expert. "
        "Check that the two experts are not swapped.",
    ]


def test_right_files_say_nothing_on_the_node(models):
    assert Loader.execute(**{**FILES, "weight_dtype": "default"}).ui is None


def test_a_vae_that_runs_on_another_device_can_be_copied(models):
    patcher = load()[3].patcher
    if hasattr(comfy.sd, "load_vae_patcher"):
        factory, arguments = patcher.cached_patcher_init
        assert factory(*arguments).model.state_dict().keys() == patcher.model.state_dict().keys()


def test_a_file_that_was_replaced_is_loaded_anew(add_file, models):
    """Else the clip would be made by the old file, and its recipe would tell the new one's hash."""
    chosen = {"high_noise": toy.HIGH, "low_noise": toy.LOW, "text_encoder": toy.TEXT_ENCODER}
    name = add_file("vae", "mine.safetensors", {"a": torch.zeros(1)})
    seen = [Loader.fingerprint_inputs(**chosen, vae=name, weight_dtype="default") for _ in range(2)]
    with (models / "vae" / name).open("ab") as file:
        file.write(b"more")
    seen.append(Loader.fingerprint_inputs(**chosen, vae=name, weight_dtype="default"))
    assert seen[0] == seen[1] != seen[2]
    others = Loader.fingerprint_inputs(**chosen, vae=None, weight_dtype=None)  # linked: not known yet
    assert others == Loader.fingerprint_inputs(**chosen)
    assert others not in seen
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in seen)  # paths are private
