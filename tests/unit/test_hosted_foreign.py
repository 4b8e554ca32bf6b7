"""What providers say that nobody sane would: a paid job is neither lost nor paid twice, and no text taken on trust."""

import json

import pytest
from pack.common import text as foreign
from pack.hosted.errors import UnclearError
from pack.hosted.providers import dollars
from pack.hosted.responses import Reply, read_history, read_price, read_task, read_upload, shown
from pack.hosted.transport import _seconds
from pack.tests.toy.faults import DEEP, DIGITS, HUGE, ODD, inserted, quoting, raw, reworded
from pack.tests.toy.hosted import (
    ATLASCLOUD,
    BRIEF,
    WAVESPEED,
    check_that_it_is_paid_once,
    client,
    is_plain,
    outcome,
    request,
)
from pack.tests.toy.loopback import KEY

NO_AMOUNTS = ["1e400", "NaN", "-Infinity", DIGITS, "-" + DIGITS, "-1", "true", '"1,5"', "1001", "[]", "{}", "1e308"]
DEEP_ERROR = '{"error":' * 400 + "1" + "}" * 400
ODD_JSON = json.dumps(ODD)


CHANGES = {
    **{f"price {value[:9]}": ("price", value) for value in NO_AMOUNTS},
    **{f"flags {value[:12]}": ("has_nsfw_contents", value) for value in
       ("[1]", '["true"]', '"yes"', "[[true]]", "{}", "1e400", "[null]", json.dumps([False] * 300_000))},
    "flags deep": ("has_nsfw_contents", DEEP),
    "error huge": ("error", HUGE), "error odd": ("error", ODD_JSON), "error deep": ("error", DEEP_ERROR),
    "error of another type": ("error", "[1, {}]"), "status huge": ("x", HUGE),
    "a million outputs": ("outputs", json.dumps(["x"] * 1_000_000)), "outputs deep": ("outputs", DEEP),
    "outputs of numbers": ("outputs", "[1e400, true, null, [], {}]"), "an odd output": ("outputs", f"[{ODD_JSON}]"),
    "a huge output": ("outputs", f'["https://a.example/{"a" * 1_000_000}"]'), "an id that is odd": ("id", ODD_JSON),
    "an id of 1 MB": ("id", HUGE), "no id": ("id", '""'), "an odd code": ("code", DIGITS),
    "odd urls": ("urls", ODD_JSON),
}  # fmt: skip


