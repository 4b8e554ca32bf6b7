"""A job that is sent again, perhaps by another process: what was paid counts once, and its clip is made again."""

import json
import sqlite3
import threading

import pytest
from pack.client import save
from pack.client.batch import desk, runner, table
from pack.client.errors import ClientError, RunError, UnreachableError
from pack.tests.toy import one_comfy
from pack.tests.toy.one_comfy import Faults
from pack.tests.toy.studies import forgetting, going_away, gone_soon, rows, run, run_again, servers, wait_until, write

HOSTED = 'graphs = ["hosted.json"]\n'
SPENT = "wan22-turbo.hosted.errors.JobFailedError"  # the provider gave the job up


def money(out):
    return [(row["usd"], row["failed_usd"]) for row in rows(out)]


def remember(comfies):
    """Lets each server know what its nodes made, as ComfyUI does also where its history is cleared."""
    for comfy in comfies:
        comfy.remembered |= set(comfy.made)


def left_alone(path, out, comfy, **rules):
    """Runs a study whose server is away from its first job on, and makes that when nobody listens any more."""
    with going_away(comfy), pytest.raises(UnreachableError):
        run(path, out, servers([comfy.address], depth=1, patience=0.2), patience=0.2, **rules)
    made = comfy.made.total()
    comfy.hold = False
    wait_until(lambda: comfy.made.total() > made)
    comfy.down = False


@pytest.mark.slow
def test_what_a_server_made_and_forgot_is_counted_by_whoever_sends_it_again(two, tmp_path):
    path, out, comfy = write(tmp_path, 1, HOSTED, pictures=1), tmp_path / "out", two.comfies[0]
    left_alone(path, out, comfy)
    remember([comfy])
    two.call(forgetting(comfy))
    left_alone(path, out, comfy)  # it is sent again, and its node remembered
    run(path, out, servers([comfy.address]))  # and a third process finds it there
    assert comfy.posted.total() == 2
    assert money(out) == [(0.1, 0.0)]


def forgotten_and_back(two, comfy):
    """A server goes away in a job, makes it, and comes back without its history."""
    gone_soon(comfy)
    comfy.hold = False
    wait_until(lambda: comfy.made.total() == 1)
    remember([comfy])
    two.call(forgetting(comfy))
    comfy.down = False


def test_what_a_server_made_and_forgot_within_a_run_is_counted(two, tmp_path):
    path, out, comfy = write(tmp_path, 1, HOSTED, pictures=1), tmp_path / "out", two.comfies[0]
    comfy.hold = True
    thread = threading.Thread(target=forgotten_and_back, args=(two, comfy))
    thread.start()
    run(path, out, servers([comfy.address], patience=0.1))
    thread.join()
    assert (money(out), rows(out)[0]["lost"]) == ([(0.1, 0.0)], 1)


@pytest.mark.slow
def test_a_try_that_finds_what_one_before_paid_counts_it_also_where_another_process_fetches_it(two, tmp_path):
    path, out, comfy = write(tmp_path, 1, HOSTED, pictures=1), tmp_path / "out", two.comfies[0]
    comfy.faults = Faults(failing=1.0, last=True)
    with pytest.raises(RunError):
        run(path, out, servers([comfy.address]))
    comfy.faults = Faults()
    left_alone(write(tmp_path, 1, f"tries = 2\n{HOSTED}", pictures=1), out, comfy, tries=2)
    run(path, out, servers([comfy.address]))
    assert money(out) == [(0.1, 0.0)]


def test_what_was_paid_for_a_clip_that_is_gone_is_not_counted_for_the_next_one_too(two, tmp_path):
    path, out = write(tmp_path, 2, HOSTED), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0, last=True)
    with pytest.raises(RunError):
        run(path, out, servers(two.addresses))
    for comfy in two.comfies:
        comfy.faults = Faults()
    run_again(path, out, two, tries=2)
    assert money(out) == [(0.1, 0.0)] * 2
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()
    for comfy in two.comfies:
        comfy.files.clear()
    run(path, out, servers(two.addresses), missing=True, tries=2)  # whose hosted node is remembered
    assert money(out) == [(0.0, 0.1), (0.1, 0.0)]


