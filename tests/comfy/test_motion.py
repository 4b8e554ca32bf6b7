"""What docs/motion.md says of other ways to more motion: what works with the nodes, and what does nothing."""

import pytest
import torch
from comfy_extras.nodes_nag import NAGuidance
from pack.nodes.sampling import ExpertGuider, RcmSigmas
from pack.tests.toy.sampling import conditioning, empty_latent, sample
from pack.tiny.studio import in_two_runs

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def prompts():
    return {"positive": conditioning(1), "negative": conditioning(2)}


def counted(patcher, name, calls):
    """Returns a clone of an expert that notes each evaluation with the number of prompts in it."""

    def note(apply_model, arguments):
        calls.append((name, len(arguments["input"])))
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    clone = patcher.clone()
    clone.set_model_unet_function_wrapper(note)
    return clone


def evaluations(calls):
    return {name: sum(count for each, count in calls if each == name) for name in dict(calls)}


def two_runs(first, rest, prompts, cfg, seed):
    """Runs the first of four rCM steps with one pair of experts and the others with another pair."""
    guided = ExpertGuider.execute(*first, cfg=cfg, boundary=0.9, **prompts)[0]
    plain = ExpertGuider.execute(*rest, cfg=1.0, boundary=0.9, **prompts)[0]
    return in_two_runs(guided, plain, RcmSigmas.execute(4, 200.0)[0], seed, empty_latent())["samples"]


def test_a_run_in_two_parts_is_the_run_in_one(high, low, prompts):
    whole = sample(high, low, prompts["positive"], seed=7)
    parts = two_runs((high, low), (high, low), prompts, cfg=1.0, seed=7)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


def test_the_first_step_alone_runs_on_another_model_with_guidance(high, low, prompts):
    calls = []
    first = counted(high, "undistilled high", calls), counted(low, "undistilled low", calls)
    rest = counted(high, "high", calls), counted(low, "low", calls)
    guided = two_runs(first, rest, prompts, cfg=3.5, seed=7)
    assert evaluations(calls) == {"undistilled high": 2, "high": 1, "low": 2}
    assert not torch.allclose(guided, two_runs(rest, rest, prompts, cfg=1.0, seed=7), atol=1e-3)


def test_the_nag_of_core_doubles_the_work_and_changes_nothing(high, low, prompts):
    """It patches a place that core's Wan model never asks about. Once core's does, docs/motion.md is out of date."""
    calls = []
    plain = sample(counted(high, "high", calls), counted(low, "low", calls), **prompts)
    assert evaluations(calls) == {"high": 2, "low": 2}
    calls.clear()
    nag = [
        counted(NAGuidance.execute(expert, 5.0, 0.5, 1.5)[0], name, calls)
        for name, expert in {"high": high, "low": low}.items()
    ]
    patched = sample(*nag, **prompts)
    assert evaluations(calls) == {"high": 4, "low": 4}
    torch.testing.assert_close(patched, plain)


def test_a_patch_of_the_cross_attention_reaches_both_experts_at_cfg_1_in_one_pass(high, low, prompts):
    """As the NAG nodes for Wan of other packs do it, which bring the negative prompt along themselves."""
    calls = []

    def patched(patcher, name):
        clone = counted(patcher, name, calls)
        attention = clone.get_model_object("diffusion_model.blocks.0.cross_attn")
        forward = type(attention).forward
        clone.add_object_patch(
            "diffusion_model.blocks.0.cross_attn.forward",
            lambda x, context, **more: forward(attention, x, context * 0.5, **more),
        )
        return clone

    plain = sample(high, low, prompts["positive"])
    one = sample(patched(high, "high"), low, prompts["positive"])
    calls.clear()
    both = sample(patched(high, "high"), patched(low, "low"), prompts["positive"])
    assert evaluations(calls) == {"high": 2, "low": 2}
    assert not torch.allclose(plain, one)
    assert not torch.allclose(one, both)
    assert sample(high, low, prompts["positive"]).equal(plain)  # nothing is left on the experts
