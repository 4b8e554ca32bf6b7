"""Every shipped prompt through the client in the process of ComfyUI itself, which is started once for all of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comfy_server import free_port, link, make_base
from pack.client import prompts
from pack.tests.server.client_process import DRAFT, HOSTED, LOCAL, LONG, UPLOADED, frames_of, pairs
from pack.tests.server.test_client import TWO_OUTPUTS
from pack.tests.server.test_graphs import CLIPS, FRAMES
from pack.tests.toy.loopback import KEY
from PIL import Image

pytestmark = pytest.mark.server

NAMES = [*LOCAL, *(name for name in prompts.names() if name not in LOCAL)]


class OneProcess:
    """A process that is a ComfyUI and its client at once, and does one job after another."""

    def __init__(self, base, environment):
        self.base = base
        self.log = base / "one_process.log"
        command = [sys.executable, str(Path(__file__).with_name("one_process.py")), str(base), str(free_port())]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8",
                env={**os.environ, **environment},
            )  # fmt: skip

    def make(self, prompt, values, target, stop=""):
        """Has a job done and returns what became of it."""
        hold = LONG["steps"] if stop else 0
        job = {"prompt": str(prompt), "values": values, "target": str(target), "stop": stop, "hold": hold}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        return json.loads(answer)

    def end(self):
        """Lets it come to its end, and returns the exit code."""
        self.process.stdin.close()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Narrow, so that a clip of 240p has a quarter of its pixels: the prompts run one after another."""
    path = tmp_path_factory.mktemp("narrow") / UPLOADED
    noise = np.random.default_rng(7).integers(0, 255, (8, 52, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((416, 64)).save(path)
    return path


@pytest.fixture(scope="module")
def one_process(server, all_providers, tmp_path_factory):
    base = tmp_path_factory.mktemp("one process 小")
    (base / "models").symlink_to(server.base / "models", target_is_directory=True)
    make_base(base)
    link(base / "custom_nodes" / "pack")
    running = OneProcess(base, all_providers.environment())
    yield running
    assert running.end() == 0


def test_hosted_prompts_are_among_them():
    hosted = {name for name in NAMES for node in prompts.load(name).values() if node["class_type"] == HOSTED}
    assert hosted == {name for name in CLIPS if "hosted" in name}
    assert len(NAMES) == len(LOCAL) + len(hosted) == len(prompts.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_runs_to_its_mp4s_in_the_process_of_comfyui(one_process, running, picture, tmp_path, name):
    done = one_process.make(name, pairs(name, picture, seed=5), tmp_path)
    assert done["error"] == "", done["text"]
    paths = [Path(path) for path in done["saved"]]
    assert {path.parent for path in paths} == {tmp_path}
    clips = [frames_of(path) for path in paths]
    assert sorted(map(len, clips)) == CLIPS.get(name, [FRAMES])
    assert min(clip[0].std() for clip in clips) > 5
    for path in paths:
        assert path.read_bytes() in [file.read_bytes() for file in one_process.base.rglob(path.name)]
    assert (one_process.base / "input" / UPLOADED).read_bytes() == picture.read_bytes()
    samplers = sum(node["class_type"] == "Wan22Turbo_Sampler" for node in prompts.load(name).values())
    plans = [text for text in done["said"] if re.search(r"Sampler[^\n]*: \d+ high( \+ \d+ low)? \| ", text)]
    assert len(plans) == samplers
    assert sum(provider.posts for provider in running.providers) == ("hosted" in name)
    assert KEY not in json.dumps(done)


@pytest.mark.parametrize(
    ("stop", "error", "words"),
    [
        ("ctrl-c", "CancelledError", "Cancelled: the server confirms that job {} has stopped."),
        ("cancel", "RunError", "Somebody interrupted the run on the server, at rCM Sampler."),
    ],
)
def test_a_run_is_cancelled_and_the_process_goes_on(one_process, picture, tmp_path, stop, error, words):
    before = set((one_process.base / "output").rglob("*.mp4"))
    done = one_process.make(LOCAL[0], pairs(LOCAL[0], picture, **{**LONG, **DRAFT}), tmp_path / "stopped", stop)
    job = next(text.removeprefix("Job ") for text in done["said"] if text.startswith("Job "))
    assert (done["saved"], done["error"], done["text"]) == ([], error, words.format(job))
    assert done["steps"] == [[1, LONG["steps"]]]
    assert not (tmp_path / "stopped").exists()
    assert set((one_process.base / "output").rglob("*.mp4")) == before
    again = one_process.make(LOCAL[0], pairs(LOCAL[0], picture, seed=6), tmp_path)
    assert again["error"] == "", again["text"]
    assert len(frames_of(again["saved"][0])) == FRAMES


def test_of_two_outputs_with_one_invalid_the_other_is_saved(one_process, picture, tmp_path):
    (prompt := tmp_path / "two.json").write_text(json.dumps(TWO_OUTPUTS), encoding="utf-8")
    done = one_process.make(prompt, {"picture": str(picture)}, tmp_path / "out")
    assert done["error"] == "PartlyRefusedError"
    assert (
        "The server leaves out Second clip:\nSecond clip, input 'crf': It must be at most 51, got 99." in done["text"]
    )
    (path,) = done["saved"]
    assert list((tmp_path / "out").iterdir()) == [Path(path)]
    assert len(frames_of(path)) == 1
