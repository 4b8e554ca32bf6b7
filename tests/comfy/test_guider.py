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
from pack.samplers import rcm
from pack.samplers.guider import TwoExpertGuider

pytestmark = pytest.mark.comfy

SHAPE = (1, 16, 3, 8, 8)
SETTINGS = {"steps": 4, "schedule": "rcm", "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9}


@pytest.fixture(scope="module")
def positive():
    return conditioning(1)


@pytest.fixture(scope="module")
def negative():
    return conditioning(2)


def conditioning(seed):
    return [[torch.randn(1, 12, 4096, generator=torch.Generator().manual_seed(seed)), {}]]


def empty_latent():
    return {"samples": torch.zeros(SHAPE)}


def sample(high, low, positive, seed=7, **changes):
    settings = {**SETTINGS, **changes}
    return Sampler.execute(high, low, positive, empty_latent(), seed=seed, **settings)[0]["samples"]


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
    assert [sigma for _, sigma in calls] == [round(sigma, 4) for sigma in rcm.rcm_sigmas(steps)[:-1].tolist()]


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
    sigmas = rcm.rcm_sigmas(steps).double()
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
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, rcm.rcm_sigmas(4), empty_latent())
    assert steps_seen == rcm.rcm_sigmas(4)[:-1].tolist()


def test_a_sampler_that_evaluates_between_steps_is_routed_by_value(high, low, positive):
    calls = []
    guider = ExpertGuider.execute(traced(high, "H", calls), traced(low, "L", calls), positive, cfg=1.0, boundary=0.9)[0]
    sampler = comfy.samplers.sampler_object("heun")
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, rcm.rcm_sigmas(4), empty_latent())
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


def test_an_interrupted_run_leaves_nothing_behind(high, low, positive):
    before = sample(high, low, positive)

    def stop(_, arguments):
        raise comfy.model_management.InterruptProcessingException

    interrupted = low.clone()
    interrupted.set_model_unet_function_wrapper(stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(high, interrupted, positive)
    assert low.model.current_patcher is None
    assert sample(high, low, positive).equal(before)


def test_out_of_memory_while_the_low_expert_joins_comes_out_as_it_is(high, low, positive):
    before = sample(high, low, positive)

    def run_out(*_):
        raise comfy.model_management.OOM_EXCEPTION("Allocation on device")

    failing = low.clone()
    failing.add_callback(comfy.patcher_extension.CallbacksMP.ON_PRE_RUN, run_out)
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="Allocation on device") as caught:
        sample(high, failing, positive)
    assert caught.value.__context__ is None
    assert sample(high, low, positive).equal(before)


def test_a_run_leaves_nothing_of_it_in_the_guider(high, low, positive):
    guider = ExpertGuider.execute(high, low, positive, cfg=1.0, boundary=0.9)[0]
    empty = torch.zeros(SHAPE)
    guider.sample(empty, empty, comfy.samplers.sampler_object("euler"), rcm.rcm_sigmas(4), seed=1)
    held = {**vars(guider), **vars(guider.low)}
    assert not [name for name, value in held.items() if isinstance(value, torch.Tensor)]
    assert (guider.low.loop, guider.low.arguments, guider.low.loaded_models, guider.low.loop_options) == (
        None,
        (),
        [],
        {},
    )


@pytest.mark.parametrize(
    ("schedule", "steps", "answer"),
    [
        ("rcm", 4, True),
        ("rcm", 99, "rCM takes 1 to 8 steps, got 99."),
        ("shifted", 99, True),
        ("lightning", 0, "The lightning schedule takes 1 to 8 steps, got 0."),
        (None, 99, True),  # linked: not known yet
        ("shifted", 2_000_000, "steps must be at most 100, got 2e+06."),
    ],
)
def test_steps_are_checked_before_anything_is_loaded(schedule, steps, answer):
    said = Sampler.validate_inputs(schedule=schedule, steps=steps, sigma_max=200.0, shift=5.0)
    assert said is True if answer is True else str(said).startswith(answer)


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


def test_a_sampler_that_goes_back_up_brings_the_high_expert_back(high, low, positive):
    calls = []

    def bouncing(model, x, sigmas, extra_args, callback, disable):
        for sigma in (0.95, 0.5, 0.95, 0.5):
            x = model(x, x.new_full([1], sigma), **extra_args)
        return x

    guider = ExpertGuider.execute(traced(high, "H", calls), traced(low, "L", calls), positive, cfg=1.0, boundary=0.9)[0]
    sampler = comfy.samplers.KSAMPLER(bouncing)
    SamplerCustomAdvanced.execute(Noise_RandomNoise(7), guider, sampler, rcm.rcm_sigmas(4), empty_latent())
    assert [name for name, _ in calls] == ["H", "L", "H", "L"]


def test_a_run_that_fails_before_its_loop_does_not_haunt_the_next(high, low, positive):
    fail = [True]

    def fail_once(executor, *arguments, **options):
        if fail.pop() if fail else False:
            raise RuntimeError("once")
        return executor(*arguments, **options)

    failing = low.clone()
    failing.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, "test", fail_once)
    guider = ExpertGuider.execute(high, failing, positive, cfg=1.0, boundary=0.9)[0]
    euler, empty = comfy.samplers.sampler_object("euler"), torch.zeros(SHAPE)
    with pytest.raises(RuntimeError, match="once"):
        guider.sample(empty, empty, euler, rcm.rcm_sigmas(4), seed=1)
    low_only = torch.tensor([0.8, 0.5, 0.0])
    fresh = ExpertGuider.execute(high, low, positive, cfg=1.0, boundary=0.9)[0]
    assert guider.sample(empty, empty, euler, low_only, seed=1).equal(
        fresh.sample(empty, empty, euler, low_only, seed=1)
    )


def test_refuses_cfg_without_a_negative(high, low, positive):
    with pytest.raises(ValueError, match=r"cfg other than 1 needs a negative prompt, got cfg 3.5 and none connected"):
        sample(high, low, positive, cfg=3.5)


@pytest.mark.parametrize(
    ("steps", "message"), [(0, "rCM takes 1 to 8 steps, got 0"), (99, "rCM takes 1 to 8 steps, got 99")]
)
def test_refuses_steps_that_the_schedule_does_not_have(high, low, positive, steps, message):
    with pytest.raises(ValueError, match=message):
        sample(high, low, positive, steps=steps)


def test_refuses_a_latent_of_another_model(high, low, positive):
    guider = TwoExpertGuider(high, low)
    guider.inner_set_conds({"positive": positive})
    latent = torch.zeros(1, 48, 3, 8, 8)
    with pytest.raises(
        ValueError, match=r"Wan 2.2 I2V takes a video latent \[B, 16, T, H, W\], got \(1, 48, 3, 8, 8\)"
    ):
        guider.sample(latent, latent, comfy.samplers.sampler_object("euler"), rcm.rcm_sigmas(4))


@pytest.mark.parametrize("slot", ["high", "low"])
def test_refuses_a_text_to_video_expert(high, tmp_path, slot):
    from pack.tests.toy.models import expert
    from pack.weights.loading import load_expert
    from safetensors.torch import save_file

    save_file(expert(9, in_dim=16), tmp_path / "t2v.safetensors")
    t2v = load_expert(str(tmp_path / "t2v.safetensors"), "default")
    pair = (t2v, high) if slot == "high" else (high, t2v)
    with pytest.raises(
        ValueError, match=f"The {slot}-noise expert must take 36 channels .* takes 16, as the text-to-vid"
    ):
        TwoExpertGuider(*pair)
