"""A dry run tells what a run with the same options would do, in jobs and dollars, and leaves everything as it is."""

import json
import sqlite3
from contextlib import closing

import pytest
from pack.client import address
from pack.client.batch import command, study
from pack.client.batch.estimate import estimate
from pack.client.batch.folder import opened
from pack.client.batch.prepare import prepared
from pack.client.batch.servers import Servers
from pack.client.batch.table import COLUMNS, FILE, Table
from pack.client.errors import CeilingError, RefusedError, RunError, UnreachableError, UsageError
from pack.tests.toy.one_comfy import Faults
from pack.tests.toy.studies import forgetting, going_away, rows, run, servers, write

HOSTED = 'graphs = ["hosted.json"]\n'


@pytest.fixture
def dry(capsys):
    """Makes a dry run, and returns what it says."""

    def told(path, out, addresses, **options):
        before = all_of(out)
        command.batch(path, server=addresses, output=out, dry_run=True, **options)
        assert all_of(out) == before
        return capsys.readouterr().out

    return told


def all_of(folder):
    """What is in a folder, to the byte."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def without_first_clip(path, out, two):
    """Runs a study, and removes the clip of its first job."""
    run(path, out, servers(two.addresses))
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()


@pytest.mark.slow
def test_a_clip_that_is_gone_is_left_where_it_is_to_be_got_again(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    without_first_clip(path, out, two)
    said = dry(path, out, two.addresses)
    assert (
        "study: 4 jobs, 4 done, 0 left.\n1 jobs are done whose clips are no longer in the folder. --missing gets"
        in said
    )
    said = dry(path, out, two.addresses, missing=True)
    assert "study: 4 jobs, 3 done, 1 left.\nOf these, 1 have clips that are no longer in the folder." in said
    assert "1 x hosted: " in said
    assert "Cost: $0.00 for 0 hosted clips. Up to $0.10 more for 1, if their clips are gone from where" in said
    for comfy in two.comfies:
        two.call(forgetting(comfy))
    run(path, out, servers(two.addresses), missing=True)
    assert two.made().total() == 5


def test_what_failed_or_was_refused_is_left_only_if_it_is_tried_again(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0)
    with pytest.raises(RunError):
        run(path, out, servers(two.addresses))
    assert "4 jobs, 0 done, 4 failed, 0 left.\n" in dry(path, out, two.addresses)
    said = dry(path, out, two.addresses, tries=2)
    assert "4 jobs, 0 done, 4 left.\n" in said
    assert "Cost: $0.40 for 4 hosted clips. Of that, $0.40 may be paid already, by tries that failed." in said


def test_what_was_refused_is_left_only_on_request(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(RefusedError):
        run(path, out, servers(two.addresses))
    assert "4 jobs, 2 done, 2 refused, 0 left.\n" in dry(path, out, two.addresses)
    said = dry(path, out, two.addresses, refused=True)
    assert "4 jobs, 2 done, 2 left.\n" in said
    assert "Cost: $0.20 for 2 hosted clips." in said


@pytest.mark.slow
def test_what_was_ordered_is_not_ordered_again(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    first, second = two.comfies
    with going_away(first, 2), pytest.raises(UnreachableError):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    said = dry(path, out, two.addresses[::-1])
    assert "4 jobs, 0 done, 4 left.\n" in said
    assert "Cost: $0.20 for 2 hosted clips. Beside these, 2 are ordered already, for $0.20." in said
    said = dry(path, out, [second.address])
    assert "Cost: $0.20 for 2 hosted clips." in said
    assert f"2 of the jobs that are left were ordered at {first.address}, and wait for it to be named." in said
    first.down = first.hold = False
    run(path, out, servers(two.addresses))
    assert two.made().total() == 4


def test_what_nobody_names_a_price_for_would_be_refused_by_a_ceiling(two, tmp_path, dry):
    path, out = write(tmp_path, 2, f'{HOSTED}[settings]\nmodel = "Toy: unpriced"\n'), tmp_path / "out"
    said = "Cost: $0.00 for 0 hosted clips. Of 2 more nobody names the price."
    assert dry(path, out, two.addresses).splitlines()[-1] == said
    said += " They would be refused, as the study has a ceiling. The study's ceiling is $5.00."
    assert dry(path, out, two.addresses, max_usd=5).splitlines()[-1] == said
    assert not out.exists()


@pytest.mark.parametrize("limit", [0.35, 0.0, 5.0])
def test_the_ceiling_stops_as_many_jobs_as_it_would_in_a_run(limit, two, tmp_path, dry):
    path, out = write(tmp_path, 6, HOSTED), tmp_path / "out"
    without_first_clip(path, out, two)  # 6 jobs for $0.60
    path = write(tmp_path, 14, f"max_usd = {0.6 + limit}\n{HOSTED}")
    said = dry(path, out, two.addresses)
    fits = min(8, int(limit / 0.1))
    assert f"Cost: ${fits / 10:.2f} for {fits} hosted clips." in said
    assert f"ceiling is ${0.6 + limit:.2f}, of which $0.60 are spent or ordered." in said
    assert ("jobs would pass it" in said) == (fits < 8)
    if fits < 8:
        assert f" {8 - fits} jobs would pass it, and are left." in said
        with pytest.raises(CeilingError):
            run(path, out, servers(two.addresses))
    else:
        run(path, out, servers(two.addresses))
    assert two.made().total() == 6 + fits


def test_the_folder_of_an_earlier_version_stays_as_it_is(two, tmp_path, dry):
    path, out = write(tmp_path, 2), tmp_path / "out"
    out.mkdir()
    columns = [f"{name} {kind}" for name, kind in COLUMNS.items() if name != "carried"]
    with sqlite3.connect(out / FILE) as older:
        older.execute(f"CREATE TABLE jobs ({', '.join(columns)})")
    older.close()
    assert "study: 2 jobs, 0 done, 2 left." in dry(path, out, two.addresses)  # which compares all of it


def test_a_run_may_begin_while_prices_are_asked(two, tmp_path):
    """A server may be waited for, and whoever begins meanwhile is not refused; nor is who asks while a batch works."""
    path, out = write(tmp_path, 2, HOSTED), tmp_path / "out"
    Table(out).close()

    class Asked(Servers):
        def open(self, place, needs):
            with closing(Table(out)), closing(servers([two.addresses[1]])) as other:
                assert "Cost: $0.20 for" in estimate(study.read(path), out, other)
            return super().open(place, needs)

    with closing(Asked([address.parse(two.addresses[0])], [1], 1.0, print)) as engine:
        assert "Cost: $0.20 for 2 hosted clips." in estimate(study.read(path), out, engine)


def test_what_failed_is_not_told_as_paid_where_it_is_not_sent(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    for comfy in two.comfies:
        comfy.faults = Faults(failing=1.0)
    with pytest.raises(RunError):
        run(path, out, servers(two.addresses))
    said = dry(path, out, two.addresses, tries=2, max_usd=0.1)
    assert "Cost: $0.00 for 0 hosted clips. The study's ceiling is $0.10, of which $0.40 are spent or ordered." in said
    for comfy in two.comfies:
        comfy.lacks = {"prices"}
    said = dry(path, out, two.addresses, tries=2, patience=0.0)
    assert "Cost: $0.00 for 0 hosted clips. Of 4 more nobody names the price. " in said


def test_with_a_cluster_what_was_ordered_elsewhere_waits_for_that(two, tmp_path, dry, monkeypatch):
    """Prices are asked of the servers of this environment, which are no places of the run."""
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    with opened(out) as table:
        prepared(study.read(path), table, refused=False, missing=False)
        for number, server in enumerate([two.addresses[0], "machine 1", "host 1"], 1):
            table.posted(number, server, f"id{number}", 0.1)
    monkeypatch.setenv("WAN22_TURBO_SERVER", two.addresses[0])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    said = dry(path, out, two.addresses[:1], ray="local")
    assert "Beside these, 1 are ordered already, for $0.10." in said
    assert f"2 of the jobs that are left were ordered at {two.addresses[0]}, machine 1, and wait for it" in said
    said = dry(path, out, two.addresses[:1], start=2)
    assert f"2 of the jobs that are left were ordered at {two.addresses[0]}, host 1, and wait for it" in said


def test_what_the_command_would_refuse_a_dry_run_refuses_too(tmp_path, monkeypatch):
    path = write(tmp_path, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError, match=r"^--start 3 needs a GPU for each"):
        command.batch(path, output=tmp_path / "out", start=3, dry_run=True)
