"""Studies on a Ray cluster: a worker dies, a node dies, and real ComfyUIs with tiny models make every clip once.

The set-up installs no Ray. CONTRIBUTING.md has the command that runs these tests, of 60 jobs each with
WAN22_TURBO_TEST_RACES=20.
"""

import os
import signal
import subprocess
import sys

from pack.tests.toy.studies import write

from .test_batch import STUDY, check
from .test_batch_engines import JOBS, RayKind, done, kills, needs_ray, processes, words_of

pytestmark = [needs_ray, kills]


def test_a_worker_of_ray_that_is_killed_is_started_again_and_costs_no_clip(tmp_path):
    kind, path, out = RayKind(tmp_path), write(tmp_path, JOBS), tmp_path / "out"
    kind.start(path, out)
    kind.wait_for(JOBS // 4)
    os.kill(kind.processes("ray::Worker")[0], signal.SIGKILL)
    code, said = kind.end()
    assert code == 0, said
    done(out)


def test_a_cluster_without_gpus_is_a_sentence(tmp_path):
    kind, path = RayKind(tmp_path), write(tmp_path, 2)
    kind.options = lambda out, *more: ["--ray", "local", "--comfyui", kind.comfyui]
    code, said = kind.run(path, tmp_path / "out")
    assert code == 2
    assert "Nothing in the cluster can run a ComfyUI: no node has a GPU. Say how many each gets: --cores 8." in said


NODES = """
import json, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
print("gone", flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_a_node_of_a_cluster_that_dies_costs_no_clip(tmp_path):
    kind, path, out = RayKind(tmp_path), write(tmp_path, JOBS), tmp_path / "out"
    own = {**os.environ, "HOME": str(kind.home), "RAY_AUTH_MODE": "disabled"}
    pipe = subprocess.PIPE
    nodes = subprocess.Popen([sys.executable, "-c", NODES], stdin=pipe, stdout=pipe, text=True, env=own)
    try:
        address = nodes.stdout.readline().strip()
        there = ["--ray", address, "--cores", "1", "--patience", "2", "--comfyui", kind.comfyui]
        kind.options = lambda out, *more: there
        kind.start(path, out)
        kind.wait_for(JOBS // 4)
        nodes.stdin.write("\n")
        nodes.stdin.flush()
        code, said = kind.end()
        assert code == 0, said
        done(out)
    finally:
        nodes.communicate("")


def test_on_real_comfyuis_one_of_which_is_killed_every_clip_is_made_once(toy_models, tmp_path, picture):
    path, out, kind = tmp_path / "study.toml", tmp_path / "out", RayKind(tmp_path)
    path.write_text(STUDY.format(picture=picture.as_posix(), seeds=list(range(JOBS // 2))), encoding="utf-8")
    options = ["--ray", "local", "--cores", "1", "--start", "2", "--models", str(toy_models), "--no-report"]
    kind.options = lambda out, *more: options
    kind.environment = {"COMFYUI_PYTHON": sys.executable}
    kind.start(path, out)
    kind.wait_until(lambda: len(list((out / "clips").glob("*.mp4"))) >= JOBS // 4)
    os.kill(comfyuis(kind)[-1], signal.SIGKILL)
    code, said = kind.end(3600)
    assert code == 0, said
    check(out, JOBS)
    assert comfyuis(kind) == []


def comfyuis(kind):
    """The processes of real ComfyUIs that a study started."""
    words = {int(each.name): words_of(each) for each in processes()}
    ours = [pid for pid, said in words.items() if any(str(kind.home) in word for word in said)]
    return [pid for pid in ours if words[pid][1].endswith("launch.py")]
