"""Attention as models were trained with it, against the formulas of its papers in float64, and in a run."""

import pytest
import torch
from pack.attention import flex, gather, kernels, trained
from pack.attention.session import Settings
from pack.attention.trained import Blocks, Training
from pack.tests.unit.test_sparse_session import Model, Session, run
from torch.nn.attention.flex_attention import flex_attention

CPU = torch.device("cpu")
SHAPES = [Blocks(128, 64), Blocks(64, 128)]
# 75 600 and 32 760 tokens, as 720p and 480p have, leave 80 and 120 of 128; others leave less than a block of either.
LENGTHS = [3 * 128 + 80, 2 * 128 + 120, 5 * 128, 2 * 128 + 16, 100]


def eager(*arguments):
    return flex.attend_blocks(flex_attention, *arguments)


OVER = {"gather": gather.over_blocks, "flex": eager}
CASES = [
    *(("gather", length) for length in LENGTHS),
    pytest.param("flex", LENGTHS[0], marks=pytest.mark.slow),  # not compiled, it is traced in each call
]


def layer(length, heads=2, batch=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(batch, length, heads, 128, generator=generator).mul(1.2).to(dtype) for _ in range(3)]


def projection():
    generator = torch.Generator().manual_seed(9)
    return torch.randn(128, 128, generator=generator) / 11, torch.randn(128, generator=generator)


