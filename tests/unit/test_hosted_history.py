"""The search for a job whose id never came: nothing is taken for it that is not, and no doubt for its absence."""

import asyncio
import time
from dataclasses import replace

import pytest
from pack.hosted import polling
from pack.hosted.errors import UnclearError
from pack.hosted.ledger import Row, digest_of, marks_of
from pack.hosted.providers import PAGE
from pack.hosted.responses import Reply
from pack.hosted.transport import Timing
from pack.tests.toy.hosted import ATLASCLOUD, WAVESPEED

INPUTS = {"image": "https://cdn.example/a.png", "prompt": "A cat.", "seed": 7, "loras": [{"path": "a/b", "scale": 1.0}]}
BRIEF = Timing(connect=0.1, submit=0.3, settle=0.1, first_poll=0.02, longest_poll=0.05)


class List:
    """The provider's list of jobs, as the transport would bring it; the looks at it are counted."""

    def __init__(self, *answers, timing=BRIEF):
        self.answers = list(answers)
        self.timing = timing
        self.looks = 0
        self.asked = []

    async def ask(self, query):
        return self.answer(query.body or query.params)

    def answer(self, asked):
        self.asked.append(asked)
        self.looks += 1
        data = self.answers[min(self.looks, len(self.answers)) - 1]
        return data if isinstance(data, Reply) else Reply(200, {"code": 200, "data": {"items": data}})


def row(seconds_ago=100.0, **changes):
    made = Row("a" * 64, "wavespeed", "m", "claimed", time.time() - seconds_ago, marks_of(INPUTS))
    return replace(made, **changes)


def item(job_id="j1", **changes):
    return {"id": job_id, "inputs": {**INPUTS, **changes}}


def find(answers, of=None, provider=WAVESPEED, taken=(), timing=BRIEF):
    listed = answers if isinstance(answers, List) else List(answers, timing=timing)
    return asyncio.run(asyncio.wait_for(polling.find_job(listed, provider, of or row(), taken), 10))  # type: ignore[arg-type]


def test_a_job_may_arrive_as_late_as_its_order_may_take():
    nothing = [[]] * 5
    listed = List(*nothing, [item()])  # the order is on its way for longer than `settle`
    assert find(listed, row(seconds_ago=0.15)) == "j1"
    assert Timing().until_listed == 105.0


def test_a_clock_that_was_set_back_does_not_hold_the_search_for_ever():
    assert find([], row(seconds_ago=-3600.0)) is None


def test_a_clock_that_was_set_back_hides_no_job():
    assert find([{**item(), "createdAt": time.time()}], row(seconds_ago=-3600.0)) == "j1"


def test_a_whole_number_is_the_same_however_it_is_written():
    assert find([item(loras=[{"path": "a/b", "scale": 1}], seed=7.0)]) == "j1"
    assert digest_of({"a": [1.0, 0.5]}) == digest_of({"a": [1, 0.5]})
    assert digest_of(True) != digest_of(1)


def test_a_job_that_the_provider_may_have_rewritten_is_a_doubt():
    with pytest.raises(UnclearError, match="does not tell which one it is"):
        find([item(image="https://elsewhere.example/a.png")])


@pytest.mark.parametrize("other", [{"prompt": "A dog."}, {"seed": 8}])
def test_a_job_of_another_prompt_or_seed_is_none(other):
    assert find([item(**other)]) is None


def test_a_job_of_another_row_is_neither_taken_nor_a_doubt():
    assert find([item("theirs"), item("mine")], taken={"theirs"}) == "mine"
    assert find([item("theirs", image="https://elsewhere.example/a.png")], taken={"theirs"}) is None


@pytest.mark.parametrize("name", ["created_at", "createdAt"])
def test_an_earlier_job_of_the_same_inputs_is_not_taken(name):
    of = row()
    assert find([{**item(), name: of.posted - 301}], of) is None
    assert find([{**item(), name: of.posted - 200}], of) == "j1"
    assert find([{**item(), name: "2025-01-02T03:04:05.678Z"}], of) is None


def test_the_newest_of_several_is_taken():
    of = row()
    assert find([{**item(each), "createdAt": int(of.posted) + when} for each, when in (("a", 1), ("b", 9))], of) == "b"


@pytest.mark.parametrize("data", [{"code": 500, "message": "internal", "data": []}, {"data": "?"}, None])
def test_a_list_that_is_none_is_not_taken_for_an_empty_one(data):
    with pytest.raises(UnclearError, match="cannot be read now"):
        find(List(Reply(200, data)))


def test_null_is_an_empty_list():
    assert find(List(Reply(200, {"code": 200, "data": {"items": None, "total": 0}})), provider=ATLASCLOUD) is None


@pytest.mark.parametrize("listed", [{"inputs": INPUTS}, {"id": None, "inputs": INPUTS}, {"id": "j2"}, "j2"])
def test_an_item_that_cannot_be_read_is_a_doubt(listed):
    with pytest.raises(UnclearError, match="does not tell which one it is"):
        find([listed])


FULL = [item(str(number), prompt="A dog.") for number in range(PAGE)]
BY_POST = {"page_size": 20, "model": "m", "include_inputs": True}


@pytest.mark.parametrize(
    ("provider", "pages"),
    [
        (WAVESPEED, [{**BY_POST, "page": page} for page in (1, 2)]),
        (ATLASCLOUD, [{"no": page, "size": "20", "model": "m"} for page in ("1", "2")]),
    ],
)
def test_a_full_page_leads_to_the_next_and_a_shorter_one_ends_the_search(provider, pages):
    listed = List(FULL, [item()], FULL)
    assert find(listed, provider=provider) == "j1"
    assert listed.asked == pages
    listed = List(FULL, FULL[1:], [item()])
    assert find(listed, provider=provider) is None
    assert listed.asked == pages


def test_a_list_without_an_end_is_a_doubt():
    with pytest.raises(UnclearError, match="does not tell which one it is"):
        find(FULL)
