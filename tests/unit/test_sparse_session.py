"""A run of sparse attention: which steps and layers are dense, what is refused, and what the receipt says."""

from math import prod

import pytest
import torch
from pack.attention import kernels
from pack.attention.order import cube_order
from pack.attention.session import Evaluation, Session, Settings
from torch.nn.functional import scaled_dot_product_attention

SIGMAS = [0.995, 0.934, 0.853, 0.609, 0.0]
GRID = (5, 8, 10)
WORDS = 12
CPU = torch.device("cpu")


def attention(q, k, v, heads=1):
    split = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class Model:
    """Two layers, each with attention to the clip's tokens and then to words; it counts what was dense."""

    def __init__(self, session, expert="high", tokens=None, width=128, words=WORDS, masked=False, sharpness=(1.0, 1.0)):
        self.session, self.expert, self.masked, self.words = session, expert, masked, words
        generator = torch.Generator().manual_seed(3)
        shape = 1, tokens or prod(GRID), width
        self.q, self.k, self.v = (torch.randn(shape, generator=generator) for _ in range(3))
        self.text = torch.randn(1, words, width, generator=generator)
        self.sharpness = sharpness
        self.dense = []

    def evaluate(self, sigma):
        evaluation = Evaluation(self.session, self.expert, sigma, GRID, self.words, CPU)

        def layers():
            return [self.attend(evaluation, layer, k, v) for layer in (0, 1) for k, v in self.pairs()]

        return self.session.evaluate(evaluation, layers)

    def pairs(self):
        return [(self.k, self.v), (self.text, self.text)]

    def attend(self, evaluation, layer, k, v):
        q = self.q * self.sharpness[layer]

        def dense():
            self.dense.append((evaluation.step.number, layer, "clip" if k is self.k else "words"))
            return attention(q, k, v)

        return evaluation.attend(q, k, v, 1, layer, self.masked, dense)


def run(session, *models, sigmas=SIGMAS):
    """Evaluates the models in turn, a step each."""
    turns = [models[at * len(models) // (len(sigmas) - 1)] for at in range(len(sigmas) - 1)]
    session.sample(sigmas, lambda: [model.evaluate(sigma) for model, sigma in zip(turns, sigmas, strict=False)])
    return session


@pytest.mark.parametrize("dense_steps", [0, 1, 2, 3])
def test_first_steps_are_dense_both_experts_together(dense_steps):
    session = Session(Settings(0.3, dense_steps, error_limit=1.0))
    high, low = Model(session, "high"), Model(session, "low")
    run(session, high, low)
    dense = {step for model in (high, low) for step, _, to in model.dense if to == "clip"}
    assert dense == set(range(dense_steps))
    assert [(row["step"], row["expert"]) for row in session.rows] == [(1, "high"), (2, "high"), (3, "low"), (4, "low")]
    assert [row["sparse layers"] for row in session.rows] == [0] * dense_steps + [2] * (4 - dense_steps)


def test_attention_to_the_words_is_never_sparse():
    session = Session(Settings(0.3, 0, error_limit=1.0))
    model = Model(session)
    run(session, model)
    assert model.dense == [(step, layer, "words") for step in range(4) for layer in (0, 1)]


def test_also_where_there_are_as_many_words_as_tokens():
    session = Session(Settings(0.3, 0, error_limit=1.0))
    model = Model(session, words=prod(GRID))
    run(session, model)
    assert model.dense == [(step, layer, "words") for step in range(4) for layer in (0, 1)]
    assert all(row["sparse layers"] == row["layers"] == 2 for row in session.rows)


def test_a_layer_above_the_limit_is_dense_for_the_rest_of_the_run_and_the_receipt_says_so():
    session = Session(Settings(0.5, 1, error_limit=0.05))
    model = Model(session, sharpness=(0.02, 3.0))  # the tail stands for flat attention well, and badly for peaked
    found = run(session, model)
    assert [call for call in model.dense if call[2] == "clip"] == [
        (0, 0, "clip"), (0, 1, "clip"), (1, 1, "clip"), (2, 1, "clip"), (3, 1, "clip"),
    ]  # fmt: skip
    assert [row["sparse layers"] for row in found.rows] == [0, 1, 1, 1]
    assert all(row["worst error"] <= 0.05 for row in found.rows[1:])
    assert "high layer 1 is dense from step 2 on: its error may be" in found.text
    again = run(session, Model(session))  # with an attention whose error is above the limit, too
    assert again.rows[0]["dense"] == {"a first step": 2}


def test_a_new_run_forgets_which_layers_were_dense():
    session = Session(Settings(0.5, 0, error_limit=0.05))
    run(session, Model(session, sharpness=(3.0, 3.0)))
    assert not any("density" in row for row in session.rows)
    run(session, Model(session, sharpness=(0.02, 0.02)))
    assert all(row["sparse layers"] == 2 for row in session.rows)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"masked": True}, "2 dense: a mask or a scale, which no sparse kernel takes"),
        ({"tokens": 401}, "2 dense: 401 tokens, which are not those of the clip (400)"),
        ({"width": 64}, "2 dense: heads of 64 channels, and 128 are needed"),
    ],
    ids=str,
)
def test_what_cannot_be_sparse_is_dense_and_loud(model, reason, caplog):
    told = []
    session = Session(Settings(0.3, 0), told.append)
    run(session, Model(session, **model))
    assert reason in session.text
    assert session.text.splitlines()[1].startswith("Warning: Sparse attention was asked for, and nothing was sparse.")
    assert told == [session.text]
    assert [record.levelname for record in caplog.records if "nothing was sparse" in record.message] == ["WARNING"]