def formula(q, k, v, density, blocks, project=None):
    """One head, Tensor[L, 128] each, in float64: O = O_s + proj_l(O_l)."""
    q, k, v = (x.double() for x in (q, k, v))
    length = len(q)
    smooth = k - k.mean(0)
    rows = [slice(at, min(at + blocks.queries, length)) for at in range(0, length, blocks.queries)]
    columns = [slice(at, min(at + blocks.keys, length)) for at in range(0, length, blocks.keys)]
    keys = torch.stack([smooth[each].mean(0) for each in columns])
    count = max(1, int(density * len(columns)))
    out = torch.empty_like(q)
    for row in rows:
        best = (keys @ q[row].mean(0)).argsort(descending=True)[:count]
        kept = torch.cat([torch.arange(columns[at].start, columns[at].stop) for at in best.tolist()])
        out[row] = (q[row] @ k[kept].T / 128**0.5).softmax(1) @ v[kept]
    if project is not None:
        feature, other = q.softmax(1), k.softmax(1)
        linear = (feature @ (other.T @ v)) / (1e-5 + feature @ other.sum(0))[:, None]
        out += linear @ project[0].double().T + project[1].double()
    return out


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("project", [None, projection()], ids=["LightWan", "SLA"])
@pytest.mark.parametrize("blocks", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "length"), CASES)
def test_it_is_the_formula(name, length, blocks, project):
    q, k, v = layer(length, heads=3, batch=2)
    attended, share = trained.attend(OVER[name], 2, q, k, v, 0.4, blocks, project)
    columns = -(-length // blocks.keys)
    assert share == pytest.approx(max(1, int(0.4 * columns)) / columns)
    for clip in range(2):
        for head in range(3):
            expected = formula(*(x[clip, :, head] for x in (q, k, v)), 0.4, blocks, project)
            assert (attended[clip, :, head] - expected).abs().max() < 1e-4


@pytest.mark.parametrize(("tokens", "kept"), [(75600, 118), (32760, 51)])
def test_of_the_clips_of_720p_and_480p_as_many_blocks_are_kept_as_the_authors_keep(tokens, kept):
    x = torch.randn(1, 1, tokens, 2, generator=torch.Generator().manual_seed(1))
    chosen = trained.choose_blocks(x, x, 0.1, Blocks())
    assert chosen.shape == (1, 1, -(-tokens // 128), kept)


def test_in_bf16_it_differs_by_its_rounding():
    q, k, v = layer(464, dtype=torch.bfloat16)
    found, _ = trained.attend(gather.over_blocks, 1, q, k, v, 0.4, Blocks(), projection())
    fine, _ = trained.attend(gather.over_blocks, 1, *(x.float() for x in (q, k, v)), 0.4, Blocks(), projection())
    assert found.dtype == torch.bfloat16
    assert (found.float() - fine).norm() / fine.norm() < 0.01


def test_in_fp16_many_tokens_do_not_overflow():
    """The keys of Wan have channels that outweigh the others, so that phi sums up to a clip's length in one of them."""
    q, k, v = (x[:, :, 0][:, None].half() for x in layer(8000, heads=1))
    k[..., 7] += 12
    v += 10  # times 8000, as 1 times 75 600 tokens
    found = trained.linear_branch(q, k, v)
    feature, other = q.double().softmax(-1), k.double().softmax(-1)
    expected = (feature @ (other.mT @ v.double())) / (1e-5 + feature @ other.sum(2, keepdim=True).mT)
    assert (found - expected).norm() / expected.norm() < 0.002


def test_the_blocks_that_were_trained_are_not_those_of_training_free_attention():
    """So one may not stand for the other: on flat attention they are far apart."""
    q, k, v = layer(1024)
    shapes = [trained.attend(gather.over_blocks, 1, q, k, v, 0.25, blocks)[0] for blocks in (Blocks(), Blocks(64, 64))]
    assert (shapes[0] - shapes[1]).norm() / shapes[0].norm() > 0.1


def test_a_kernel_with_blocks_of_its_own_is_none_for_it(monkeypatch):
    own = kernels.SOL_ATTN._replace(why_not=lambda device: None, halves=False)
    monkeypatch.setattr(kernels, "KERNELS", (own, kernels.GATHER))
    assert kernels.choose("auto", CPU, torch.float32)[0] is own
    kernel, reasons = kernels.choose("auto", CPU, torch.float32, trained=True)
    assert kernel is kernels.GATHER
    assert reasons == ["sol_attn has blocks of 64x64, and models were trained with others"]


@pytest.mark.slow
def test_a_run_is_as_trained_in_each_step_and_layer_and_the_receipt_says_so():
    high, low = ({layer: projection() for layer in (0, 1)} for _ in range(2))
    training = Training("SLA", {"high": high, "low": low})
    session = Session(Settings(0.3, dense_steps=1, error_limit=0.001, training=training))
    models = Model(session, "high"), Model(session, "low")
    run(session, *models)
    assert not [call for model in models for call in model.dense if call[2] == "clip"]
    head, first, *_ = session.text.splitlines()
    assert head == "sparse attention as trained (SLA): density 0.3"
    assert first.startswith("step 1 high: 2 of 2 layers sparse, density 0.286, gather; attention took ")
    assert [row["sparse layers"] for row in session.rows] == [2] * 4
    assert "worst error" not in session.rows[0]


@pytest.mark.slow
def test_each_expert_and_layer_has_its_own_projection():
    zero, one = (torch.zeros(128, 128), torch.zeros(128)), (torch.zeros(128, 128), torch.ones(128))
    training = Training("SLA", {"high": {0: zero, 1: one}, "low": {0: one, 1: one}})
    bare = run_once(Training("LightWan"), "high")
    for expert, shifts in (("high", (0.0, 1.0)), ("low", (1.0, 1.0))):
        found = run_once(training, expert)
        for layer_, shift in enumerate(shifts):
            assert torch.allclose(found[layer_], bare[layer_] + shift, atol=1e-5)


def run_once(training, expert):
    """Returns the attention of both layers to the clip."""
    session, found = Session(Settings(0.3, training=training)), []
    session.sample([0.9, 0.0], lambda: found.extend(evaluated(Model(session, expert))))
    return found


def evaluated(model):
    kept = []
    attend = model.attend
    model.attend = lambda evaluation, layer_, k, v: kept.append((k is model.k, attend(evaluation, layer_, k, v)))
    model.evaluate(0.9)
    return [each for is_clip, each in kept if is_clip]
