"""Hosted jobs of a study on loopback servers: each is paid once, and all together no more than the ceiling."""

import json

import pytest
from pack.client import address
from pack.client.batch import command, outcome
from pack.client.batch.servers import Servers
from pack.client.errors import CeilingError, RefusedError, UnreachableError, UsageError
from pack.hosted import errors
from pack.tests.toy import comfy_prompts
from pack.tests.toy.one_comfy import Faults
from pack.tests.toy.studies import (
    PATIENCE,
    check_all_done,
    forgetting,
    going_away,
    rows,
    run,
    run_again,
    servers,
    states,
    write,
)

HOSTED = 'graphs = ["hosted.json"]\n'


def test_hosted_jobs_are_paid_once_and_counted(two, tmp_path):
    """Whatever breaks, once a server has said a word: before, it is not worth waiting for."""
    path, out = write(tmp_path, 6, HOSTED), tmp_path / "out"

    class Asked(Servers):
        def open(self, place, needs):
            found = super().open(place, needs)
            two.comfies[two.addresses.index(place)].faults = Faults(unanswered=0.1)
            return found

    run(path, out, Asked([address.parse(each) for each in two.addresses], [2, 2], PATIENCE, print))
    check_all_done(out, 6)
    assert set(two.made().values()) == {1}
    assert [row["usd"] for row in rows(out)] == [0.1] * 6


def test_a_ceiling_is_kept_also_by_many_at_once_and_over_several_runs(two, tmp_path):
    path, out = write(tmp_path, 10, f"max_usd = 0.35\n{HOSTED}"), tmp_path / "out"
    sentence = r"7 jobs are left .+ \$0\.35, of which \$0\.30 are spent or ordered\. Raise max_usd"
    with pytest.raises(CeilingError, match=sentence):
        run(path, out, servers(two.addresses, depth=4))
    assert two.made().total() == 3
    with pytest.raises(CeilingError):
        run(path, out, servers(two.addresses))
    assert two.made().total() == 3
    run(write(tmp_path, 10, f"max_usd = 1\n{HOSTED}"), out, servers(two.addresses))
    check_all_done(out, 10)
    assert set(two.made().values()) == {1}


def test_what_may_be_paid_at_a_server_that_is_away_counts_towards_the_ceiling(two, tmp_path):
    path, out = write(tmp_path, 10, f"max_usd = 0.35\n{HOSTED}"), tmp_path / "out"
    first, second = two.comfies
    with going_away(first, 2), pytest.raises(UnreachableError):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    assert first.posted.total() == 2
    with pytest.raises(CeilingError, match=r"of which \$0\.30 are spent or ordered"):
        run(path, out, servers(two.addresses, patience=0.2), patience=0.2)
    assert second.made.total() == 1
    first.down = first.hold = False
    with pytest.raises(CeilingError, match=r"7 jobs are left"):
        run(path, out, servers(two.addresses))
    assert two.made().total() == 3
    assert [row["usd"] for row in rows(out) if row["state"] == "done"] == [0.1] * 3


def test_a_job_that_failed_may_be_paid_and_counts_towards_the_ceiling(two, tmp_path):
    path, out = write(tmp_path, 10, f"max_usd = 0.35\n{HOSTED}"), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0)
    with pytest.raises(CeilingError, match=r"7 jobs are left"):
        run(path, out, servers(two.addresses))
    assert sum(comfy.posted.total() for comfy in two.comfies) == 3
    with pytest.raises(CeilingError, match=r"7 jobs are left"):  # whatever failed, the ledger there knows what is paid
        run_again(path, out, two, tries=2)
    assert states(out) == {"failed": 3, "open": 7}
    assert sum(comfy.posted.total() for comfy in two.comfies) == 6


