"""What providers answer, read without taking a doubt for a fact, and put into words without a secret."""

import pytest
from pack.hosted.errors import BalanceError, RateLimitedError, RefusedError, UnclearError
from pack.hosted.providers import OFFERS, Model
from pack.hosted.responses import Reply, read_price
from pack.tests.toy.hosted import API302, ATLASCLOUD, WAVESPEED

KEY = "canary-abcdefghijklmnop"


def test_an_id_in_a_failed_answer_is_that_of_a_job_only_with_the_jobs_status():
    job = {"id": "j1", "status": "failed"}
    assert ATLASCLOUD.read_submission(Reply(500, {"code": 500, "data": job}), KEY) == "j1"
    with pytest.raises(UnclearError):
        WAVESPEED.read_submission(Reply(500, {"id": "request-1", "error": "internal error"}), KEY)


@pytest.mark.parametrize("before", range(280, 301, 4))
def test_no_part_of_a_key_is_left_where_a_long_answer_is_cut(before):
    said = str(WAVESPEED.refusal(Reply(400, {"message": "x" * before + " " + KEY + " y" * 300}), KEY))
    assert KEY[:4] not in said
    assert len(said) < 450


@pytest.mark.parametrize(
    ("message", "kind"),
    [("insufficient GPU capacity", RefusedError), ("Insufficient balance", BalanceError),
     ("insufficient credits", BalanceError), ("insufficient_user_quota", BalanceError)],
)  # fmt: skip
def test_what_is_insufficient_decides_who_is_to_act(message, kind):
    with pytest.raises(kind) as refused:
        WAVESPEED.read_submission(Reply(503, {"message": message}), KEY)
    assert not isinstance(refused.value, RateLimitedError)


@pytest.mark.parametrize(
    ("quote", "usd"),
    [({"price": 0.15, "discounted_price": 0}, 0.15), ({"price": 0.15, "discounted_price": 0.1}, 0.1),
     ({"price": -1}, None), ({"price": 0}, None), ({"price": True}, None)],
)  # fmt: skip
def test_a_price_of_nothing_is_no_price(quote, usd):
    assert read_price({"code": 200, "data": quote}) == usd


def test_of_302_nobody_names_prices_or_says_that_failed_jobs_are_free():
    models: list[Model] = [model for provider, model in OFFERS.values() if provider is API302]
    assert models
    assert all(model.estimate(model.resolutions[0], model.durations[0]) is None for model in models)
    assert [each.charges_failed_jobs for each in (WAVESPEED, ATLASCLOUD, API302)] == [False, True, True]
