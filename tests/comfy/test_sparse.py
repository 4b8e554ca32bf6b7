"""Sparse Attention on tiny experts, run by ComfyUI's own samplers."""

from functools import partial

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_easycache import EasyCacheNode
from pack.nodes.lora import Lora
from pack.nodes.sampling import ExpertGuider, RcmSigmas, Sampler
from pack.nodes.sparse import KEY, OVERRIDE, SparseAttention, session_of
from pack.tests.toy import models as toy
from pack.tests.toy.sampling import SETTINGS, conditioning, with_windows

pytestmark = pytest.mark.comfy

SHAPE = (1, 16, 5, 14, 18)  # 5 x 7 x 9 tokens: none a multiple of four
SPARSE = {"mode": "training-free", "density": 0.4, "dense_steps": 1, "error_limit": 1.0, "kernel": "auto"}


@pytest.fixture(scope="module")
def positive():
    return conditioning(1, SHAPE)


@pytest.fixture(scope="module")
def dense(high, low, positive):
    return sample(high, low, positive)[0]


def sparse(high, low, **changes):
    return SparseAttention.execute(high, low, **{**SPARSE, **changes}).args


def sample(high, low, positive, shape=SHAPE, **changes):
    """Returns the latent and the plan."""
    latent = {"samples": torch.zeros(shape)}
    latent, plan = Sampler.execute(high, low, positive, latent, seed=7, **{**SETTINGS, **changes}).args
    return latent["samples"], plan


def windowed(models):
    """Returns the latent of a clip that is longer than ComfyUI's context windows."""
    shape = (1, 16, 9, 14, 18)
    return sample(*map(with_windows, models), conditioning(1, shape), shape)[0]


def difference(found, expected):
    return float((found - expected).norm() / expected.norm())


def rows(model):
    return [(row["step"], row["expert"], row["sparse layers"]) for row in session_of(model).rows]


def test_both_experts_are_sparse_after_the_dense_steps_and_the_plan_has_the_receipt(high, low, positive, dense):
    *models, report = sparse(high, low)
    found, plan = sample(*models, positive)
    assert 1e-4 < difference(found, dense) < 0.2
    assert rows(models[0]) == [(1, "high", 0), (2, "high", toy.LAYERS), (3, "low", toy.LAYERS), (4, "low", toy.LAYERS)]
    assert plan.startswith("2 high + 2 low | ")
    assert plan.endswith(session_of(models[0]).text)
    assert "kernel gather" in report
    assert session_of(high) is None  # the models that came in are as they were


def test_at_density_1_nothing_but_rounding_is_lost(high, low, positive, dense):
    *models, _ = sparse(high, low, density=1.0, dense_steps=0)
    assert difference(sample(*models, positive)[0], dense) < 1e-5
    assert [sparse for _, _, sparse in rows(models[0])] == [toy.LAYERS] * 4


def test_where_all_steps_are_dense_the_clip_is_the_same_and_the_plan_is_loud(high, low, positive, dense):
    *models, _ = sparse(high, low, dense_steps=4)
    found, plan = sample(*models, positive)
    assert torch.equal(found, dense)
    assert "nothing was sparse" in plan


def test_a_second_run_of_the_same_nodes_is_the_same(high, low, positive):
    *models, _ = sparse(high, low)
    assert torch.equal(sample(*models, positive)[0], sample(*models, positive)[0])
    assert len(rows(models[0])) == 4


def test_off_leaves_the_models_as_they_are(high, low):
    found = sparse(high, low, mode="off")
    assert found[:2] == (high, low)


def test_with_guidance_and_a_batch_of_two(high, low, positive):
    *models, _ = sparse(high, low, dense_steps=0)
    words = conditioning(2, SHAPE)
    latent = {"samples": torch.zeros(2, *SHAPE[1:])}
    found = Sampler.execute(
        *models, positive, latent, seed=7, **{**SETTINGS, "cfg": 2.0, "schedule": "shifted"}, negative=words
    )
    assert found[0]["samples"].isfinite().all()
    assert {sparse for _, _, sparse in rows(models[0])} == {toy.LAYERS}