@pytest.mark.parametrize("name", ["JobFailedError", "ModeratedError", "JobGoneError"])
def test_every_try_of_a_job_that_the_provider_gave_up_may_be_paid(name, two, tmp_path):
    """Such a try is a job of its own there. With a clip at last, its price is that of the clip alone."""
    path, out = write(tmp_path, 2, f"max_usd = 0.55\n{HOSTED}"), tmp_path / "out"
    assert getattr(errors, name)  # it is one of the pack's own
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0, kind=f"/srv/comfyui/custom_nodes/wan22-turbo.hosted.errors.{name}")
    with pytest.raises(CeilingError, match=r"1 jobs are left .+ \$0\.55, of which \$0\.50 are spent or ordered"):
        run(path, out, servers(two.addresses), tries=3)
    assert sum(comfy.posted.total() for comfy in two.comfies) == 5
    assert sorted((row["state"], row["tries"], row["usd"]) for row in rows(out)) == [
        ("failed", 3, None),
        ("open", 2, None),
    ]
    assert sum(row["failed_usd"] for row in rows(out)) == pytest.approx(0.5)
    for comfy in two.comfies:
        comfy.faults = Faults()
    with pytest.raises(CeilingError, match=r"2 jobs are left"):  # a later run knows it
        run_again(path, out, two, tries=4)
    run_again(write(tmp_path, 2, f"max_usd = 0.7\n{HOSTED}"), out, two, tries=4)
    check_all_done(out, 2)
    assert [row["usd"] for row in rows(out)] == [0.1, 0.1]
    assert sum(row["failed_usd"] for row in rows(out)) == pytest.approx(0.5)


def test_a_clip_that_was_paid_and_is_ordered_again_is_counted_twice(two, tmp_path):
    """Nobody knows whether the provider still has it. If the ledger finds it there, the count is too high at most."""
    path, out = write(tmp_path, 2, f"max_usd = 0.25\n{HOSTED}"), tmp_path / "out"
    run(path, out, servers(two.addresses))
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()
    run(path, out, servers(two.addresses), missing=True)  # fetched, so it cost nothing
    assert [(row["usd"], row["failed_usd"]) for row in rows(out)] == [(0.1, 0.0)] * 2
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()
    for comfy in two.comfies:
        two.call(forgetting(comfy))
    with pytest.raises(CeilingError, match=r"1 jobs are left .+ \$0\.25, of which \$0\.20 are spent or ordered"):
        run(path, out, servers(two.addresses), missing=True)
    assert two.made().total() == 2
    run(write(tmp_path, 2, f"max_usd = 0.3\n{HOSTED}"), out, servers(two.addresses))
    check_all_done(out, 2)
    assert two.made().total() == 3
    assert [(row["usd"], row["failed_usd"]) for row in rows(out)] == [(0.1, 0.1), (0.1, 0.0)]


def test_a_job_that_nobody_took_costs_nothing_and_may_go_elsewhere_later(two, tmp_path):
    path, out = write(tmp_path, 4, f"max_usd = 0.2\n{HOSTED}"), tmp_path / "out"
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(path, out, servers([two.addresses[0]], depth=1))
    assert [(row["state"], row["usd"], row["server"]) for row in rows(out)][:2] == [("refused", None, None)] * 2
    assert states(out) == {"refused": 2, "done": 2}
    (tmp_path / "0.png").write_bytes(whole)
    run(write(tmp_path, 4, f"max_usd = 1\n{HOSTED}"), out, servers([two.addresses[1]]), refused=True)
    assert two.comfies[1].made.total() == 2


def test_a_server_whose_address_holds_a_token_tells_prices_too(two, tmp_path):
    path, out = write(tmp_path, 4, f"max_usd = 0.25\n{HOSTED}"), tmp_path / "out"
    with pytest.raises(CeilingError, match=r"2 jobs are left"):
        run(path, out, servers([f"{two.addresses[0]}?token=abc&token=d%20e"]))
    assert states(out) == {"done": 2, "open": 2}


def test_a_clip_that_was_paid_in_a_try_that_failed_later_is_counted(two, tmp_path):
    """The next try finds the hosted node's clip in ComfyUI's memory, which costs nothing: the first one paid it."""
    path, out = write(tmp_path, 4, f"max_usd = 0.25\n{HOSTED}"), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0, last=True)
    with pytest.raises(CeilingError):
        run(path, out, servers(two.addresses))
    for comfy in two.comfies:
        comfy.faults = Faults()
    with pytest.raises(CeilingError, match=r"2 jobs are left .+ \$0\.25, of which \$0\.20 are spent or ordered"):
        run_again(path, out, two, tries=2)
    assert [row["usd"] for row in rows(out) if row["state"] == "done"] == [0.1, 0.1]


