"""The sampler at home in ComfyUI: what others patch, load, interrupt and look at."""

import comfy.context_windows
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.utils
import pytest
import torch
from comfy.taesd.taesd import TAESD
from comfy_api.torch_helpers import set_torch_compile_wrapper
from pack.nodes.sampling import Sampler
from pack.samplers import schedules
from pack.samplers.guider import TwoExpertGuider
from pack.tests.toy import models as toy
from pack.tests.toy.sampling import SETTINGS, SHAPE, server_hook
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy
CallbacksMP = comfy.patcher_extension.CallbacksMP


@pytest.fixture(scope="module")
def positive():
    return [[torch.randn(1, 12, 4096, generator=torch.Generator().manual_seed(1)), {}]]


def run(high, low, positive, seed=7, latent=None, **changes):
    latent = {"samples": torch.zeros(SHAPE)} if latent is None else latent
    picture = {"concat_latent_image": torch.zeros(latent["samples"].shape)}
    positive = [[words, {**more, **picture}] for words, more in positive]
    return Sampler.execute(high, low, positive, latent, seed=seed, **{**SETTINGS, **changes})


def sample(*arguments, **changes):
    return run(*arguments, **changes)[0]["samples"]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_on_gaussian_data_sde_reproduces_mean_and_variance(high, low, positive, steps):
    """For data N(m, s^2) the consistency function is known: it maps x to its quantile of the data."""
    mean, deviation = 0.7, 0.4

    def consistency(_, arguments):
        x, sigma = arguments["input"], arguments["timestep"][0]
        spread = ((1 - sigma) ** 2 * deviation**2 + sigma**2).sqrt()
        return mean + deviation * (x - (1 - sigma) * mean) / spread

    experts = [patcher.clone() for patcher in (high, low)]
    for expert in experts:
        expert.set_model_unet_function_wrapper(consistency)
    latent = {"samples": torch.zeros(1, 16, 9, 32, 32)}
    result = high.model.process_latent_in(sample(*experts, positive, steps=steps, mode="sde", latent=latent))
    count = result.numel()
    # The reference starts from noise at level 0.995 without the 0.5 % of data that belong to it.
    start = 0.005 * mean * (1 if steps == 1 else 0)
    assert abs(result.mean() - mean) < 5 * deviation / count**0.5 + start
    assert abs(result.std() / deviation - 1) < 5 / (2 * count) ** 0.5 + 0.001


@pytest.mark.parametrize("mode", ["ode", "sde"])
def test_the_tiny_model_agrees_with_the_reference_loop_in_float64(high, low, positive, mode):
    networks = {}

    def keep(name):
        def wrapper(apply_model, arguments):
            networks[name] = lambda x, sigma: apply_model(
                x.float(), sigma.float().reshape(1), **arguments["c"]
            ).double()
            return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

        return wrapper

    experts = {"high": high.clone(), "low": low.clone()}
    for name, expert in experts.items():
        expert.set_model_unet_function_wrapper(keep(name))
    result = high.model.process_latent_in(sample(*experts.values(), positive, mode=mode)).double()

    stream = torch.Generator().manual_seed(7)
    sigmas = schedules.rcm_sigmas(4).double()
    x = torch.randn(SHAPE, generator=stream).double() * sigmas[0]
    for sigma, after in zip(sigmas[:-1], sigmas[1:], strict=True):  # noqa: RUF007
        with torch.inference_mode():
            x0 = networks["high" if sigma >= 0.9 else "low"](x, sigma)
        noise = torch.randn(SHAPE, generator=stream).double() if mode == "sde" else (x - x0) / sigma + x0
        x = (1 - after) * x0 + after * noise
    assert (result - x).abs().max() < 1e-5 * x.abs().max()


def test_each_expert_is_loaded_once_in_a_run_and_low_not_before_its_turn(high, low, positive):
    events = []

    def note(patcher, name):
        clone = patcher.clone()
        clone.add_callback(CallbacksMP.ON_PRE_RUN, lambda *_: events.append(f"{name} ready"))
        clone.add_callback(CallbacksMP.ON_CLEANUP, lambda *_: events.append(f"{name} done"))

        def evaluate(apply_model, arguments):
            events.append(name)
            return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

        clone.set_model_unet_function_wrapper(evaluate)
        return clone

    sample(note(high, "high"), note(low, "low"), positive)
    assert events == ["high ready", "high", "high", "low ready", "low", "low", "high done", "low done"]
    events.clear()
    sample(note(high, "high"), note(low, "low"), positive, steps=2)
    assert events == ["high ready", "high", "high", "high done"]  # the other expert is not even touched


def test_memory_does_not_grow_over_20_runs(high, low, positive):
    def tensors():
        import gc

        gc.collect()
        return sum(1 for item in gc.get_objects() if issubclass(type(item), torch.Tensor))

    def loaded():
        return len(comfy.model_management.current_loaded_models)

    for _ in range(2):
        sample(high, low, positive, mode="sde")
    before = tensors(), loaded()
    for seed in range(20):
        sample(high, low, positive, mode="sde", seed=seed)
    assert (tensors(), loaded()) == before