def test_what_a_try_paid_whose_job_the_provider_gave_up_is_not_counted_for_the_next_one_too(two, tmp_path):
    """Else a graph's first hosted clip counts twice, where the provider gave up the second one."""
    path, out, comfy = write(tmp_path, 1, HOSTED, pictures=1), tmp_path / "out", two.comfies[0]
    comfy.faults = Faults(failing=1.0, last=True, kind=SPENT)
    with pytest.raises(RunError):
        run(path, out, servers([comfy.address]))
    comfy.faults = Faults()
    run(write(tmp_path, 1, f"tries = 2\n{HOSTED}", pictures=1), out, servers([comfy.address]), tries=2)
    assert money(out) == [(0.0, 0.1)]


OLDER = [  # state, tries, lost, usd, failed_usd, and whether an earlier try may have paid what is remembered
    ("posted", 1, 0, 0.1, 0.0, 1),
    ("posted", 0, 1, 0.1, 0.0, 1),
    ("failed", 1, 0, None, 0.0, 1),  # nobody named a price
    ("open", 1, 0, None, 0.1, 0),  # what it paid is counted already
    ("posted", 0, 0, 0.1, 0.0, 1),  # that version sent it again under the same id, and wrote nothing of that
    ("open", 0, 0, None, 0.0, 0),
]


def test_a_table_of_an_earlier_version_counts_what_an_earlier_try_may_have_paid(tmp_path):
    columns = [f"{name} {kind}" for name, kind in table.COLUMNS.items() if name != "carried"]
    with sqlite3.connect(tmp_path / table.FILE) as older:
        older.execute(f"CREATE TABLE jobs ({', '.join(columns)})")
        for number, row in enumerate(OLDER):
            older.execute(
                "INSERT INTO jobs (digest, variant, graph, picture, prompt, settings, state, tries, lost, usd, "
                "failed_usd) VALUES (?, '', '', '', '', '', ?, ?, ?, ?, ?)", (number, *row[:-1]),
            )  # fmt: skip
    older.close()
    table.Table(tmp_path).close()
    assert [row["carried"] for row in rows(tmp_path)] == [row[-1] for row in OLDER]


@pytest.mark.parametrize("was", ["state = 'open', lost = 1, clips = NULL", "state = 'failed', tries = 1, clips = NULL"])
def test_a_job_that_is_sent_again_saves_its_clip_under_a_name_that_was_not_there_before(was, two, tmp_path):
    """Else ComfyUI, which remembers having saved it, names a file that somebody has deleted, in every run anew."""
    path, out = write(tmp_path, 1, "tries = 2\n", pictures=1), tmp_path / "out"
    graph = json.loads((tmp_path / "own.json").read_text(encoding="utf-8"))
    graph["9"]["inputs"]["filename_prefix"] = "video/a"
    (tmp_path / "own.json").write_text(json.dumps(graph), encoding="utf-8")
    run(path, out, servers(two.addresses[:1]))
    with sqlite3.connect(out / table.FILE) as killed:  # as it was written down before the next was sent
        killed.execute(f"UPDATE jobs SET {was}")
    killed.close()
    run(path, out, servers(two.addresses[:1]), tries=2)
    prefixes = [json.loads(each)[2]["filename_prefix"] for each in two.comfies[0].posted]
    assert prefixes == ["video/a", f"video/a_{rows(out)[0]['prompt_id'][:8]}"]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.slow
def test_a_clip_that_could_not_be_fetched_is_asked_for_again_and_neither_sent_nor_paid_twice(
    missing, two, tmp_path, monkeypatch
):
    monkeypatch.setattr(save, "PAUSE", 0.0)
    monkeypatch.setattr(runner, "LOOK_AGAIN", 0.02)
    path, out, comfy = write(tmp_path, 1, HOSTED, pictures=1), tmp_path / "out", two.comfies[0]
    if missing:
        run(path, out, servers([comfy.address]))
        (out / json.loads(rows(out)[0]["clips"])[0]).unlink()
    real = one_comfy.clip
    monkeypatch.setattr(one_comfy, "clip", lambda *_: b"<html>Too large</html>")
    with pytest.raises(ClientError):
        run(path, out, servers([comfy.address]), missing=missing)
    monkeypatch.setattr(one_comfy, "clip", real)
    assert (rows(out)[0]["state"], rows(out)[0]["lost"]) == ("failed", desk.MOST_LOST)
    remember([comfy])
    run(path, out, servers([comfy.address]), missing=missing)
    assert rows(out)[0]["state"] == "done"
    assert (comfy.posted.total(), comfy.made.total()) == (1, 1)
    assert money(out) == [(0.1, 0.0)]