@pytest.mark.parametrize("name", ["wavespeed", "atlascloud"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_clip_arrives_whatever_else_the_answer_says_of_it(kind, name, running, tmp_path):
    provider = running.named(name)
    part, value = CHANGES[kind]
    effect = reworded(lambda text: text.replace('"completed"', HUGE) if part == "x" else inserted(part, value)(text))
    provider.break_next("poll", *[effect(provider)] * 3)
    provider.seconds = 0.0
    got = outcome(client(tmp_path, running), request(name))
    assert got.name == "clip", got.text
    assert is_plain(got.text)
    check_that_it_is_paid_once(provider, running, tmp_path)


IDS = [ODD_JSON, HUGE, '""', "null", "true", "1e400", DIGITS, "[]", "{}", '".."', '"."', '"a b"', '"a\\n"', '"\\u001b"',
       '"\\u0430"', json.dumps("x" * 201), DEEP]  # fmt: skip


@pytest.mark.parametrize("name", ["wavespeed", "atlascloud"])
@pytest.mark.parametrize("value", IDS, ids=lambda value: value[:12])
def test_a_job_whose_id_can_be_none_is_looked_for_in_the_list(value, name, running, tmp_path):
    provider = running.named(name)
    provider.break_next("submit", reworded(inserted("id", value))(provider))
    got = outcome(client(tmp_path, running), request(name))
    assert got.name == "clip", got.text
    check_that_it_is_paid_once(provider, running, tmp_path)


@pytest.mark.parametrize("value", IDS, ids=lambda value: value[:12])
def test_where_there_is_no_list_nothing_is_paid_twice(value, running, tmp_path):
    provider = running.named("api302")
    provider.break_next("submit", reworded(inserted("id", value))(provider))
    for _ in range(2):
        got = outcome(client(tmp_path, running), request("api302"))
        assert got.name == "UnclearError"
        assert is_plain(got.text)
    assert provider.posts == 1


@pytest.mark.parametrize("form", ["a/b/{number}", "../{number}", "%2e%2e/{number}?x=1#y", "a\\{number}&;:@=+$,'\"<>"])
def test_signs_in_an_id_lead_nowhere_else(form, provider, running, tmp_path):
    provider.id_form = form
    got = outcome(client(tmp_path, running), request(provider.name))
    assert got.name == "clip", got.text
    (job,) = provider.jobs
    assert f"Job {job} " in got.text
    next((tmp_path / "clips").iterdir()).unlink()
    assert outcome(client(tmp_path, running), request(provider.name)).clip.resumed
    assert provider.posts == 1


@pytest.mark.parametrize("phase", ["upload", "price", "submit", "history", "poll"])
@pytest.mark.parametrize(
    "text", [DEEP, '{"data":' * 900 + "1" + "}" * 900, DEEP_ERROR, f'{{"message": {HUGE}}}', f'{{"error": {ODD_JSON}}}',
             f'{{"code": {DIGITS}, "data": {{"items": [{ODD_JSON}, 1e400]}}}}'],
    ids=lambda text: text[:14],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 500])
def test_no_answer_ends_in_anything_but_a_sentence(status, text, phase, wavespeed, running, tmp_path):
    if phase == "history":
        wavespeed.break_next("submit", raw(502, "", arrived=True)(wavespeed))
    wavespeed.break_next(phase, raw(status, text)(wavespeed))
    got = outcome(client(tmp_path, running, BRIEF), request("wavespeed"))  # an error of another kind would be raised
    assert is_plain(got.text)
    if wavespeed.jobs:
        check_that_it_is_paid_once(wavespeed, running, tmp_path)


@pytest.mark.parametrize("value", NO_AMOUNTS)
def test_a_quote_that_can_be_no_price_is_not_counted_as_one(value, wavespeed, running, tmp_path):
    wavespeed.break_next("price", quoting(value)(wavespeed))
    got = outcome(
        client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD="0.40"), request("wavespeed"), run_id=str(tmp_path)
    )
    too_much = value in ("1e400", DIGITS, "1001", "1e308")
    assert got.name == ("PolicyError" if too_much else "clip")
    assert ("nobody names the price" if too_much else "Price: about $0.15, prices of") in got.text
    assert wavespeed.posts == (0 if too_much else 1)


@pytest.mark.parametrize(
    ("quote", "name"),
    [('"0.41"', "PolicyError"), ('"0.40"', "clip"), ('"1001"', "PolicyError"),
     ('"0.41000000000000003"', "PolicyError"), (f'"0.41{"0" * 36}"', "PolicyError")],
)  # fmt: skip
def test_a_quote_that_is_a_number_as_text_counts_as_it_is(quote, name, wavespeed, running, tmp_path):
    """AtlasCloud writes prices so, JavaScript with 17 digits. The table's estimate would be too low a number."""
    wavespeed.break_next("price", quoting(quote)(wavespeed))
    limit = client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD="0.40")
    got = outcome(limit, request("wavespeed"), run_id=str(tmp_path))
    assert got.name == name
    assert wavespeed.posts == (name == "clip")


@pytest.mark.parametrize(
    ("charge", "usd"), [("0.80", 0.8), ("7", 7.0), ("0", None), ("1e2", None), ("", None), ("-1", None)]
)
def test_a_charge_that_is_a_number_as_text_counts_as_it_is(charge, usd):
    assert read_task({"data": {"id": "a", "price": charge}}).usd == usd


