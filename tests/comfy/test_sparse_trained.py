"""Experts that were trained to be sparse: known by their files, and run as they were trained."""

import comfy.model_management
import comfy.quant_ops
import pytest
import torch
from pack.attention.trained import Blocks
from pack.nodes import receipts
from pack.nodes.sampling import Sampler
from pack.nodes.sparse import OVERRIDE, SparseAttention, session_of
from pack.tests.comfy.test_sparse import SHAPE, difference, sample, windowed
from pack.tests.toy import models as toy
from pack.tests.toy import quantised, turbodiffusion
from pack.tests.toy.loaded import load_expert
from pack.tests.toy.loader_node import load
from pack.tests.toy.sampling import conditioning
from pack.tests.unit.test_sparse_trained import formula
from pack.weights.loading import SLA, TRAINING
from pack.weights.wan.training import LIGHTWAN
from pack.weights.wan.training import SLA as SLA_TRAINING
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

NODE = {"mode": "auto", "density": 0.5, "dense_steps": 1, "error_limit": 0.001, "kernel": "auto"}
STATES = {expert: toy.expert(seed, dtype=torch.bfloat16) for expert, seed in (("high", 1), ("low", 2))}
NVFP4 = "nvfp4" in comfy.quant_ops.QUANT_ALGOS
CONVROT = {"per_channel": True, "convrot": True, "convrot_groupsize": 64}


def save(state, path):
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return load_expert(str(path))


