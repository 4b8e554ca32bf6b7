"""The guider when something goes wrong: interrupted, out of memory, given what cannot work. Nothing is lost or left."""

import comfy.model_management
import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from pack.nodes.sampling import ExpertGuider, Sampler
from pack.samplers import schedules
from pack.samplers.guider import TwoExpertGuider
from pack.tests.toy.sampling import SHAPE, conditioning, sample

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def positive():
    return conditioning(1)


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
    guider.sample(empty, empty, comfy.samplers.sampler_object("euler"), schedules.rcm_sigmas(4), seed=1)
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
        ("lightning", 9, "The lightning schedule takes 1 to 8 steps, got 9."),
        ("lightning", 0, "steps must be at least 1, got 0."),
        (None, 99, True),  # linked: not known yet
        ("shifted", 2_000_000, "steps must be at most 100, got 2e+06."),
    ],
)
def test_steps_are_checked_before_anything_is_loaded(schedule, steps, answer):
    said = Sampler.validate_inputs(schedule=schedule, steps=steps, sigma_max=200.0, shift=5.0)
    assert said is True if answer is True else str(said).startswith(answer)


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
        guider.sample(empty, empty, euler, schedules.rcm_sigmas(4), seed=1)
    low_only = torch.tensor([0.8, 0.5, 0.0])
    fresh = ExpertGuider.execute(high, low, positive, cfg=1.0, boundary=0.9)[0]
    assert guider.sample(empty, empty, euler, low_only, seed=1).equal(
        fresh.sample(empty, empty, euler, low_only, seed=1)
    )


def test_refuses_cfg_without_a_negative(high, low, positive):
    with pytest.raises(ValueError, match=r"cfg other than 1 needs a negative prompt, got cfg 3.5 and none connected"):
        sample(high, low, positive, cfg=3.5)


@pytest.mark.parametrize(
    ("steps", "message"), [(0, "steps must be at least 1, got 0"), (99, "rCM takes 1 to 8 steps, got 99")]
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
        guider.sample(latent, latent, comfy.samplers.sampler_object("euler"), schedules.rcm_sigmas(4))


@pytest.mark.parametrize("slot", ["high", "low"])
def test_refuses_a_text_to_video_expert(high, tmp_path, slot):
    from pack.tests.toy.loaded import load_expert
    from pack.tests.toy.models import expert
    from safetensors.torch import save_file

    save_file(expert(9, in_dim=16), tmp_path / "t2v.safetensors")
    t2v = load_expert(str(tmp_path / "t2v.safetensors"), "default")
    pair = (t2v, high) if slot == "high" else (high, t2v)
    with pytest.raises(
        ValueError, match=f"The {slot}-noise expert must take 36 channels .* takes 16, as the text-to-vid"
    ):
        TwoExpertGuider(*pair)


def text_alone(width=4096):
    """Conditioning as CLIP Text Encode gives it."""
    return [[torch.randn(1, 77, width), {}]]


def untouchable(patcher):
    """Returns a clone of an expert that must not be evaluated."""

    def refuse(*_):
        raise AssertionError("The expert was evaluated.")

    clone = patcher.clone()
    clone.set_model_unet_function_wrapper(refuse)
    return clone


@pytest.mark.parametrize(
    ("positive", "changes", "sentence"),
    [
        (text_alone(), {}, "Wan 2.2 I2V makes a clip of a start picture, and positive holds none"),
        (text_alone(768), {}, "positive must come from the text encoder umT5-XXL, .* have 768, as CLIP-L gives"),
        (conditioning(1), {"cfg": 3.5, "negative": text_alone()}, "and negative holds none"),
        (
            conditioning(1),
            {"cfg": 3.5, "negative": text_alone(768)},
            "negative must come from the text encoder umT5-XXL",
        ),
        (conditioning(1, (1, 16, 5, 8, 8)), {}, "The latent is 9 frames of 64x64, .* prepared for 17 frames of 64x64"),
        (conditioning(1, (1, 16, 3, 8, 16)), {}, "The latent is 9 frames of 64x64, .* prepared for 9 frames of 128x64"),
        ([], {}, "positive holds no conditioning"),
    ],
)
def test_conditioning_that_gives_no_clip_of_the_picture_is_refused_before_sampling(
    high, low, positive, changes, sentence
):
    with pytest.raises(ValueError, match=sentence):
        sample(untouchable(high), untouchable(low), positive, **changes)


def test_the_guider_refuses_the_same_behind_comfyuis_sampler(high, low, positive):
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced

    def run(conditioned, latent):
        guider = ExpertGuider.execute(untouchable(high), untouchable(low), conditioned, cfg=1.0, boundary=0.9)[0]
        euler = comfy.samplers.sampler_object("euler")
        SamplerCustomAdvanced.execute(Noise_RandomNoise(1), guider, euler, schedules.rcm_sigmas(4), {"samples": latent})

    with pytest.raises(ValueError, match="positive holds none"):
        run(text_alone(), torch.zeros(SHAPE))
    with pytest.raises(ValueError, match="The latent is 1 frame of 64x64"):  # what Empty Latent Image gives
        run(positive, torch.zeros(1, 4, 8, 8))


def test_a_negative_that_is_not_evaluated_may_be_anything(high, low, positive):
    assert sample(high, low, positive, negative=text_alone(768)).equal(sample(high, low, positive))


def test_a_pack_that_brings_the_picture_in_its_own_way_is_left_alone(high, low):
    def with_picture(patcher):
        clone = patcher.clone()
        clone.add_object_patch("concat_cond", lambda **given: torch.zeros(1, 20, *given["noise"].shape[2:]))
        return clone

    assert sample(with_picture(high), with_picture(low), text_alone()).isfinite().all()
