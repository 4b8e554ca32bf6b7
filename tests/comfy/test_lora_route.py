"""What the frontend is told about a LoRA file, and that it is told of no other file."""

import os

import pytest
from pack.nodes import panel_routes
from pack.tests.toy import models as toy

pytestmark = pytest.mark.comfy


@pytest.fixture
def add_lora(add_file):
    return lambda name, state, metadata=None: add_file("loras", name, state, metadata)


def test_a_lora_is_described_by_its_header(models, add_lora):
    name = add_lora(
        "水彩 style_high_noise.safetensors",
        toy.lora(8),
        {"modelspec.trigger_phrase": "wtrclr (soft)", "ss_base_model_version": "wan22_14b", "ss_network_alpha": "4"},
    )
    add_lora("水彩 style_low_noise.safetensors", toy.lora(9))
    assert panel_routes.describe(name) == {
        "file": name,
        "kind": "a LoRA",
        "expert": "high",
        "partner": "水彩 style_low_noise.safetensors",
        "trigger_words": [r"wtrclr \(soft\)"],
        "base": "wan22_14b",
        "title": "",
        "trainer": "",
        "rank": 4,
        "alpha": 4.0,
    }


def test_a_name_from_another_machine_is_found(add_lora):
    name = add_lora("style.safetensors", toy.lora(8))
    assert panel_routes.describe("Wan\\Style.safetensors")["file"] == name


@pytest.mark.parametrize(
    "name",
    [
        f"../diffusion_models/{toy.HIGH}",
        f"..\\diffusion_models\\{toy.HIGH}",
        f"style/../../diffusion_models/{toy.HIGH}",
        "/etc/passwd",
        "../../user/default/comfy.settings.json",
        "style.safetensors\0",
        "absent.safetensors",
        "",
    ],
)
def test_no_file_outside_the_lora_folders_is_read(models, name):
    with pytest.raises(FileNotFoundError, match="is not in ComfyUI's folder 'loras'"):
        panel_routes.describe(name)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, (10**18).to_bytes(8, "little") + b"{}", b"\2" + b"\0" * 7 + b"[]"]
)
def test_a_damaged_file_is_a_sentence_without_a_path(models, content):
    import folder_paths

    path = models / "loras" / "damaged.safetensors"
    path.write_bytes(content)
    folder_paths.filename_list_cache.clear()
    try:
        with pytest.raises(ValueError, match=r"damaged.safetensors") as error:
            panel_routes.describe("damaged.safetensors")
    finally:
        path.unlink()
        folder_paths.filename_list_cache.clear()
    assert str(models) not in str(error.value)
    assert os.sep + "loras" not in str(error.value)