def test_a_clip_with_a_first_and_a_last_frame(high, low, positive, dense):
    given = torch.ones(1, 4, *SHAPE[2:])
    given[:, :, [0, -1]] = 0
    both = [[positive[0][0], {**positive[0][1], "concat_mask": given}]]
    expected, _ = sample(high, low, both)
    assert difference(expected, dense) > 0.01
    assert difference(sample(*sparse(high, low, density=1.0, dense_steps=0)[:2], both)[0], expected) < 1e-5
    *models, _ = sparse(high, low)
    assert 1e-4 < difference(sample(*models, both)[0], expected) < 0.2
    assert [sparse for _, _, sparse in rows(models[0])] == [0] + [toy.LAYERS] * 3


def test_context_windows_have_an_order_of_their_own(high, low):
    models = sparse(high, low, dense_steps=0)[:2]
    assert windowed(models).isfinite().all()
    assert len(rows(models[0])) > 4
    assert {sparse for _, _, sparse in rows(models[0])} == {toy.LAYERS}


def test_two_samplers_of_comfyui_count_their_steps_together(high, low, positive):
    first, second, _ = sparse(high, low, dense_steps=3)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    half = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "positive": positive}
    latent = torch.zeros(SHAPE)
    for model, start, stop in ((first, 0, 2), (second, 2, 4)):
        latent = comfy.sample.sample(
            model, noise if start == 0 else torch.zeros(SHAPE), **half, negative=positive, latent_image=latent,
            start_step=start, last_step=stop, force_full_denoise=stop == 4, disable_noise=start > 0,
        )  # fmt: skip
        assert rows(model) == [
            (step + 1, "high" if start == 0 else "low", toy.LAYERS * (step == 3)) for step in range(start, stop)
        ]


def test_a_guider_that_runs_in_parts_counts_their_steps_together(high, low, positive):
    *models, _ = sparse(high, low, dense_steps=1)
    guider = ExpertGuider.execute(*models, positive, cfg=1.0, boundary=0.9)[0]
    sigmas, latent = RcmSigmas.execute(4, 80.0)[0], torch.zeros(SHAPE)
    noise, told = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)), []
    for start, stop in ((0, 2), (2, 3), (3, 4)):
        part = sigmas[start : stop + 1]
        latent = guider.sample(
            noise if start == 0 else torch.zeros(SHAPE), latent, comfy.samplers.sampler_object("euler"), part
        )
        told += rows(models[0])
    assert told == [(step, "high" if step < 3 else "low", toy.LAYERS * (step > 1)) for step in range(1, 5)]


def test_steps_that_easycache_spares_are_told_and_the_others_sparse(high, low, positive):
    models = [EasyCacheNode.execute(model, 3.0, 0.0, 1.0, False)[0] for model in sparse(high, low, dense_steps=0)[:2]]
    found, plan = sample(*models, positive, steps=8)
    assert found.isfinite().all()
    spared = [row["step"] for row in session_of(models[0]).rows if not row["layers"]]
    assert 0 < len(spared) < 7
    assert all(f"step {step} " in plan and "not computed; another node" in plan for step in spared)
    assert {row["sparse layers"] for row in session_of(models[0]).rows if row["layers"]} == {toy.LAYERS}


def scaled(function, q, k, v, *arguments, **given):
    return function(q, k, v, *arguments, **given, scale=0.1)


def masked(function, q, k, v, *, heads, **given):
    return function(q, k, v, heads, torch.linspace(-4, 0, k.shape[1]).expand(q.shape[1], -1), **given)


@pytest.mark.parametrize("changed", [scaled, masked])
def test_what_a_later_node_changes_in_an_attention_is_not_left_out(high, low, positive, changed):
    def changing(*pair):
        models = [model.clone() for model in pair]
        for model in models:
            options = model.model_options["transformer_options"]
            own = options.get(OVERRIDE, lambda function, *arguments, **given: function(*arguments, **given))
            options[OVERRIDE] = lambda function, *arguments, own=own, **given: changed(
                partial(own, function), *arguments, **given
            )
        return models

    models = changing(*sparse(high, low, dense_steps=0)[:2])
    found, plan = sample(*models, positive)
    assert torch.equal(found, sample(*changing(high, low), positive)[0])
    assert f"{toy.LAYERS} dense: a mask or a scale, which no sparse kernel takes" in plan


def test_a_lora_may_come_after_it(high, low, positive, models):
    files = {"lora_high": toy.LORA_HIGH, "lora_low": toy.LORA_LOW}
    strengths = {"strength_high": 1.0, "strength_low": 1.0}
    words = {"trigger_words": "", "trigger_position": "prepend", "prompt": "a fox"}

    def with_lora(*pair):
        return Lora.execute(*pair, **files, **strengths, **words).args[:2]

    before = sample(*sparse(*with_lora(high, low))[:2], positive)[0]
    after = sample(*with_lora(*sparse(high, low)[:2]), positive)[0]
    assert torch.equal(before, after)