def test_interrupt_during_step_3_ends_within_that_step_and_the_next_run_is_right(high, low, positive):
    calls = []
    before = sample(high, low, positive)

    def interrupting(apply_model, arguments):
        calls.append(float(arguments["timestep"][0]))
        if len(calls) == 3:
            comfy.model_management.interrupt_current_processing()
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    experts = [patcher.clone() for patcher in (high, low)]
    for expert in experts:
        expert.set_model_unet_function_wrapper(interrupting)
    loaded = len(comfy.model_management.current_loaded_models)
    with (
        server_hook(lambda *_, **__: comfy.model_management.throw_exception_if_processing_interrupted()),
        pytest.raises(comfy.model_management.InterruptProcessingException),
    ):
        sample(*experts, positive)
    assert len(calls) == 3
    assert len(comfy.model_management.current_loaded_models) == loaded
    assert low.model.current_patcher is high.model.current_patcher is None
    assert sample(high, low, positive).equal(before)


def test_one_model_in_both_slots_is_said(high, positive):
    for second in (high, high.clone()):  # as two LoRA nodes on one model give it
        assert run(high, second, positive)[1] == "2 high + 2 low | .9950 .9338 | .8529 .6090 | one model in both slots"


def test_context_windows_of_comfyui_work_on_both_experts(high, low, positive):
    latent = {"samples": torch.zeros(1, 16, 9, 8, 8)}
    sizes = []

    def windowed(patcher):
        clone = patcher.clone()
        clone.model_options["context_handler"] = comfy.context_windows.IndexListContextHandler(
            context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
            fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"),
            context_length=5, context_overlap=2, context_stride=1, closed_loop=False, dim=2,
        )  # fmt: skip
        comfy.context_windows.create_prepare_sampling_wrapper(clone)

        def note(apply_model, arguments):
            sizes.append(arguments["input"].shape[2])
            return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

        clone.set_model_unet_function_wrapper(note)
        return clone

    result = sample(windowed(high), windowed(low), positive, latent=latent)
    assert result.shape == (1, 16, 9, 8, 8)
    assert result.isfinite().all()
    assert len(sizes) == 3 * 4  # three windows in each of four steps
    assert max(sizes) <= 6  # a window, and newer ComfyUI's anchor frame


def test_experts_of_different_weight_types_work_together(high, models, positive):
    from pack.tests.toy.loaded import load_expert

    fp8 = load_expert(str(models / "diffusion_models" / toy.LOW), "fp8_e4m3fn")
    assert fp8.model.state_dict()["diffusion_model.blocks.0.ffn.0.weight"].dtype == torch.float8_e4m3fn
    result = sample(high, fp8, positive)
    assert result.isfinite().all()
    assert not result.equal(sample(high, load_expert(str(models / "diffusion_models" / toy.LOW), "default"), positive))


def test_a_shift_patched_onto_an_expert_does_not_move_rcm(high, low, positive):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    shifted = [ModelSamplingSD3().patch(patcher, 3.0)[0] for patcher in (high, low)]
    assert sample(*shifted, positive).equal(sample(high, low, positive))


def test_an_attention_override_of_an_expert_is_called_for_that_expert(high, low, positive):
    calls = []

    def override(func, *arguments, **options):
        calls.append(1)
        return func(*arguments, **options)

    patched = low.clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    assert sample(high, patched, positive).equal(sample(high, low, positive))
    assert len(calls) == 2 * 2 * toy.LAYERS  # two low steps, self- and cross-attention in each block


def test_torch_compile_of_comfyui_works_on_both_experts(high, low, positive):
    compiled = {"high": high.clone(), "low": low.clone()}
    graphs = {"high": [], "low": []}

    def backend_of(name):
        def backend(graph, _):
            graphs[name].append(graph)
            return graph.forward  # what the eager backend does; a real one needs a compiler and minutes

        return backend

    for name, patcher in compiled.items():
        set_torch_compile_wrapper(model=patcher, backend=backend_of(name))
    result = sample(*compiled.values(), positive)
    assert torch.allclose(result, sample(high, low, positive), atol=1e-4)
    assert all(graphs.values())


def test_refuses_experts_of_different_size(high, tmp_path):
    from pack.tests.toy.loaded import load_expert

    save_file(toy.expert(3, dim=256), tmp_path / "wide.safetensors")
    wide = load_expert(str(tmp_path / "wide.safetensors"), "default")
    with pytest.raises(ValueError, match=r"Both experts must have one size, got width, depth \(128, 2\) high"):
        TwoExpertGuider(high, wide)


def test_refuses_a_model_of_another_family(high):
    other = comfy.model_patcher.ModelPatcher(TAESD(), torch.device("cpu"), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"The low-noise expert must be a Wan 2\.2 I2V A14B model, got TAESD"):
        TwoExpertGuider(high, other)
