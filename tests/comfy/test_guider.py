"""The guider and the sampling nodes, run by ComfyUI's own samplers on tiny experts."""

from itertools import pairwise

import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from comfy.k_diffusion.sampling import sample_euler
from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
from pack.nodes.sampling import ExpertGuider, RcmSigmas, Sampler
from pack.samplers import schedules
from pack.tests.toy.sampling import SETTINGS, SHAPE, conditioning, empty_latent, sample

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def positive():
    return conditioning(1)


@pytest.fixture(scope="module")
def negative():
    return conditioning(2)


def traced(patcher, name, calls):
    """Returns a clone of an expert that notes each of its evaluations."""

    def note(apply_model, arguments):
        calls.append((name, round(float(arguments["timestep"][0]), 4)))
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    clone = patcher.clone()
    clone.set_model_unet_function_wrapper(note)
    return clone


def closed_form(patcher, bias):
    """Returns a clone of an expert whose network is a formula: its x0 is 0.6 tanh x + bias."""
    clone = patcher.clone()
    clone.set_model_unet_function_wrapper(lambda _, arguments: 0.6 * torch.tanh(arguments["input"]) + bias)
    return clone


@pytest.mark.parametrize(("steps", "trace"), [(1, "H"), (2, "HH"), (3, "HHL"), (4, "HHLL"), (8, "HHHLLLLL")])
def test_each_step_runs_on_the_expert_of_its_sigma(high, low, positive, steps, trace):
    calls = []
    sample(traced(high, "H", calls), traced(low, "L", calls), positive, steps=steps)
    assert "".join(name for name, _ in calls) == trace
    assert [sigma for _, sigma in calls] == [round(sigma, 4) for sigma in schedules.rcm_sigmas(steps)[:-1].tolist()]


@pytest.mark.parametrize(("boundary", "trace"), [(0.0, "HHHH"), (1.0, "LLLL"), (0.95, "HLLL")])
def test_boundary_moves_the_switch(high, low, positive, boundary, trace):
    calls = []
    sample(traced(high, "H", calls), traced(low, "L", calls), positive, boundary=boundary)
    assert "".join(name for name, _ in calls) == trace


@pytest.mark.parametrize("mode", ["ode", "sde"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6])
def test_agrees_with_the_reference_loop_in_float64(high, low, positive, mode, steps):
    result = sample(closed_form(high, 0.1), closed_form(low, -0.2), positive, seed=11, mode=mode, steps=steps)
    assert torch.allclose(as_sampled(result, high), reference_loop(steps, mode, seed=11), atol=1e-5)


def reference_loop(steps, mode, seed):
    """The published loop, on the closed-form experts; every noise is the next draw of one generator."""
    stream = torch.Generator().manual_seed(seed)
    sigmas = schedules.rcm_sigmas(steps).double()
    x = torch.randn(SHAPE, generator=stream).double() * sigmas[0]
    for sigma, sigma_next in pairwise(sigmas):
        x0 = 0.6 * torch.tanh(x) + (0.1 if sigma >= 0.9 else -0.2)
        if mode == "ode":
            x = x - (sigma - sigma_next) * (x - x0) / sigma
        else:
            x = (1 - sigma_next) * x0 + sigma_next * torch.randn(SHAPE, generator=stream).double()
    return x


def as_sampled(result, patcher):
    """Undoes the scaling of the latent format, which the reference applies outside its loop."""
    return patcher.model.process_latent_in(result).double()


@pytest.mark.parametrize(("mode", "core"), [("ode", "euler"), ("sde", "lcm")])
def test_the_parts_give_bit_for_bit_what_the_whole_gives(high, low, positive, mode, core):
    guider = ExpertGuider.execute(high, low, positive, cfg=1.0, boundary=0.9)[0]
    sigmas = RcmSigmas.execute(steps=4, sigma_max=200.0)[0]
    sampler = comfy.samplers.sampler_object(core)
    parts = SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, sigmas, empty_latent())[0]["samples"]
    assert parts.equal(sample(high, low, positive, mode=mode))


@pytest.mark.parametrize("mode", ["ode", "sde"])
def test_same_seed_same_latent_and_another_seed_another(high, low, positive, mode):
    first = sample(high, low, positive, mode=mode)
    assert first.equal(sample(high, low, positive, mode=mode))
    assert not first.equal(sample(high, low, positive, mode=mode, seed=8))
    assert first.isfinite().all()


def test_noise_of_all_steps_is_uncorrelated(high, low, positive):
    inputs = []

    def note(_, arguments):
        inputs.append(arguments["input"].clone())
        return torch.zeros_like(arguments["input"])  # so that the next input is the next noise, scaled

    experts = [patcher.clone() for patcher in (high, low)]
    for expert in experts:
        expert.set_model_unet_function_wrapper(note)
    sample(*experts, positive, mode="sde", seed=3)
    noises = torch.stack([noise.flatten() for noise in inputs])
    correlation = torch.corrcoef(noises) - torch.eye(len(inputs))
    assert len(inputs) == 4
    assert correlation.abs().max() < 5 / noises.shape[1] ** 0.5  # five standard errors


def test_cfg_evaluates_the_negative_on_both_experts(high, low, positive, negative):
    guided = sample(high, low, positive, cfg=3.5, negative=negative)
    assert guided.isfinite().all()
    assert not guided.equal(sample(high, low, positive))
    # where both conditionings are the same there is nothing to guide away from
    assert torch.allclose(
        sample(high, low, positive, cfg=3.5, negative=positive), sample(high, low, positive), atol=1e-4
    )


