"""ComfyUI's own hooks on conditioning, over both experts."""

import comfy.hooks
import pytest
import torch
from pack.tests.toy.sampling import conditioning, sample

pytestmark = pytest.mark.comfy

BIAS = "diffusion_model.head.head.bias"


def hooked(high, keyframes):
    """Returns conditioning with a LoRA as Create Hook LoRA puts it there, which only moves a bias of the last layer."""
    size = len(high.model.state_dict()[BIAS])
    group = comfy.hooks.create_hook_lora({"diffusion_model.head.head.diff_b": torch.ones(size)}, 1.0, 1.0)
    group.set_keyframes_on_hooks(keyframes)
    [[words, more]] = conditioning(1)
    return [[words, {**more, "hooks": group}]]


def strengths(*parts):
    keyframes = comfy.hooks.HookKeyframeGroup()
    for strength, start in parts:
        keyframes.add(comfy.hooks.HookKeyframe(strength, start))
    return keyframes


def bias_of(patcher):
    return patcher.model.diffusion_model.head.head.bias[0].item()


def noted(patcher, found):
    """Returns a clone of an expert that notes the bias with which each of its evaluations runs."""

    def note(apply_model, arguments):
        found.append(bias_of(patcher))
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    clone = patcher.clone()
    clone.set_model_unet_function_wrapper(note)
    return clone


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([(1.0, 0.0), (0.25, 0.01)], [1.0, 0.25, 0.25, 0.25]),
        ([(1.0, 0.0), (0.5, 0.01), (0.25, 0.02)], [1.0, 0.5, 0.25, 0.25]),
        ([(1.0, 0.0), (0.25, 0.5)], [1.0, 1.0, 0.25, 0.25]),
        ([(1.0, 0.0), (0.25, 0.7)], [1.0, 1.0, 1.0, 0.25]),
        ([(0.5, 0.0)], [0.5] * 4),
    ],
)
def test_keyframes_go_on_where_the_low_expert_joins(high, low, parts, wanted):
    own = [bias_of(each) for each in (high, low)]
    found = []
    sample(noted(high, found), noted(low, found), hooked(high, strengths(*parts)), schedule="lightning")
    moved = [bias - own[at >= 2] for at, bias in enumerate(found)]
    assert moved == pytest.approx(wanted, abs=1e-5)
