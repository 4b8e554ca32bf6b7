"""A study on loopback servers that keep ComfyUI's contract: each job once, whatever breaks, and paid once."""

import io
import json
import os
import re
import sqlite3
import subprocess
import threading
import time

import pytest
from pack.client import follow, server
from pack.client.batch import command, desk, outcome, plan, runner, study, table
from pack.client.batch.board import Pace, Quiet
from pack.client.batch.engine import Found, Rules
from pack.client.batch.table import Result
from pack.client.errors import (
    CeilingError,
    RefusedError,
    RunError,
    UnreachableError,
    UsageError,
)
from pack.hosted import errors
from pack.tests.toy import comfies
from pack.tests.toy.comfies import Comfies, Comfy, Faults
from pack.tests.toy.studies import arguments, check_all_done, rows, run, servers, states, write
from rich.console import Console

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None

HOSTED = 'graphs = ["hosted.json"]\n'


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Nothing is waited for longer than it takes on this machine."""
    monkeypatch.setattr(server, "PAUSES", (0.01,))
    monkeypatch.setattr(server, "UNSURE_SECONDS", 0.5)
    monkeypatch.setattr(follow, "SILENCE", 0.2)
    monkeypatch.setattr(follow, "POLL", 0.05)
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.05)


@pytest.fixture
def two():
    with Comfies(Comfy(), Comfy()) as both:
        yield both


def wait_until(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        comfy.faults = Faults(restarts=0.2)
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
    two.comfies[0].hold = True
    threads = [threading.Thread(target=gone_soon, args=(two.comfies[0],))]
    threads[0].start()
    said = run(path, out, servers(two.addresses, patience=0.3), patience=0.3)
    threads[0].join()
    check_all_done(out, 10)
    assert set(two.made().values()) == {1}
    assert {row["server"] for row in rows(out)} == {two.addresses[1]}
    assert f"No ComfyUI answers at {two.addresses[0]}" in said


def gone_soon(comfy, jobs=1):
    wait_until(lambda: comfy.running is not None and comfy.posted.total() >= jobs)
    comfy.down = True


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
    assert "'1.png' is neither" in rows(out)[-1]["error"]
    assert str(tmp_path) not in json.dumps(rows(out))


def gone_meanwhile(comfies, picture):
    """The first picture's jobs are at work, the second one's are to come."""
    wait_until(lambda: all(comfy.running for comfy in comfies.comfies))
    picture.unlink()
    for comfy in comfies.comfies:
        comfy.hold = False


def run_again(path, out, comfies, tries, refused=False):
    """As the command does with --tries."""
    text = path.read_text(encoding="utf-8")
    path.write_text(f"tries = {tries}\n{text}", encoding="utf-8")
    run(path, out, servers(comfies.addresses), refused, tries=tries)


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


def test_hosted_jobs_are_paid_once_and_counted(two, tmp_path):
    path, out = write(tmp_path, 6, HOSTED), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(unanswered=0.1)
    run(path, out, servers(two.addresses))
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
    first.hold = True
    thread = threading.Thread(target=gone_soon, args=(first, 2))
    thread.start()
    with pytest.raises(UnreachableError):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    thread.join()
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


@pytest.mark.parametrize(("cached", "said", "usd"), [([], [0.1], 0.1), (["7"], [0.1], 0.0), ([], [], None)])
def test_what_a_job_cost_is_what_the_nodes_that_ran_say(cached, said, usd):
    status = {"messages": [["execution_cached", {"nodes": cached}]]}
    assert outcome.cost(comfies.HOSTED, {"outputs": {"7": {"usd": said}}, "status": status}) == usd
    assert outcome.cost(comfies.PROMPT, {"outputs": {}, "status": status}) == 0.0


def test_what_one_of_two_hosted_nodes_does_not_say_is_not_known():
    """The second one's provider names no price: the first one's alone would be too little."""
    two = {**comfies.HOSTED, "8": comfies.HOSTED["7"]}
    cases = ({"text": ["Paid."]}, None), ({"usd": [0.2]}, pytest.approx(0.3)), ({"usd": [float("nan")]}, None)
    for told, usd in cases:
        assert outcome.cost(two, {"outputs": {"7": {"usd": [0.1]}, "8": told}, "status": {}}) == usd


def test_numbers_of_several_nodes_are_told_apart():
    told = {"9": {"numbers": [{"motion": 1.5}]}, "12": {"numbers": [{"motion": 2.5, "verdict": "no number"}]}, "13": {}}
    assert outcome.numbers({"outputs": told}) == {"9.motion": 1.5, "12.motion": 2.5}
    del told["12"]
    assert outcome.numbers({"outputs": told}) == {"motion": 1.5}


@pytest.mark.skipif(os.name == "nt", reason="Windows does not say when a file was changed, but by its own word")
def test_a_picture_in_whose_place_another_of_its_size_and_time_is_copied_is_another(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    there = path.stat()
    with command.opened(tmp_path / "out") as opened:
        first = opened.digest_of(path)
        path.write_bytes(b"two")
        while path.stat().st_ctime_ns == there.st_ctime_ns:  # the clock of files is a coarse one
            os.utime(path)
        os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
        assert opened.digest_of(path) != first


def test_a_ceiling_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"'max_usd' must be a sum of US dollars, got 'nan'"):
        command.batch(write(tmp_path, 2), max_usd=float("nan"))


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


def test_what_nobody_names_a_price_for_is_refused_where_there_is_a_ceiling(two, tmp_path):
    path, out = write(tmp_path, 2, f'max_usd = 5\n{HOSTED}[settings]\nmodel = "Toy: unpriced"\n'), tmp_path / "out"
    with pytest.raises(RefusedError, match=r"2 jobs were refused"):
        run(path, out, servers(two.addresses))
    assert two.made().total() == 0
    assert rows(out)[0]["error"] == "Nobody names the price of this clip, and the study has a ceiling."


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


def test_what_may_be_paid_at_a_server_goes_to_no_other(two, tmp_path):
    path, out = write(tmp_path, 2, HOSTED), tmp_path / "out"
    first, second = two.comfies
    first.hold = True
    threads = [threading.Thread(target=gone_soon, args=(first,))]
    threads[0].start()
    with pytest.raises(UnreachableError, match=r"2 jobs are left"):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    threads[0].join()
    with pytest.raises(UnreachableError, match=rf"2 jobs were ordered at {first.address}, which is not named now"):
        run(path, out, servers([second.address]))
    assert second.posted.total() == 0
    first.down = first.hold = False
    run(path, out, servers([second.address, first.address]))
    check_all_done(out, 2)
    assert set(two.made().values()) == {1}
    assert first.posted.total() == 2


def with_room_for(size, command):
    """Runs a command that can write no file of more bytes, as on a disk that is full."""
    return ended(command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


@pytest.mark.slow
@pytest.mark.skipif(resource is None, reason="needs a system that limits the size of files")
def test_a_full_disk_stops_the_study_and_the_same_command_fetches_what_was_made(two, tmp_path):
    path, out = write(tmp_path, 4), tmp_path / "out"
    for comfy in two.comfies:
        comfy.size = 2_000_000
    stopped = with_room_for(1_000_000, arguments(path, out, two.addresses))
    assert stopped.returncode == 7
    assert "The clip could not be written: File too large." in stopped.stderr
    assert "Make room, and run the same command again: it fetches this clip and goes on." in stopped.stderr
    assert states(out).get("done", 0) == 0
    assert list((out / "clips").glob("*.mp4")) == []
    wait_until(lambda: two.made().total() == sum(comfy.posted.total() for comfy in two.comfies))
    run(path, out, servers(two.addresses))
    check_all_done(out, 4)
    assert set(two.made().values()) == {1}


@pytest.mark.slow
@pytest.mark.skipif(resource is None, reason="needs a system that limits the size of files")
def test_a_table_that_finds_no_room_is_a_sentence(two, tmp_path):
    path, out = write(tmp_path, 200), tmp_path / "out"
    stopped = with_room_for(50_000, arguments(path, out, two.addresses))
    assert stopped.returncode == 7
    assert re.search(r"The table of the study in out cannot be written \(.+\)\. Make room on that disk", stopped.stderr)
    assert two.made().total() == 0
    run(path, out, servers(two.addresses))
    check_all_done(out, 200)


def test_one_process_at_a_time_works_in_a_folder(two, tmp_path):
    path, out = write(tmp_path, 2), tmp_path / "out"
    held = table.Table(out)
    with pytest.raises(UsageError, match=r"Another batch works in out\. Wait for its end, or use another folder\."):
        run(path, out, servers(two.addresses))
    held.close()
    run(path, out, servers(two.addresses))


@pytest.mark.parametrize("content", [b"no table at all", None])
def test_a_file_that_is_no_table_is_left_alone(two, tmp_path, content):
    path, out = write(tmp_path, 2), tmp_path / "out"
    out.mkdir()
    if content is None:
        with sqlite3.connect(out / table.FILE) as other:
            other.execute("PRAGMA user_version = 99")
        other.close()
        content = (out / table.FILE).read_bytes()
    else:
        (out / table.FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"is no table of a study|was made by a newer version"):
        run(path, out, servers(two.addresses))
    assert (out / table.FILE).read_bytes() == content


def test_the_same_server_twice_is_refused(two):
    with pytest.raises(UsageError, match=r"The same server is named twice\."):
        servers([two.addresses[0], two.addresses[0] + "/"])


def ended(arguments, **more):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, **more)


@pytest.mark.slow
def test_the_command_says_what_it_will_do_and_does_it(two, tmp_path):
    path, out = write(tmp_path, 4, f"max_usd = 3\n{HOSTED}"), tmp_path / "out"
    dry = ended(arguments(path, out, two.addresses, "--dry-run"))
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout == (
        "study: 4 jobs, 0 done, 4 left.\n    4 x hosted: not timed yet\nTime: not known before a job was timed.\n"
        "Cost: $0.40 for 4 hosted clips. The study's ceiling is $3.00.\n"
    )
    assert not out.exists()
    done = ended(arguments(path, out, two.addresses, "--csv"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'study.sqlite'}\n{out / 'study.csv'}\n{out / 'report.html'}\n"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<video ") == 4
    assert "ComfyUI: 0.30.0; Python: 3.11.2; PyTorch: 2.13.0; device 0: a card" in page
    assert page.count('src="data:image/jpeg;base64,') == 4  # the pictures, small
    assert str(tmp_path) not in page
    assert "4/4  " in done.stderr
    lines = (out / "study.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert "settings.seed" in lines[0]
    again = ended(arguments(path, out, two.addresses, "--dry-run"))
    assert "4 jobs, 4 done, 0 left." in again.stdout
    assert two.made().total() == 4


@pytest.mark.slow
def test_without_parquets_package_it_is_named(two, tmp_path):
    done = ended(arguments(write(tmp_path, 2), tmp_path / "out", two.addresses, "--parquet"))
    has = ended([arguments(tmp_path, tmp_path, [])[0], "-c", "import pyarrow"]).returncode == 0
    assert (done.returncode, (tmp_path / "out" / "study.parquet").exists()) == ((0, True) if has else (2, False))
    assert has or "--parquet needs the package pyarrow. Run: pip install pyarrow" in done.stderr


def test_clips_go_to_any_address_instead(two, tmp_path):
    path, out, away = write(tmp_path, 4), tmp_path / "out", tmp_path / "away 小"
    run(path, out, servers(two.addresses), target=away.as_uri().replace("%20", " "))
    assert states(out) == {"done": 4}
    clips = [json.loads(row["clips"])[0] for row in rows(out)]
    assert all(clip.startswith("file://") for clip in clips)
    assert len(list(away.iterdir() if away.is_dir() else [])) + len(list(tmp_path.glob("away %*/*"))) == 4
    assert list((out / "clips").iterdir()) == []


def test_an_address_that_nobody_speaks_to_is_a_sentence(two, tmp_path):
    path, out = write(tmp_path, 2), tmp_path / "out"
    with pytest.raises(UsageError, match=r"^Clips cannot be sent to nosuch://\.\.\.: ") as error:
        run(path, out, servers(two.addresses), target="nosuch://user:secret@host/folder")
    assert "secret" not in str(error.value)
    assert sum(comfy.posted.total() for comfy in two.comfies) == 0