@pytest.mark.parametrize("charge", [0.05, 1000, 7])
def test_an_amount_is_taken_as_it_is(charge):
    assert read_task({"data": {"id": "a", "price": charge}}).usd == charge
    assert dollars(read_task({"data": {"id": "a", "price": charge}}).usd).startswith("$")


@pytest.mark.parametrize(
    ("flags", "flagged"),
    [([False], False), ([True], True), ([False, True], True), (True, True), (False, False), ([], None), (None, None),
     ([1], None), (["true"], None), ([False, None], None), ("false", None), ([0], None),
     ([True, "x"], True), ({}, None)],
)  # fmt: skip
def test_a_flag_in_other_words_is_not_taken_for_none(flags, flagged):
    assert read_task({"data": {"id": "a", "has_nsfw_contents": flags}}).flagged is flagged


def test_of_two_parts_of_one_name_the_last_counts():
    answer = foreign.read_json('{"data": {"id": "a", "id": "b", "status": "x", "status": "completed"}}')
    assert WAVESPEED.read_submission(Reply(200, answer), KEY) == "b"
    assert read_task(answer).verdict == "done"


@pytest.mark.parametrize("before", [*range(16_350, 16_400, 4), 40_000])
def test_a_key_at_the_end_of_what_is_looked_at_is_not_cut(before):
    for text in (
        "x" * before + " " + KEY + " y" * 300,
        "https://a.example/?" + "x" * (before - 40) + " " + KEY + "y" * 99,
    ):
        assert KEY[:4] not in shown(read_task({"error": text}).error, KEY)


def test_a_key_between_signs_that_are_not_shown_does_not_come_together():
    assert KEY not in shown(read_task({"error": f"no \x00{KEY[:9]}\x00{KEY[9:]}"}).error, KEY)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://a.example/\n", "https://a.example/" + "a" * 9000, 5, ""]
)
def test_the_address_of_an_upload_is_one(url):
    assert read_upload({"data": {"download_url": url}}) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("1000000000", 120.0), (DIGITS, 120.0), ("-1", None), ("1e9", None), ("inf", None),
     ("NaN", None), ("Sun, 06 Nov 2094 08:49:37 GMT", None), ("", None)],
)  # fmt: skip
def test_nobody_waits_as_long_as_a_header_says(header, seconds):
    assert _seconds(header) == seconds


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400, -5, True, [], {}, "x" * 10**6, "9999-99-99", "now", None, DIGITS]
)
def test_a_moment_that_is_none_is_not_reckoned_with(value):
    assert read_history({"data": [{"created_at": value}]})[0].created is None


@pytest.mark.parametrize("inputs", [DEEP, "{", "[]", "\x00", '{"a": NaN', 5, [[]]])
def test_inputs_that_cannot_be_read_are_none(inputs):
    assert read_history({"data": [{"inputs": inputs}]})[0].inputs is None


def test_what_was_said_once_of_a_job_is_not_forgotten(running, tmp_path):
    provider = running.named("atlascloud")
    provider.flagged = True
    outcome(client(tmp_path, running), request("atlascloud")).clip.path.unlink()
    silent = reworded(lambda text: text.replace('"price"', '"other"').replace('"has_nsfw_contents"', '"another"'))
    provider.break_next("poll", silent(provider))
    again = outcome(client(tmp_path, running), request("atlascloud"))
    assert "$0.10 charged" in again.text
    assert "FLAGGED" in again.text


def test_an_unclear_answer_is_told_without_its_signs():
    with pytest.raises(UnclearError) as told:
        ATLASCLOUD.read_submission(Reply(200, {"data": {"id": "\x1b"}, "message": "a\x1b[2Jb\u202e"}), KEY)
    assert is_plain(str(told.value))


def test_prices_of_the_table_are_within_what_a_price_may_be():
    costs = [
        model.estimate(size, seconds)
        for model in WAVESPEED.models
        for size in model.resolutions
        for seconds in model.durations
    ]
    assert all(foreign.amount(cost) == cost for cost in costs)
    assert read_price({"price": 10**400}) > foreign.MAX_USD
