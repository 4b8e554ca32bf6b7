"""The real shape of the experts on a real GPU. `make test ARGS="tests/gpu -m gpu"`; not part of `make test`."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, str(ROOT / "bench" / "gpu.py")]


def rows_of(output):
    """Returns the rows that a run on a tiny shape has printed, one a line."""
    return {
        name: row
        for line in output.splitlines()
        if line.startswith("{")
        for name, row in ast.literal_eval(line).items()
    }


@pytest.mark.comfy
def test_the_bench_goes_on_where_a_way_fails_and_says_so():
    """For want of memory, here; in a kernel that was put in place of one that this machine has not."""
    script = (
        "import sys, runpy, harness\n"
        "start = harness.import_comfyui\n"
        "def import_comfyui(cpu):\n"
        "    start(cpu)\n"
        "    import torch\n"
        "    from comfy.ldm.modules.attention import REGISTERED_ATTENTION_FUNCTIONS as known\n"
        "    def full(*_, **__): raise torch.OutOfMemoryError('no room')\n"
        "    known.update(xformers=known['pytorch'], flash=full)\n"
        "harness.import_comfyui = import_comfyui\n"
        "sys.argv = ['gpu.py', '--tiny']\n"
        "runpy.run_module('gpu', run_name='__main__')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT / "bench")
    assert run.returncode == 1
    assert list(rows_of(run.stdout)) == [f"A14B 64x64x9, {name} attention, 4 steps" for name in ("pytorch", "xformers")]
    assert "gpu: no A14B 64x64x9, flash attention, 4 steps: it failed, as told above" in run.stdout
    assert "OutOfMemoryError: no room" in run.stderr


@pytest.mark.comfy
def test_the_bench_of_sparse_attention_runs_on_a_tiny_shape():
    output = subprocess.run([*BENCH, "sparse", "--tiny"], check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = rows_of(output)
    ways = [name.removeprefix("A14B 64x64x9, sparse attention, ") for name in rows]
    assert [way for way in ways if way.startswith(("dense", "gather"))] == [
        "dense", "gather, density 0.15", "gather, SLA as trained",
    ]  # fmt: skip
    assert all(row["times faster"] > 0 for row in rows.values())
    for kernel in ("sol_attn", "flex"):
        assert any(way.startswith(kernel) for way in ways) or f"gpu: no {kernel}, density 0.15: The kernel" in output


@pytest.mark.comfy
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU here")
def test_without_a_gpu_the_bench_says_so_and_ends_well():
    output = subprocess.run(BENCH, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert output == "gpu: skipped, there is no NVIDIA GPU here that torch can use\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU here that torch can use")
def test_four_steps_of_the_real_shape_cost_no_more_than_the_official_wiring():
    before = {path: path.read_text() for path in (ROOT / "bench" / "results").glob("*.json")}
    subprocess.run(BENCH, check=True, env=os.environ)
    written = [path for path in (ROOT / "bench" / "results").glob("*.json") if before.get(path) != path.read_text()]
    rows = {
        name: row for path in written for name, row in json.loads(path.read_text()).items() if name.startswith("A14B")
    }
    assert {name.split(",")[0] for name in rows} == {"A14B 832x480x81", "A14B 1280x720x81"}
    assert all(row["peak memory ratio"] <= 1.02 for row in rows.values())