def test_what_is_measured_may_be_in_another_order_and_without_first_frame_and_tail():
    asked = []

    def raster(grid, device):
        asked.append(grid)
        places = torch.arange(prod(grid), device=device)
        return cube_order(grid, device)._replace(tokens=places, places=places)

    settings = Settings(0.2, 0, error_limit=9.0)
    changes = [{}, {"order": raster}, {"sink": False}, {"tail": False}]
    sessions = [Session(settings._replace(**each)) for each in changes]
    found = {run(session, Model(session)).rows[0]["median error"] for session in sessions}
    assert len(found) == len(changes)
    assert asked == [GRID] * 8  # two layers in each of four steps


def test_a_run_of_first_steps_alone_is_loud():
    session = Session(Settings(dense_steps=4))
    run(session, Model(session))
    assert "nothing was sparse" in session.text


def test_a_receipt_says_what_was_sparse_and_why_no_better_kernel():
    session = Session(Settings(0.3, 1, error_limit=1.0))
    head, first, second, *rest = run(session, Model(session)).text.splitlines()
    assert head == "sparse attention: density 0.3, error limit 1"
    assert first.startswith("step 1 high: 2 dense: a first step; attention took ")
    assert second.startswith("step 2 high: 2 of 2 layers sparse, density 0.")
    assert "gather, error at most 0." in second
    assert any("flex_attention gains nothing on a cpu device" in line for line in rest)
    assert 0 < session.rows[1]["share of time"] <= 1


def test_the_receipt_names_the_kernel_of_each_expert(monkeypatch):
    """One may compute in another type, or on another device."""
    fast = kernels.GATHER._replace(name="fast", halves=True)
    monkeypatch.setattr(kernels, "KERNELS", (fast, kernels.GATHER))
    session = Session(Settings(0.3, 0, error_limit=1.0))
    high, low = Model(session, "high"), Model(session, "low")
    high.q, high.k, high.v = (each.bfloat16() for each in (high.q, high.k, high.v))
    high.text = high.text.bfloat16()
    run(session, high, low)
    assert [row["kernel"] for row in session.rows] == ["fast", "fast", "gather", "gather"]
    assert session.text.count("no better kernel: fast computes in bf16 or fp16, and the model in float32") == 1


def test_no_attention_at_all_is_an_error():
    session = Session(Settings())
    evaluation = []

    def loop():
        evaluation.append(Evaluation(session, "high", 0.995, GRID, WORDS, CPU))
        session.evaluate(evaluation[0], lambda: None)

    with pytest.raises(RuntimeError, match="asked for and did not run: another node has replaced"):
        session.sample(SIGMAS, loop)


def test_a_sampler_that_tells_no_sigmas_is_an_error():
    with pytest.raises(RuntimeError, match="must know the sigmas of a run"):
        Evaluation(Session(Settings()), "high", 0.995, GRID, WORDS, CPU)


def test_of_two_samplers_the_second_goes_on_where_the_first_stopped():
    session = Session(Settings(0.3, 1, error_limit=1.0))
    high, low = Model(session, "high"), Model(session, "low")
    for _ in range(2):  # the second time the same
        session.sample(SIGMAS[:3], lambda: [high.evaluate(sigma) for sigma in SIGMAS[:2]])
        assert [row["sparse layers"] for row in session.rows] == [0, 2]
        session.sample(SIGMAS[2:], lambda: [low.evaluate(sigma) for sigma in SIGMAS[2:4]])
        assert [(row["step"], row["sparse layers"]) for row in session.rows] == [(3, 2), (4, 2)]


