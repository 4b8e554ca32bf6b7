"""Load LoRA with Trigger Words: which files it takes, and what it says of the choice."""

import os

import folder_paths
import pytest
import torch
from pack.nodes import panel_routes
from pack.nodes.lora import Lora
from pack.tests.toy import models as toy
from pack.tests.toy.lora_node import apply, effect, expected_effect

pytestmark = pytest.mark.comfy


def test_auto_finds_the_partner_by_name(high, low):
    _, patched_low, _, _, report = apply(high, low, lora_low="auto")
    assert torch.allclose(effect(patched_low, low), expected_effect(toy.lora(6), 1.0), atol=1e-5)
    assert f"low: {toy.LORA_LOW} at 1 (auto: paired by name)" in report


def test_without_a_partner_the_same_file_serves_both_and_the_report_says_so(high, low, add_lora):
    name = add_lora("水彩 style.safetensors", toy.lora(8))
    patched_high, patched_low, _, _, report = apply(high, low, lora_high=name, lora_low="auto")
    for patched, original in ((patched_high, high), (patched_low, low)):
        assert torch.allclose(effect(patched, original), expected_effect(toy.lora(8), 1.0), atol=1e-5)
    assert "low: 水彩 style.safetensors at 1 (auto: no partner found, the same file serves both experts)" in report


def test_a_swapped_pair_is_said_in_report_and_log(high, low, caplog):
    *_, report = apply(high, low, lora_high=toy.LORA_LOW, lora_low=toy.LORA_HIGH)
    assert report.count("Check that the two files are not swapped") == 2
    assert caplog.text.count("Check that the two files are not swapped") == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [("high/dance.safetensors", "low/dance.safetensors"), ("dance_H.safetensors", "dance_L.safetensors")],
)
def test_a_swap_that_only_folders_or_letters_tell_is_said(high, low, add_lora, caplog, first, second):
    for seed, name in enumerate((first, second)):
        add_lora(name, toy.lora(8 + seed))
    assert "swapped" not in apply(high, low, lora_high=first, lora_low=second)[-1]
    *_, report = apply(high, low, lora_high=second, lora_low=first)
    assert report.count("Check that the two files are not swapped") == 2
    assert caplog.text.count("Check that the two files are not swapped") == 2
    panel = panel_routes.loras(second, first)["text"]
    assert panel.count("Check that the two files are not swapped") == 2


def test_a_name_that_tells_no_expert_does_not_bring_the_other_one(add_lora):
    add_lora("low/dance.safetensors", toy.lora(8))
    answer = Lora.validate_inputs(lora_high="dance.safetensors", lora_low="dance.safetensors")
    assert isinstance(answer, str)
    assert answer.startswith("lora_high: 'dance.safetensors' is not in ComfyUI's folder 'loras'.")
    assert "lora_low" not in answer


def test_one_file_of_a_pair_for_both_experts_is_said_to_lack_its_partner(high, low, add_lora):
    name = add_lora("solo_high_noise.safetensors", toy.lora(8))
    *_, report = apply(high, low, lora_high=name, lora_low="auto")
    assert report.splitlines()[-1] == (
        "  Warning: 'solo_high_noise.safetensors' is named for the high-noise expert, but serves both, as its partner "
        "is not in the folder 'loras'. Download the partner, or choose it in lora_low."
    )
    assert "swapped" not in report


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_link_to_nothing_is_said(models):
    link = models / "loras" / "linked.safetensors"
    link.symlink_to(models / "gone.safetensors")
    folder_paths.filename_list_cache.clear()
    sentence = (
        "lora_high: 'linked.safetensors' is listed in ComfyUI's folder 'loras', but is no file, or a link to one that "
        "is gone. Refresh the page and choose another file."
    )
    try:
        assert Lora.validate_inputs(lora_high="linked.safetensors", lora_low="none") == sentence
        assert panel_routes.loras("linked.safetensors", "none")["text"] == sentence
    finally:
        link.unlink()
        folder_paths.filename_list_cache.clear()


def test_missing_files_are_named_before_the_run(models):
    answer = Lora.validate_inputs(lora_high="watercolour.safetensors", lora_low="auto")
    assert isinstance(answer, str)
    assert answer.startswith("lora_high: 'watercolour.safetensors' is not in ComfyUI's folder 'loras'.")
    assert Lora.validate_inputs(lora_high=None, lora_low="auto") is True  # linked: not known yet
    assert Lora.validate_inputs(lora_high="none", lora_low="none") is True


def test_auto_is_for_the_low_noise_file_alone(models):
    sentence = "lora_high: 'auto' finds the partner of the file in lora_high. Choose a file there, or none."
    assert Lora.validate_inputs(lora_high="auto", lora_low="auto") == sentence
    assert panel_routes.loras("auto", "auto") == {"text": sentence, "refused": True}


def test_a_new_partner_or_new_words_make_the_node_run_again(high, low, add_lora, models):
    name = add_lora("ink_high_noise.safetensors", toy.lora(8))
    seen = [Lora.fingerprint_inputs(lora_high=name, lora_low="auto")]
    add_lora("ink_low_noise.safetensors", toy.lora(9))
    seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="auto"))
    sidecar = models / "loras" / "ink_high_noise.txt"
    sidecar.write_text("ink", encoding="utf-8")
    try:
        seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="auto", prompt="a cat"))
    finally:
        sidecar.unlink()
    path = models / "loras" / name
    os.utime(path, (1e9, 1e9))
    seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="none"))
    os.utime(path, (2e9, 2e9))
    seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="none"))
    path.write_bytes(path.read_bytes() + b"\0")  # another file of the same time, as an archive may bring it
    os.utime(path, (2e9, 2e9))
    seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="none"))
    assert len({str(fingerprint) for fingerprint in seen}) == 6
    assert not any(models.name in str(fingerprint) or os.sep in str(fingerprint) for fingerprint in seen)
    assert Lora.fingerprint_inputs(lora_high=None, lora_low="auto") is None
