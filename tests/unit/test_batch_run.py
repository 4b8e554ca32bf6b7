"""A study on loopback servers that keep ComfyUI's contract: each job once, whatever breaks."""

import io
import json
import subprocess
import threading

import pytest
from pack.client.batch import command, desk, plan, study
from pack.client.batch.board import Pace, Quiet
from pack.client.batch.engine import Found, Rules
from pack.client.batch.table import Result
from pack.client.errors import RefusedError, RunError, UnreachableError, UsageError
from pack.tests.toy.one_comfy import Faults
from pack.tests.toy.studies import (
    arguments,
    check_all_done,
    going_away,
    rows,
    run,
    run_again,
    servers,
    states,
    wait_until,
    write,
)
from rich.console import Console


def test_every_job_is_done_once_on_all_servers_none_of_which_has_more_than_its_depth(two, tmp_path):
    path, out = write(tmp_path, 20), tmp_path / "out"
    for comfy in two.comfies:
        comfy.seconds = (0.02, 0.04)
    run(path, out, servers(two.addresses, depth=2))
    check_all_done(out, 20)
    assert set(two.made().values()) == {1}
    assert all(comfy.made and comfy.deepest <= 2 for comfy in two.comfies)
    # On a busy machine a job may be over before the client hears of its stage.
    stages = [list(json.loads(row["stages"])) for row in rows(out) if row["stages"]]
    assert stages
    assert all(each == ["Sampler"] for each in stages)
    row = rows(out)[0]
    assert row["server"] in two.addresses
    assert row["seconds"] > 0
    assert json.loads(row["numbers"]) == {"sharpness": 1.5}
    assert (row["picture"], row["seed"], row["variant"], row["tries"]) == ("0.png", 0, "own", 0)
    run(path, out, servers(two.addresses))  # again: nothing is left to do
    assert two.made().total() == 20


def test_jobs_are_added_to_a_study_and_taken_from_it_without_doing_the_others_again(two, tmp_path):
    out = tmp_path / "out"
    run(write(tmp_path, 4), out, servers(two.addresses))
    run(write(tmp_path, 8), out, servers(two.addresses))
    check_all_done(out, 8)
    assert set(two.made().values()) == {1}
    run(write(tmp_path, 2), out, servers(two.addresses))
    assert sum(row["wanted"] for row in rows(out)) == 2
    assert two.made().total() == 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_broken_connections_and_answers_of_others_cost_no_job_and_do_none_twice(two, tmp_path, seed):
    path, out = write(tmp_path, 20), tmp_path / "out"
    for number, comfy in enumerate(two.comfies):
        comfy.chance.seed(10 * seed + number)
        comfy.faults = Faults(unheard=0.1, unanswered=0.05, between=0.1)
    run(path, out, servers(two.addresses))
    check_all_done(out, 20)
    assert set(two.made().values()) == {1}


def test_a_server_that_starts_again_has_lost_its_jobs_and_they_are_done_all_the_same(two, tmp_path):
    path, out = write(tmp_path, 20), tmp_path / "out"
    for number, comfy in enumerate(two.comfies):
        comfy.chance.seed(number)
        comfy.faults = Faults(restarts=0.4)
    run(path, out, servers(two.addresses))
    check_all_done(out, 20)
    assert two.made().total() >= 20
    assert sum(row["lost"] for row in rows(out)) > 0


def test_a_job_that_is_lost_again_and_again_is_taken_for_the_reason(two, tmp_path, monkeypatch):
    monkeypatch.setattr(desk, "MOST_LOST", 3)
    path, out = write(tmp_path, 2), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(restarts=1.0)
    with pytest.raises(RunError, match=r"2 jobs failed"):
        run(path, out, servers(two.addresses))
    assert all("This was the 3th time, so the job may be the reason." in row["error"] for row in rows(out))


def test_the_others_take_the_jobs_of_a_server_that_is_gone(two, tmp_path):
    path, out = write(tmp_path, 10), tmp_path / "out"
    with going_away(two.comfies[0]):
        said = run(path, out, servers(two.addresses, patience=0.3), patience=0.3)
    check_all_done(out, 10)
    assert set(two.made().values()) == {1}
    assert {row["server"] for row in rows(out)} == {two.addresses[1]}
    assert f"No ComfyUI answers at {two.addresses[0]}" in said