@pytest.mark.parametrize("first", [True, False], ids=["compiled first", "compiled after"])
def test_torch_compile_takes_the_same_course(high, low, positive, first):
    """Compiled without a code generator: what is traced, and where the graph breaks, is the same with one."""
    expected = sample(*sparse(high, low)[:2], positive)[0]
    models = compiled(high, low) if first else sparse(high, low)[:2]
    models = sparse(*models)[:2] if first else compiled(*models)
    found = sample(*models, positive)[0]
    assert difference(found, expected) < 1e-5
    assert [sparse for _, _, sparse in rows(models[0])] == [0] + [toy.LAYERS] * 3


def compiled(*models):
    clones = [model.clone() for model in models]
    for clone in clones:
        set_torch_compile_wrapper(clone, backend="eager", options={"guard_filter_fn": lambda guards: [
            "transformer_options" not in guard.name for guard in guards
        ]})  # fmt: skip
    return clones


def test_an_attention_that_was_there_before_computes_what_stays_dense(high, low, positive):
    seen = []

    def other(function, q, k, *arguments, **given):
        seen.append((given["transformer_options"]["block_index"], q.shape == k.shape))
        return function(q, k, *arguments, **given)

    both = [high.clone(), low.clone()]
    for model in both:
        model.model_options["transformer_options"] = {OVERRIDE: other}
    *models, report = sparse(*both)
    sample(*models, positive)
    assert sum(own for _, own in seen) == toy.LAYERS  # of the one dense step
    assert sum(not own for _, own in seen) == 4 * toy.LAYERS
    assert "high and low had another attention. It computes what stays dense." in report
    assert "patched differently" not in report
    assert "The experts are patched differently" in sparse(both[0], low)[2]


def test_an_attention_that_is_put_on_afterwards_and_replaces_it_is_an_error(high, low, positive):
    models = [model.clone() for model in sparse(high, low)[:2]]
    for model in models:
        model.model_options["transformer_options"][OVERRIDE] = lambda function, *arguments, **given: function(
            *arguments, **given
        )
    with pytest.raises(RuntimeError, match="Sparse attention was asked for and did not run"):
        sample(*models, positive)


def test_a_model_takes_it_once(high, low):
    *models, _ = sparse(high, low)
    with pytest.raises(ValueError, match="takes Sparse Attention once, and the high-noise expert has it already"):
        sparse(*models)
    with pytest.raises(ValueError, match="and the low-noise expert has it already"):
        sparse(high, models[1])


def test_both_experts_must_come_through_one_node(high, low, positive):
    first, second = sparse(high, low)[:2], sparse(high, low)[:2]
    for pair, what in (
        ((first[0], low), "the low-noise one did not"),
        ((high, first[1]), "the high-noise one did not"),
        ((first[0], second[1]), "each came through its own"),
    ):
        for node in (Sampler, ExpertGuider):
            with pytest.raises(ValueError, match=f"must come through one Sparse Attention, and {what}"):
                refused(node, *pair, positive)


def refused(node, high, low, positive):
    if node is Sampler:
        return sample(high, low, positive)
    return ExpertGuider.execute(high, low, positive, cfg=1.0, boundary=0.9)


def test_a_kernel_that_is_not_there_is_refused_before_a_run(high, low):
    with pytest.raises(ValueError, match="The kernel 'flex' must run on this machine, but"):
        sparse(high, low, kernel="flex")


def test_what_the_receipt_stands_on_is_in_this_comfyui(high, low):
    """That a clone keeps attachments, wrappers and options, and that samplers pass them on."""
    *models, _ = sparse(high, low)
    clone = models[0].clone()
    assert session_of(clone) is session_of(models[1])
    assert clone.get_wrappers("outer_sample", KEY)
    assert clone.get_wrappers("apply_model", KEY)
    assert OVERRIDE in clone.model_options["transformer_options"]


def test_one_model_in_both_slots_is_sparse_on_both(high, positive):
    *models, _ = sparse(high, high)
    assert sample(*models, positive)[0].isfinite().all()
    assert rows(models[0]) == [(step, "high" if step < 3 else "low", toy.LAYERS * (step > 1)) for step in range(1, 5)]
