"""LoRAs as PEFT writes them: their alpha stands beside the file, or nowhere."""

import json

import pytest
import torch
from pack.nodes.lora import Lora
from pack.tests.toy import models as toy
from pack.tests.toy.lora_node import apply, effect, expected_effect

pytestmark = pytest.mark.comfy


def peft_lora():
    """Returns a LoRA with the names that PEFT writes, which has no alpha in the file, and its effect at strength 1."""
    state = toy.lora(8)
    named = {
        f"base_model.model.{name.removeprefix('diffusion_model.')}".replace("_down.", "_A.").replace(
            "_up.", "_B."
        ): value
        for name, value in state.items()
        if not name.endswith(".alpha")
    }
    return named, expected_effect(state, 1.0)


def test_peft_settings_beside_the_file_give_its_alpha(high, low, add_lora, models):
    state, change = peft_lora()
    name = add_lora("ink/adapter_model.safetensors", state)
    config = models / "loras" / "ink" / "adapter_config.json"
    seen = [Lora.fingerprint_inputs(lora_high=name, lora_low="none")]
    config.write_text(json.dumps({"peft_type": "LORA", "r": toy.RANK, "lora_alpha": 2 * toy.RANK}), encoding="utf-8")
    try:
        patched, *_, report = apply(high, low, lora_high=name, lora_low="none")
        seen.append(Lora.fingerprint_inputs(lora_high=name, lora_low="none"))
    finally:
        config.unlink()
    assert torch.allclose(effect(patched, high), 2 * change, atol=1e-5)
    assert "alpha" not in report
    assert seen[0] != seen[1]


@pytest.mark.parametrize("alpha", ["NaN", "1e999", '"8"', "null", "[8]"])
def test_an_alpha_in_the_header_that_is_none_is_said(high, low, add_lora, alpha):
    """diffusers writes PEFT's settings into the header, and without an alpha the rank stands for it."""
    state = {f"transformer.{name.removeprefix('base_model.model.')}": value for name, value in peft_lora()[0].items()}
    header = {"lora_adapter_metadata": f'{{"transformer.lora_alpha": {alpha}, "transformer.r": {toy.RANK}}}'}
    report = apply(high, low, lora_high=add_lora("ink.safetensors", state, header), lora_low="none")[-1]
    assert "The alpha of 'ink.safetensors' is not given, and taken as the rank." in report


@pytest.mark.parametrize("config", [None, "{", '{"r": 64, "lora_alpha": 64}'])
def test_an_alpha_that_peft_did_not_hand_on_is_said(high, low, add_lora, models, config):
    state, change = peft_lora()
    name = add_lora("ink/adapter_model.safetensors", state)
    beside = models / "loras" / "ink" / "adapter_config.json"
    if config:
        beside.write_text(config, encoding="utf-8")
    try:
        patched, *_, report = apply(high, low, lora_high=name, lora_low="none")
    finally:
        beside.unlink(missing_ok=True)
    assert torch.allclose(effect(patched, high), change, atol=1e-5)
    assert report.splitlines()[-1] == (
        "  Warning: The alpha of 'adapter_model.safetensors' is not given, and taken as the rank. PEFT writes it into "
        "adapter_config.json: put that file beside it."
    )


def test_settings_beside_two_files_are_for_the_one_they_belong_to(high, low, add_lora, models):
    state, change = peft_lora()
    names = [add_lora(f"pair/{stem}.safetensors", state) for stem in ("adapter_model", "other")]
    config = models / "loras" / "pair" / "adapter_config.json"
    config.write_text(json.dumps({"peft_type": "LORA", "r": toy.RANK, "lora_alpha": 2 * toy.RANK}), encoding="utf-8")
    try:
        for name, times, doubt in zip(names, (2, 1), (False, True), strict=True):
            patched, *_, report = apply(high, low, lora_high=name, lora_low="none")
            assert torch.allclose(effect(patched, high), times * change, atol=1e-5)
            assert ("The adapter_config.json in its folder may be that of another file" in report) == doubt
    finally:
        config.unlink()
