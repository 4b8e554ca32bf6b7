"""Which files the names in Load Wan 2.2 I2V find, and which they never do."""

import os

import folder_paths
import pytest
from pack.nodes.loader import Loader
from pack.tests.toy import models as toy
from pack.tests.toy.loader_node import FILES, load
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


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


def test_a_name_that_tells_no_expert_does_not_bring_the_other_one(add_file):
    add_file("diffusion_models", "low_noise/model.safetensors", toy.expert(1))
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "model.safetensors"})
    assert isinstance(answer, str)
    assert answer.startswith("high_noise: 'model.safetensors' is not in ComfyUI's folder 'diffusion_models'.")
    assert Loader.validate_inputs(**{**FILES, "low_noise": "model.safetensors"}) is True


def test_a_name_with_spaces_and_chinese_characters_loads(add_file):
    name = add_file("diffusion_models", "我的 模型 high_noise.safetensors", toy.expert(1))
    assert load(high_noise=name)[0].model is not None


def test_a_gguf_file_is_named_with_the_node_for_it(models):
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "wan\\Wan2.2-I2V-A14B-HighNoise-Q4_K_M.GGUF"})
    assert answer == (
        "high_noise: 'Wan2.2-I2V-A14B-HighNoise-Q4_K_M.GGUF' is a GGUF file, which this node does not read. "
        "Load it with a GGUF loader node, and connect its MODEL where this node's went: to Load LoRA, else the sampler."
    )


@pytest.mark.parametrize(
    ("slot", "remedy"),
    [
        ("text_encoder", "Load it with a GGUF loader node for CLIP, and connect its CLIP to CLIP Text Encode."),
        ("vae", "Choose wan_2.1_vae.safetensors."),
    ],
)
def test_a_gguf_file_in_another_input_is_named_with_what_helps_there(models, slot, remedy):
    answer = Loader.validate_inputs(**{**FILES, slot: "x.gguf"})
    assert answer == f"{slot}: 'x.gguf' is a GGUF file, which this node does not read. {remedy}"


@pytest.fixture
def outside(models, tmp_path):
    """A good expert outside of all model folders."""
    path = tmp_path / "elsewhere_high_noise.safetensors"
    save_file(toy.expert(1), path)
    yield path
    (models / "diffusion_models" / "linked_high_noise.safetensors").unlink(missing_ok=True)
    folder_paths.filename_list_cache.clear()


def test_a_name_leads_to_no_file_outside_the_model_folders(models, outside):
    way = os.path.relpath(outside, models / "diffusion_models")
    assert (models / "diffusion_models" / way).is_file()
    for name in (way, way.replace("/", "\\"), str(outside)):
        answer = Loader.validate_inputs(**{**FILES, "high_noise": name})
        assert isinstance(answer, str)
        assert "'elsewhere_high_noise.safetensors' is not in ComfyUI's folder 'diffusion_models'." in answer
        assert str(outside.parent) not in answer


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_link_that_the_owner_put_into_a_model_folder_is_followed(models, outside):
    (models / "diffusion_models" / "linked_high_noise.safetensors").symlink_to(outside)
    folder_paths.filename_list_cache.clear()
    assert load(high_noise="linked_high_noise.safetensors")[0].model is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_link_to_nothing_is_said(models, outside):
    (models / "diffusion_models" / "linked_high_noise.safetensors").symlink_to(outside.parent / "gone.safetensors")
    folder_paths.filename_list_cache.clear()
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "linked_high_noise.safetensors"})
    assert answer == (
        "high_noise: 'linked_high_noise.safetensors' is listed in ComfyUI's folder 'diffusion_models', but is no file, "
        "or a link to one that is gone. Refresh the page and choose another file."
    )