def test_a_sampler_that_adds_its_own_hook_reaches_both_experts(high, low, positive, negative):
    steps_seen = []

    def after(arguments):
        steps_seen.append(float(arguments["sigma"][0]))
        return arguments["denoised"]

    def hooked_euler(model, x, sigmas, extra_args, **options):
        hooked = comfy.model_patcher.set_model_options_post_cfg_function(extra_args["model_options"], after)
        return sample_euler(model, x, sigmas, {**extra_args, "model_options": hooked}, **options)

    guider = ExpertGuider.execute(high, low, positive, cfg=2.0, boundary=0.9, negative=negative)[0]
    sampler = comfy.samplers.KSAMPLER(hooked_euler)
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, schedules.rcm_sigmas(4), empty_latent())
    assert steps_seen == schedules.rcm_sigmas(4)[:-1].tolist()


def test_a_sampler_that_evaluates_between_steps_is_routed_by_value(high, low, positive):
    calls = []
    guider = ExpertGuider.execute(traced(high, "H", calls), traced(low, "L", calls), positive, cfg=1.0, boundary=0.9)[0]
    sampler = comfy.samplers.sampler_object("heun")
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, schedules.rcm_sigmas(4), empty_latent())
    assert all((name == "H") == (sigma >= 0.9) for name, sigma in calls)
    assert len(calls) > 4


def test_the_low_expert_joins_where_only_an_evaluation_between_steps_needs_it(high, low, positive):
    calls = []
    guider = ExpertGuider.execute(traced(high, "H", calls), traced(low, "L", calls), positive, cfg=1.0, boundary=0.9)[0]
    part = torch.tensor([0.99, 0.95, 0.85])  # a schedule that another node has split
    heun = comfy.samplers.sampler_object("heun")
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, heun, part, empty_latent())
    assert [name for name, _ in calls] == ["H", "H", "H", "L"]


def test_patches_of_other_nodes_stay_with_their_expert(high, low, positive):
    seen = []

    def wrap(name):
        def wrapper(executor, *arguments, **options):
            seen.append(name)
            return executor(*arguments, **options)

        return wrapper

    kind = comfy.patcher_extension.WrappersMP
    patched_high, patched_low = high.clone(), low.clone()
    for place in (kind.PREDICT_NOISE, kind.DIFFUSION_MODEL):
        patched_high.add_wrapper_with_key(place, "test", wrap(f"high {place}"))
        patched_low.add_wrapper_with_key(place, "test", wrap(f"low {place}"))
    sample(patched_high, patched_low, positive)
    one_step = [kind.PREDICT_NOISE, kind.DIFFUSION_MODEL]
    assert seen == [f"{expert} {place}" for expert in ("high", "high", "low", "low") for place in one_step]


def test_one_model_in_both_slots_works(high, positive):
    assert sample(high, high, positive).equal(sample(high, high.clone(), positive))


def test_two_loras_on_one_model_stay_apart(high, positive):
    def shifted(amount):
        clone = high.clone()
        weight = high.model.state_dict()["diffusion_model.head.head.bias"]
        clone.add_patches({"diffusion_model.head.head.bias": ("diff", (torch.full_like(weight, amount),))}, 1.0)
        return clone

    calls = []
    apart = sample(traced(shifted(0.5), "H", calls), traced(shifted(-0.5), "L", calls), positive)
    assert "".join(name for name, _ in calls) == "HHLL"
    assert not apart.equal(sample(shifted(0.5), shifted(0.5), positive))
    assert apart.equal(sample(shifted(0.5), shifted(-0.5), positive))


def test_noise_picked_from_further_on_in_the_stream_does_not_come_again(high, low, positive):
    inputs = []

    def note(_, arguments):
        inputs.append(arguments["input"].clone())
        return torch.zeros_like(arguments["input"])

    experts = [patcher.clone() for patcher in (high, low)]
    for expert in experts:
        expert.set_model_unet_function_wrapper(note)
    latent = {**empty_latent(), "batch_index": [2]}  # as LatentFromBatch leaves it
    Sampler.execute(*experts, positive, latent, seed=3, **{**SETTINGS, "mode": "sde"})
    correlation = torch.corrcoef(torch.stack([noise.flatten() for noise in inputs])) - torch.eye(4)
    assert correlation.abs().max() < 5 / inputs[0].numel() ** 0.5


@pytest.mark.skipif(
    not hasattr(comfy.model_management, "intermediate_dtype"), reason="This ComfyUI makes no latents in half precision."
)
def test_a_latent_in_half_precision_has_the_noise_of_its_seed(high, low, positive):
    half = {"samples": torch.zeros(SHAPE, dtype=torch.float16)}  # as ComfyUI's --fp16-intermediates makes them
    samples = Sampler.execute(high, low, positive, half, seed=7, **{**SETTINGS, "mode": "sde"})[0]["samples"]
    wanted = sample(high, low, positive, mode="sde")
    assert (samples - wanted).norm() < 1e-3 * wanted.norm()


def test_a_sampler_that_goes_back_up_brings_the_high_expert_back(high, low, positive):
    calls = []

    def bouncing(model, x, sigmas, extra_args, callback, disable):
        for sigma in (0.95, 0.5, 0.95, 0.5):
            x = model(x, x.new_full([1], sigma), **extra_args)
        return x

    guider = ExpertGuider.execute(traced(high, "H", calls), traced(low, "L", calls), positive, cfg=1.0, boundary=0.9)[0]
    sampler = comfy.samplers.KSAMPLER(bouncing)
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, schedules.rcm_sigmas(4), empty_latent())
    assert [name for name, _ in calls] == ["H", "L", "H", "L"]
