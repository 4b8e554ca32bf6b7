"""A dry run tells what a run with the same options would do, in jobs and dollars, and leaves everything as it is."""

import json
import threading

import pytest
from pack.client.batch import command
from pack.client.errors import CeilingError, RefusedError, RunError, UnreachableError
from pack.tests.toy.one_comfy import Faults
from pack.tests.toy.studies import forgetting, gone_soon, rows, run, servers, write

HOSTED = 'graphs = ["hosted.json"]\n'


@pytest.fixture
def dry(capsys):
    """Makes a dry run, and returns what it says."""

    def told(path, out, addresses, **options):
        before = rows(out) if out.exists() else None
        command.batch(path, server=addresses, output=out, dry_run=True, **options)
        assert (rows(out) if out.exists() else None) == before
        return capsys.readouterr().out

    return told


def without_first_clip(path, out, two):
    """Runs a study, and removes the clip of its first job."""
    run(path, out, servers(two.addresses))
    (out / json.loads(rows(out)[0]["clips"])[0]).unlink()


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


def test_what_was_ordered_is_not_ordered_again(two, tmp_path, dry):
    path, out = write(tmp_path, 4, HOSTED), tmp_path / "out"
    first, second = two.comfies
    first.hold = True
    thread = threading.Thread(target=gone_soon, args=(first, 2))
    thread.start()
    with pytest.raises(UnreachableError):
        run(path, out, servers([first.address], patience=0.2), patience=0.2)
    thread.join()
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
