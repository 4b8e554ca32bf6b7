"""A hosted study through a real ComfyUI, at three providers that fail, with a client that is killed: paid once each."""

import time

import pytest
from pack.tests.server.client_process import frames_of
from pack.tests.toy.faults import cut, raw, says
from pack.tests.toy.hosted_prompt import MODELS
from pack.tests.toy.studies import arguments, check_all_done, rows
from PIL import Image

pytestmark = pytest.mark.server

SEEDS = 3
JOBS = SEEDS * len(MODELS)
SUBMISSIONS = {  # of which each began a job, that the node then finds in the provider's list, where it has one
    "wavespeed": [cut(arrived=True), raw(502, "<html>Bad gateway</html>", arrived=True)],
    "atlascloud": [cut(arrived=True), says(429, "slow down", Retry_After="0")],
    "api302": [says(429, "slow down", Retry_After="0")],
}


@pytest.fixture
def study(tmp_path):
    """The shipped hosted graph at each provider, with three seeds."""
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "teal.png")
    models = ", ".join(f'"{model}"' for model in MODELS.values())
    text = (
        f'pictures = ["teal.png"]\nseeds = {list(range(100, 100 + SEEDS))}\ngraphs = ["wan22_hosted_i2v"]\ntries = 3\n'
    )
    path = tmp_path / "study.toml"
    path.write_text(f"{text}[settings]\nmodel = [{models}]\n", encoding="utf-8")
    return path


def break_all(running):
    """Makes every provider fail at each of its routes, in ways after which the node goes on or can be run again."""
    for provider in running.providers:
        provider.seconds = 0.3
        provider.break_next("upload", says(500)(provider), cut(arrived=False)(provider))
        provider.break_next("submit", *(each(provider) for each in SUBMISSIONS[provider.name]))
        provider.break_next("poll", says(500)(provider), cut(arrived=False)(provider), raw(502, "<html>")(provider))
        provider.break_next("download", cut(arrived=False)(provider), raw(200, "<html>")(provider))


def test_every_job_is_paid_once_whatever_fails_and_whenever_the_client_dies(running, comfyui, study, tmp_path, start):
    out = tmp_path / "out"
    command = arguments(study, out, [comfyui.address])
    break_all(running)
    for posts in (1, 4):
        killed = start(command)
        deadline = time.monotonic() + 300
        while sum(provider.posts for provider in running.providers) < posts:
            assert time.monotonic() < deadline, killed.said
            assert killed.process.poll() is None, killed.said
            time.sleep(0.01)
        killed.process.kill()
        killed.end()
    last = start(command)
    code, _ = last.end()
    assert code == 0, last.said
    check_all_done(out, JOBS)
    for provider in running.providers:
        assert sorted(job.inputs["seed"] for job in provider.charged) == list(range(100, 100 + SEEDS))
        assert provider.problems == provider.leaks == []
    assert {len(frames_of(path)) for path in (out / "clips").iterdir()} == {17}
    priced = {row["settings"].split('"model": "')[1].split(":")[0]: row["usd"] for row in rows(out)}
    assert priced["WaveSpeed"] == 0.15
    assert priced["302.AI"] is None