def test_where_all_servers_are_gone_it_is_said_and_the_same_command_goes_on(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    for comfy in two.comfies:
        comfy.down = True
    with pytest.raises(UnreachableError, match=r"(?s)4 jobs are left\..*The same command goes on"):
        run(path, out, servers(two.addresses, patience=0.1), patience=0.1)
    for comfy in two.comfies:
        comfy.down = False
    run(path, out, servers(two.addresses))
    check_all_done(out, 4)


def test_failed_jobs_are_tried_as_often_as_asked_and_told_apart_from_refused_ones(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    (tmp_path / "1.png").write_bytes(b"no picture")
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0)
    with pytest.raises(RunError, match=r"2 jobs failed\."):
        run(path, out, servers(two.addresses), tries=3)
    assert [(row["state"], row["tries"]) for row in rows(out)] == [("failed", 3)] * 2 + [("refused", 0)] * 2
    assert sum(comfy.posted.total() for comfy in two.comfies) == 6
    assert "Sampler failed: Out of luck." in rows(out)[0]["error"]
    assert "1.png is no picture that can be read here." in rows(out)[2]["error"]
    for comfy in two.comfies:
        comfy.faults = Faults()
    with pytest.raises(RunError):  # their tries are used up
        run(path, out, servers(two.addresses), tries=3)
    with pytest.raises(RefusedError, match=r"2 jobs were refused\. The table says why; --refused tries them again\."):
        run_again(path, out, two, tries=4)
    assert states(out) == {"done": 2, "refused": 2}


def test_what_a_node_says_names_files_of_the_server_without_their_folders(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    first, second = two.comfies
    first.words = second.words = "No such file: '/home/ada lovelace/models/x.gguf' (/home/ada/y.json, C:\\ada\\z.png)."
    first.faults = Faults(failing=1.0)
    with pytest.raises(RunError):
        run(path, out, servers(two.addresses, depth=1))
    said = {row["server"]: row["error"] or row["texts"] for row in rows(out)}
    assert said == {
        first.address: "Sampler failed: No such file: 'x.gguf' (y.json, z.png).",
        second.address: "Save: No such file: 'x.gguf' (y.json, z.png).",
    }


def test_a_picture_that_is_gone_is_named_without_its_folder(two, tmp_path):
    path, out = write(tmp_path, 6), tmp_path / "out"
    for comfy in two.comfies:
        comfy.hold = True
    thread = threading.Thread(target=gone_meanwhile, args=(two, tmp_path / "1.png"))
    thread.start()
    with pytest.raises(RefusedError, match=r"3 jobs were refused"):
        run(path, out, servers(two.addresses, depth=1))
    thread.join()
    assert [row["state"] for row in rows(out)] == ["done"] * 3 + ["refused"] * 3
    assert "The picture 1.png cannot be read: No such file or directory." in rows(out)[-1]["error"]
    assert str(tmp_path) not in json.dumps(rows(out))


def gone_meanwhile(comfies, picture):
    """The first picture's jobs are at work, the second one's are to come."""
    wait_until(lambda: all(comfy.running for comfy in comfies.comfies))
    picture.unlink()
    for comfy in comfies.comfies:
        comfy.hold = False


def test_a_server_without_the_nodes_or_of_another_version_is_named_and_the_others_go_on(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    two.comfies[0].lacks = {"Sample"}
    said = run(path, out, servers(two.addresses))
    assert f"{two.addresses[0]} cannot do this study: Sampler: the server has no node of the class 'Sample'." in said
    assert "It may have another version of this pack, or none." in said
    assert {row["server"] for row in rows(out)} == {two.addresses[1]}
    path = write(tmp_path, 4, "[settings]\ncrf = 99\n")
    with pytest.raises(RefusedError, match=r"(?s)4 jobs are left\..*crf must be a whole number from 1 to 51, got '99'"):
        run(path, tmp_path / "other", servers([two.addresses[1]]))


@pytest.fixture
def at_desk(tmp_path):
    """Opens the table of a study for two places, none of which has been asked yet."""
    jobs = {job.digest: job for job in plan.jobs(study.read(write(tmp_path, 2)), {}, plan.bytes_digest)}
    with command.opened(tmp_path / "out") as opened:
        opened.plan(jobs.values(), {})
        board = Quiet(Console(file=io.StringIO()))
        made = desk.Desk(opened, {"a": 1, "b": 1}, jobs, Rules(), board)
        board.begin(0, 2, Pace({}, {}), 2)
        with made.change:
            yield made


def test_a_place_that_goes_away_in_a_long_job_is_waited_for_as_long_as_any(at_desk):
    a, b = at_desk.places.values()
    at_desk.went(b, UnreachableError("It never was there."))
    at_desk.came(a, Found({}, {}))
    known = at_desk.take(a)
    a.heard -= 10 * Rules().patience  # the job takes so long
    at_desk.failed(a, known, UnreachableError("It has died, and is started again."))
    at_desk.free(known)
    assert not at_desk.over()
    at_desk.came(a, Found({}, {}))
    assert at_desk.take(a).number == known.number


def test_what_ends_because_the_run_does_is_not_told(at_desk):
    a, b = at_desk.places.values()
    at_desk.went(a, UnreachableError("It does not start."))
    at_desk.closed = True
    at_desk.went(b, UnreachableError("It has been ended."))
    assert at_desk.board.console.file.getvalue() == "It does not start.\n"


def test_a_study_that_is_done_waits_for_no_place_that_starts(at_desk):
    a, _ = at_desk.places.values()
    at_desk.came(a, Found({}, {}))
    for _ in range(2):
        known = at_desk.take(a)
        assert not at_desk.over()
        at_desk.done(a, known, Result((), 0))
        at_desk.free(known)
    assert at_desk.over()


def test_a_server_that_forgets_its_jobs_gets_their_pictures_again(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    comfy = two.comfies[0]
    comfy.chance.seed(1)
    comfy.faults = Faults(restarts=0.5)
    run(path, out, servers([comfy.address], depth=1))
    lost = sum(row["lost"] for row in rows(out))
    assert lost > 1
    assert lost < comfy.uploads <= 2 * (1 + lost)  # after each loss one of the two pictures, or both


@pytest.mark.slow
def test_a_server_that_had_jobs_and_is_away_for_a_moment_keeps_them(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    first, second = two.comfies
    first.hold = True
    process = subprocess.Popen(arguments(path, out, [first.address]), stderr=subprocess.PIPE)
    wait_until(lambda: len(first.posted) == 2)
    process.kill()
    process.communicate()
    first.down, first.hold = True, False
    threads = [threading.Thread(target=back_soon, args=(first, second))]
    threads[0].start()
    run(path, out, servers(two.addresses))
    threads[0].join()
    check_all_done(out, 4)
    assert set(two.made().values()) == {1}
    assert first.made.total() == 2


def back_soon(first, second):
    """The first comes back when the second has done what is left beside its jobs."""
    wait_until(lambda: second.made.total() == 2)
    first.down = False


def test_the_same_server_twice_is_refused(two):
    with pytest.raises(UsageError, match=r"The same server is named twice\."):
        servers([two.addresses[0], two.addresses[0] + "/"])
