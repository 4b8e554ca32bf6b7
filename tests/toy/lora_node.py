"""Load LoRA with Trigger Words as a test runs it: settings, and what comes of them."""

from pack.nodes.lora import Lora
from pack.tests.toy import models as toy

WEIGHT = "diffusion_model.blocks.0.self_attn.q.weight"
SETTINGS = {
    "lora_high": toy.LORA_HIGH,
    "lora_low": toy.LORA_LOW,
    "strength_high": 1.0,
    "strength_low": 1.0,
    "trigger_words": "",
    "trigger_position": "prepend",
    "prompt": "A cat turns its head.",
}


def apply(high, low, **changes):
    return Lora.execute(high, low, **{**SETTINGS, **changes}).args


def effect(patched, original, weight=WEIGHT):
    """Returns how much a LoRA changes one weight, as ComfyUI's own patcher computes it."""
    before = original.model.state_dict()[weight].clone()
    patched.patch_weight_to_device(weight)
    try:
        return patched.model.state_dict()[weight] - before
    finally:
        patched.unpatch_model()


def expected_effect(state, strength):
    """strength x alpha / rank x up @ down"""
    name = WEIGHT.removesuffix(".weight")
    up, down = state[f"{name}.lora_up.weight"].float(), state[f"{name}.lora_down.weight"].float()
    return strength * state[f"{name}.alpha"].item() / down.shape[0] * up @ down