@pytest.fixture(scope="module", params=[True, False], ids=["int8", "dense"])
def turbo(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("turbo")
    return [
        save(turbodiffusion.checkpoint(state, int8=request.param), folder / f"TurboWan2.2_{expert}.safetensors")
        for expert, state in STATES.items()
    ]


@pytest.fixture(scope="module")
def lightwan(tmp_path_factory):
    if not NVFP4:
        pytest.skip("this ComfyUI does not compute with nvfp4; that it is refused is tested in test_quantised_layouts")
    folder = tmp_path_factory.mktemp("lightwan")
    return [
        save(quantised.packed(state, "nvfp4"), folder / f"wan2.2_i2v_{expert}_noise_nvfp4_sparse_comfy.safetensors")
        for expert, state in STATES.items()
    ]


@pytest.fixture(scope="module")
def positive():
    return conditioning(1, SHAPE)


def sparse(models, **changes):
    return SparseAttention.execute(*models, **{**NODE, **changes}).args


def by_formula(model, density):
    """Returns an expert whose attention is the formula in float64."""
    clone, projections = model.clone(), model.get_attachment(SLA) or {}

    def attend(function, q, k, v, *rest, **given):
        if q.shape != k.shape:
            return function(q, k, v, *rest, **given)
        project = projections.get(given["transformer_options"]["block_index"])
        return torch.stack([formula(*one, density, Blocks(), project) for one in zip(q, k, v, strict=True)]).to(q)

    clone.model_options["transformer_options"] = {OVERRIDE: attend}
    return clone


def test_turbodiffusions_experts_run_as_the_formula_says(turbo, positive):
    *models, report = sparse(turbo)
    found, plan = sample(*models, positive)
    expected, _ = sample(*(by_formula(model, 0.1) for model in turbo), positive)
    assert difference(found, expected) < 1e-4
    assert difference(found, sample(*turbo, positive)[0]) > 0.01
    assert "as the files were trained (SLA), density 0.1, kernel gather. First steps that stay dense: None." in report
    assert "schedule auto takes the one of the training: rcm." in report
    assert "sparse attention as trained (SLA): density 0.1" in plan
    assert "Warning" not in plan
    assert [row["sparse layers"] for row in session_of(models[0]).rows] == [toy.LAYERS] * 4


def with_patch(model):
    """Returns an expert with a change of one weight, as a LoRA makes it."""
    clone, name = model.clone(), "diffusion_model.blocks.1.self_attn.v.weight"
    shape = clone.model.get_parameter(name).shape
    clone.add_patches({name: (torch.randn(shape, generator=torch.Generator().manual_seed(3)) / 8,)})
    return clone


def test_they_do_so_with_a_lora_with_guidance_and_after_they_were_unloaded(turbo, positive):
    guided = {"negative": conditioning(2, SHAPE), "cfg": 3.0}  # both prompts in one batch
    expected, bare = (
        sample(*(by_formula(model, 0.1) for model in models), positive, **guided)[0]
        for models in (map(with_patch, turbo), turbo)
    )
    assert difference(expected, bare) > 0.01
    for models in (sparse(map(with_patch, turbo))[:2], list(map(with_patch, sparse(turbo)[:2]))):
        for _ in range(2):
            assert difference(sample(*models, positive, **guided)[0], expected) < 1e-4
            comfy.model_management.unload_all_models()


def test_each_context_window_is_a_clip_of_its_own(turbo):
    models = sparse(turbo, mode="trained")[:2]
    assert difference(windowed(models), windowed(by_formula(model, 0.5) for model in turbo)) < 1e-4
    found = session_of(models[0]).rows
    assert len(found) > 4
    assert {row["sparse layers"] for row in found} == {toy.LAYERS}


def test_mode_trained_takes_the_nodes_density(turbo, positive):
    *models, report = sparse(turbo, mode="trained")
    expected, _ = sample(*(by_formula(model, 0.5) for model in turbo), positive)
    assert difference(sample(*models, positive)[0], expected) < 1e-4
    assert "density 0.5" in report


def test_lightwan_runs_without_a_tail_on_its_own_schedule(lightwan, positive):
    *models, report = sparse(lightwan)
    found, plan = sample(*models, positive, schedule="auto")
    expected, _ = sample(*(by_formula(model, 0.1) for model in lightwan), positive, schedule="shifted", shift=7.0)
    assert difference(found, expected) < 1e-4
    assert plan.startswith("2 high + 2 low | 1.0000 .9545 | .8750 .7000")  # 1000 750 500 250, shifted by 7
    assert "as the files were trained (LightWan2.2), density 0.1" in report
    assert "takes the one of the training: shifted, shift 7. They were trained at 480p" in report


def test_a_run_that_differs_from_the_training_says_so(turbo, lightwan, positive):
    for models, said in ((turbo, "(SLA)"), (lightwan, "(LightWan2.2)")):
        _, plan = sample(*models, positive, schedule="auto")
        assert f"were trained for sparse attention {said}, and attention was dense. Put Sparse Attention before" in plan
        assert "trained with the schedule" not in plan
    _, plan = sample(*sparse(lightwan)[:2], positive, schedule="rcm")
    assert "Warning: These files were trained with the schedule shifted, shift 7. Choose the schedule auto." in plan


def passed_on(function, *arguments, **given):
    return function(*arguments, **given)


@pytest.mark.parametrize("way", ["override", "object patch", "block"])
def test_of_another_nodes_attention_nothing_is_claimed(way, lightwan, positive):
    changed = [model.clone() for model in lightwan]
    for model in changed:
        options = model.model_options.setdefault("transformer_options", {})
        if way == "override":
            options["optimized_attention_override"] = passed_on
        elif way == "block":
            model.set_model_patch_replace(lambda given, more: more["original_block"](given), "dit", "double_block", 0)
        else:
            name = "diffusion_model.blocks.0.self_attn.forward"
            model.add_object_patch(name, model.get_model_object(name))
    _, plan = sample(*changed, positive, schedule="auto")
    assert "attention was dense" not in plan
    said = "and another node has changed how the experts attend, so nobody here knows whether that was sparse."
    assert f"Warning: These files were trained for sparse attention (LightWan2.2), {said}" in plan
    _, plan = sample(lightwan[0], changed[1], positive, schedule="auto")
    assert said in plan
    _, plan = sample(*lightwan, positive, schedule="auto")
    assert "and attention was dense." in plan


def test_off_claims_nothing_of_what_another_node_has_set(lightwan, positive):
    models = sparse(lightwan)[:2]
    *same, report = sparse(models, mode="off")
    assert report == "Mode is off: the experts leave this node as they came, and attend as before."
    assert "sparse attention as trained" in sample(*same, positive, schedule="auto")[1]


def trained(model, training):
    clone = model.clone()
    clone.set_attachments(TRAINING, training)
    return clone


def test_auto_is_for_both_experts_or_refused(high, low, positive):
    for pair, named in (
        ((trained(high, LIGHTWAN), low), "shifted, shift 7 for the high-noise one and rcm for the low-noise one"),
        ((high, trained(low, LIGHTWAN)), "rcm for the high-noise one and shifted, shift 7 for the low-noise one"),
    ):
        with pytest.raises(ValueError, match=f"The schedule auto must be one for both experts, and it is {named}"):
            sample(*pair, positive, schedule="auto")
    _, plan = sample(high, trained(low, SLA_TRAINING), positive, schedule="auto")
    assert plan.startswith("2 high + 2 low | .9950 .9338 | .8529 .6090")
    assert "Warning: The low-noise file was trained for sparse attention (SLA), and attention was dense." in plan
    _, plan = sample(trained(high, LIGHTWAN), trained(low, SLA_TRAINING), positive, schedule="rcm")
    assert "Warning: The high-noise file was trained with the schedule shifted, shift 7. Choose" in plan
    assert "The low-noise file was trained with" not in plan


def test_auto_is_rcm_for_others_and_a_recipe_tells_what_it_was(high, low, positive, monkeypatch):
    told = {}
    monkeypatch.setattr(receipts, "keep", lambda node_id, prompt, text: told.update({node_id: text}))
    node = type("Run", (Sampler,), {"hidden": type("Hidden", (), {"unique_id": "2", "prompt": {"2": {}}})})
    settings = {"steps": 4, "mode": "ode", "cfg": 1.0, "sigma_max": 200.0, "shift": 5.0, "boundary": 0.9}
    latent = {"samples": torch.zeros(SHAPE)}
    _, plan = node.execute(high, low, positive, latent, seed=7, schedule="auto", **settings).args
    assert plan.startswith("2 high + 2 low | .9950 .9338 | .8529 .6090")
    assert told == {"2": plan}
    assert Sampler.spelled_out({"schedule": "auto", **settings}) == {}
    node.execute(high, low, positive, latent, seed=7, schedule="rcm", **settings)
    assert told == {"2": plan}


def test_files_that_were_trained_each_in_its_own_way_run_training_free_with_a_warning(turbo, lightwan, low):
    for pair, found in (
        ((turbo[0], low), "high SLA, low none"),
        ((turbo[0], lightwan[1]), "high SLA, low LightWan2.2"),
    ):
        report = sparse(pair)[2]
        assert f"Warning: These files were trained to be sparse ({found}), and run training-free." in report
        assert "training-free, density 0.5" in report
        with pytest.raises(ValueError, match=f"trained to be sparse in one way, .* These were trained so: {found}"):
            sparse(pair, mode="trained")
    assert "(high SLA, low SLA), and run training-free" in sparse(turbo, mode="training-free")[2]


def test_a_file_is_known_by_its_content_and_lightwan_by_its_name_too(turbo, lightwan, tmp_path, high):
    assert [model.get_attachment(TRAINING) for model in turbo] == [SLA_TRAINING] * 2
    assert [model.clone().get_attachment(TRAINING) for model in lightwan] == [LIGHTWAN] * 2
    assert high.get_attachment(TRAINING) is None
    packed = quantised.packed(STATES["high"], "nvfp4")
    other = save(packed, tmp_path / "wan2.2_high_nvfp4_260412.safetensors")
    assert other.get_attachment(TRAINING) is None
    (tmp_path / "LightWan").mkdir()
    moved = save(packed, tmp_path / "LightWan" / "high_comfy.safetensors")
    assert moved.get_attachment(TRAINING) == LIGHTWAN
    for name in ("nvfp4-high-no-sparse", "nvfp4_high_sparsely"):
        assert save(packed, tmp_path / f"{name}.safetensors").get_attachment(TRAINING) is None
    (tmp_path / "sparse attention").mkdir()  # what a person tries out, and no name of LightX2V's
    tried = save(packed, tmp_path / "sparse attention" / "wan2.2_high_noise_nvfp4.safetensors")
    assert tried.get_attachment(TRAINING) is None
    named = save(STATES["high"], tmp_path / "LightWan2.2_high.safetensors")  # a LoRA merged into plain weights, perhaps
    assert named.get_attachment(TRAINING) is None


def test_projections_are_found_beside_comfyuis_scales_too(tmp_path):
    state = quantised.fp8_scaled(STATES["high"]) | turbodiffusion.projections(STATES["high"])
    model = save(state, tmp_path / "turbo_high_fp8_scaled.safetensors")
    assert model.get_attachment(TRAINING) == SLA_TRAINING
    weight, _ = model.get_attachment(SLA)[1]
    assert weight.equal(state["blocks.1.self_attn.attn_op.local_attn.proj_l.weight"])


def test_projections_with_scales_of_their_own_are_not_taken_for_plain_numbers(tmp_path, add_file):
    """A repack may quantise all matrices. Without its scale such a projection would be another one, and no error."""
    whole = STATES["high"] | turbodiffusion.projections(STATES["high"])
    model = save(quantised.fp8_scaled(whole), tmp_path / "turbo_high_fp8_scaled.safetensors")
    assert model.get_attachment(TRAINING) is None
    assert model.get_attachment(SLA) is None
    output = load(high_noise=add_file("diffusion_models", "repack_high_noise.safetensors", quantised.fp8_scaled(whole)))
    said = output.ui.as_dict()["text"][0]
    assert "(SLA), and stores what belongs to it as numbers with scales, which are not read." in said


def test_half_of_the_projections_are_refused_before_anything_is_loaded(add_file):
    state = STATES["high"] | quantised.fp8_scaled(STATES["high"]) | turbodiffusion.projections(STATES["high"])
    del state["blocks.1.self_attn.attn_op.local_attn.proj_l.bias"]
    with pytest.raises(ValueError, match=r"'half_high_noise.safetensors' is not whole: it lacks blocks.1"):
        load(high_noise=add_file("diffusion_models", "half_high_noise.safetensors", state))


@pytest.mark.parametrize(("form", "settings"), [("nvfp4", {}), ("int8_tensorwise", {}), ("int8_tensorwise", CONVROT)])
def test_repacks_in_comfyuis_formats_load_and_sample(tmp_path, low, positive, form, settings):
    """Those of November 2026: nvfp4, int8, and int8 whose weights are turned first (int8_convrot)."""
    if form not in comfy.quant_ops.QUANT_ALGOS:
        pytest.skip(f"this ComfyUI has no {form}; that it is refused is tested in test_quantised_layouts")
    model = save(quantised.packed(STATES["high"], form, **settings), tmp_path / "repack_high_noise.safetensors")
    weight = model.model.diffusion_model.blocks[1].self_attn.q.weight.data.dequantize().float()
    assert difference(weight, STATES["high"]["blocks.1.self_attn.q.weight"].float()) < (
        0.12 if form == "nvfp4" else 0.02
    )
    plain = save(STATES["high"], tmp_path / "plain_high_noise.safetensors")
    assert difference(*(sample(each, low, positive)[0] for each in (model, plain))) < 0.3