@pytest.mark.parametrize(("cached", "said", "usd"), [([], [0.1], 0.1), (["7"], [0.1], 0.0), ([], [], None)])
def test_what_a_job_cost_is_what_the_nodes_that_ran_say(cached, said, usd):
    status = {"messages": [["execution_cached", {"nodes": cached}]]}
    assert outcome.cost(comfy_prompts.HOSTED, {"outputs": {"7": {"usd": said}}, "status": status}) == usd
    assert outcome.cost(comfy_prompts.PROMPT, {"outputs": {}, "status": status}) == 0.0


@pytest.mark.parametrize("said", [[-0.5], [0.1, -0.5], ["0.1"], [None], [True], [1e40]])
def test_what_can_be_no_sum_that_was_paid_is_not_counted_as_one(said):
    """Else it would be taken off what the others cost."""
    assert outcome.cost(comfy_prompts.HOSTED, {"outputs": {"7": {"usd": said}}}) is None


def test_a_price_below_nothing_is_none(two, tmp_path, monkeypatch):
    monkeypatch.setitem(comfy_prompts.PRICES, "480p", -1.0)
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(write(tmp_path, 2, f"max_usd = 5\n{HOSTED}"), tmp_path / "out", servers(two.addresses))
    assert two.made().total() == 0


def test_a_ceiling_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"'max_usd' must be a sum of US dollars, got 'nan'"):
        command.batch(write(tmp_path, 2), max_usd=float("nan"))


def test_what_nobody_names_a_price_for_is_refused_where_there_is_a_ceiling(two, tmp_path):
    path, out = write(tmp_path, 2, f'max_usd = 5\n{HOSTED}[settings]\nmodel = "Toy: unpriced"\n'), tmp_path / "out"
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(path, out, servers(two.addresses))
    assert two.made().total() == 0
    assert rows(out)[0]["error"] == "Nobody names the price of this clip, and the study has a ceiling."


def test_a_server_whose_pack_tells_no_prices_orders_nothing_and_is_told(two, tmp_path):
    path, out = write(tmp_path, 2, HOSTED), tmp_path / "out"
    first, second = two.comfies
    first.lacks = {"prices"}
    with pytest.raises(
        UnreachableError, match=rf"{first.address} does not tell what hosted clips cost: .+ another ver"
    ):
        run(path, out, servers([first.address], patience=0.1), patience=0.1)
    assert first.posted.total() == 0
    run(path, out, servers([second.address]))
    check_all_done(out, 2)


def test_what_may_be_paid_at_a_server_goes_to_no_other(two, tmp_path):
    path, out = write(tmp_path, 2, HOSTED), tmp_path / "out"
    first, second = two.comfies
    with going_away(first), pytest.raises(UnreachableError, match=r"2 jobs are left"):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    with pytest.raises(UnreachableError, match=rf"2 jobs were ordered at {first.address}, which is not named now"):
        run(path, out, servers([second.address]))
    assert second.posted.total() == 0
    first.down = first.hold = False
    run(path, out, servers([second.address, first.address]))
    check_all_done(out, 2)
    assert set(two.made().values()) == {1}
    assert first.posted.total() == 2


def test_what_one_of_two_hosted_nodes_does_not_say_is_not_known():
    """The second one's provider names no price: the first one's alone would be too little."""
    two = {**comfy_prompts.HOSTED, "8": comfy_prompts.HOSTED["7"]}
    cases = ({"text": ["Paid."]}, None), ({"usd": [0.2]}, pytest.approx(0.3)), ({"usd": [float("nan")]}, None)
    for told, usd in cases:
        assert outcome.cost(two, {"outputs": {"7": {"usd": [0.1]}, "8": told}, "status": {}}) == usd


def test_numbers_of_several_nodes_are_told_apart():
    told = {"9": {"numbers": [{"motion": 1.5}]}, "12": {"numbers": [{"motion": 2.5, "verdict": "no number"}]}, "13": {}}
    assert outcome.numbers({"outputs": told}) == {"9.motion": 1.5, "12.motion": 2.5}
    del told["12"]
    assert outcome.numbers({"outputs": told}) == {"motion": 1.5}
