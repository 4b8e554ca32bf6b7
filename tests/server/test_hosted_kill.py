"""kill -9 of ComfyUI while a hosted clip is made; then the same prompt again: one paid job, one clip.

Three moments here; HOSTED_KILLS=20 does twenty. The test of that name in tests/unit kills the same code at each step.
"""

import os
import random
import time

import pytest
from comfy_server import ComfyServer
from pack.tests.toy.hosted_prompt import make_base, run, saved, shipped

pytestmark = pytest.mark.server

KILLS = int(os.environ.get("HOSTED_KILLS", "3"))
RUN_SECONDS = 3.0  # of the run that is killed: 1.5 s of it is the job


def test_killed_at_random_moments(running, tmp_path):
    base = make_base(tmp_path / "killed")
    provider = running.providers[0]
    provider.seconds = 1.5
    moments = random.Random(6)
    killed_at = []
    for kill in range(KILLS):
        with ComfyServer(base, environment=running.environment()) as server:
            assert server.process is not None
            if kill:
                finish(server, provider, kill - 1)
            server.post("/prompt", {"prompt": shipped(kill)})
            time.sleep(moments.uniform(0.0, RUN_SECONDS))
            server.process.kill()
            server.process.wait(10)
            killed_at.append((len(provider.jobs) - kill, [phase for phase, _ in provider.requests][-1:]))
    with ComfyServer(base, environment=running.environment()) as server:
        finish(server, provider, KILLS - 1)
    assert len(provider.charged) == len(provider.jobs) == KILLS
    assert len(list((base / "output").rglob("*.mp4"))) >= KILLS
    assert not list((base / "user").rglob("*.part"))
    assert len({str(moment) for moment in killed_at}) > 1 or KILLS < 5, killed_at


def finish(server, provider, kill):
    """Runs the killed prompt again: its job may have been paid before, and is paid once altogether."""
    clip = saved(server, run(server, shipped(kill)))
    assert clip.stat().st_size > 1000
    assert len([job for job in provider.charged if job.inputs["seed"] == kill]) == 1