@pytest.mark.parametrize("experts", [("high", "high", "low"), ("low", "low", "low")], ids=str)
def test_so_does_the_next_on_the_same_expert_also_when_it_alone_runs_again(experts):
    session = Session(Settings(0.3, 1, error_limit=1.0))
    models = {expert: Model(session, expert) for expert in set(experts)}

    def sample(start, stop, expert):
        session.sample(
            SIGMAS[start : stop + 1], lambda: [models[expert].evaluate(sigma) for sigma in SIGMAS[start:stop]]
        )
        return [(row["step"], row["sparse layers"]) for row in session.rows]

    first, second, third = zip((0, 1, 2), (1, 2, 4), experts, strict=True)
    assert sample(*first) == [(1, 0)]
    for _ in range(2):
        assert sample(*second) == [(2, 2)]
    assert sample(*third) == [(3, 2), (4, 2)]


def test_a_step_that_a_cache_spares_is_told_and_no_error():
    session = Session(Settings(0.3, 0, error_limit=1.0))
    model = Model(session)

    def loop():
        model.evaluate(SIGMAS[0])
        session.evaluate(Evaluation(session, "high", SIGMAS[1], GRID, WORDS, CPU), lambda: None)

    session.sample(SIGMAS, loop)
    assert [row["layers"] for row in session.rows] == [2, 0]
    assert "step 2 high: not computed; another node put an earlier result in its place" in session.text.splitlines()


def test_a_sampler_that_evaluates_between_its_sigmas_stays_in_the_step():
    session = Session(Settings(0.3, 1, error_limit=1.0))
    model = Model(session)
    session.sample(SIGMAS, lambda: [model.evaluate(sigma) for sigma in (0.995, 0.95, 0.934, 0.9)])
    assert [row["step"] for row in session.rows] == [1, 1, 2, 2]
    session.sample(SIGMAS, lambda: [model.evaluate(sigma) for sigma in (0.995, 0.7, 0.65)])  # as dpm_adaptive does
    assert [row["step"] for row in session.rows] == [1, 3, 3]
    session.sample([0.3, 0.6, 1.0], lambda: [model.evaluate(sigma) for sigma in (0.3, 0.45, 0.6, 0.8)])
    assert [row["step"] for row in session.rows] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("sigmas", "steps"),
    [
        ([0.995, 0.853, 0.609, 0.853, 0.4, 0.0], [1, 2, 3, 4, 5]),  # noise is added again on the way
        ([0.995, 0.995, 0.853, 0.0], [1, 1, 3]),  # nothing tells two such steps apart
        ([0.609, 0.853, 0.995, 1.0], [1, 2, 3]),  # a clip is turned into noise
    ],
)
def test_a_list_of_sigmas_need_not_fall(sigmas, steps):
    session = Session(Settings(0.3, 2, error_limit=1.0))
    run(session, Model(session), sigmas=sigmas)
    assert [row["step"] for row in session.rows] == steps
    assert [row["sparse layers"] for row in session.rows] == [0 if step <= 2 else 2 for step in steps]


def test_a_run_is_none_that_goes_on_where_a_clip_was_turned_into_noise():
    session = Session(Settings(0.3, 1, error_limit=1.0))
    model = Model(session)
    run(session, model, sigmas=[0.995, 0.9, 0.3])
    run(session, model, sigmas=[0.3, 0.0])
    run(session, model, sigmas=[0.3, 0.995])
    assert [row["step"] for row in session.rows] == [1]  # it goes on with no run that ended where it begins
    assert [row["step"] for row in run(session, model).rows] == [1, 2, 3, 4]


def test_a_sampler_that_looks_ahead_comes_back():
    session = Session(Settings(0.3, 2, error_limit=1.0))
    model = Model(session)
    ahead = (0.995, 0.934, 0.853, 0.934, 0.853, 0.609, 0.853, 0.609, 0.609)  # as heunpp2 does
    session.sample(SIGMAS, lambda: [model.evaluate(sigma) for sigma in ahead])
    assert [row["step"] for row in session.rows] == [1, 2, 3, 2, 3, 4, 3, 4, 4]


def test_an_interrupted_run_leaves_a_receipt_and_the_next_one_begins_anew():
    session = Session(Settings(0.3, 1, error_limit=1.0))
    model = Model(session)

    def loop():
        model.evaluate(0.995)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.sample(SIGMAS, loop)
    assert len(session.rows) == 1
    run(session, model)
    assert len(session.rows) == 4
