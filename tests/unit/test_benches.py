"""How a bench is started: one alone by its name, and what is said to somebody who starts it in another way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pack.bench import run

BENCH = Path(run.__file__).parent
HELPERS = {"harness", "run", "pictures"}
ALL = sorted(path.stem for path in BENCH.glob("*.py") if path.stem not in HELPERS)


def ended(*command, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "COMFYUI_DIR"} | variables
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_every_bench_can_be_asked_for():
    assert sorted(run.BENCHES + run.MORE) == ALL


@pytest.mark.parametrize("bench", [name for name in ALL if name != run.CHART])
@pytest.mark.parametrize(
    ("options", "variables"),
    [([], {}), ([], {"COMFYUI_DIR": ""}), (["-S"], {"COMFYUI_DIR": "there"})],
    ids=["no ComfyUI", "empty", "a Python without packages"],
)
def test_a_bench_started_without_the_setup_says_how_to_start_it(bench, options, variables):
    result = ended(sys.executable, *options, str(BENCH / f"{bench}.py"), **variables)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"A bench runs in the ComfyUI and the Python that the set-up prepares. Start it with: make bench ARGS={bench}\n"
    )


def test_a_bench_that_is_not_there_is_answered_with_those_that_are():
    result = ended(sys.executable, str(BENCH / "run.py"), "savings")
    assert result.returncode == 2
    assert result.stderr.startswith("There is no bench 'savings'. The benches are import_cost, sampling, ")
    assert len(result.stderr.splitlines()) == 1


def test_one_bench_runs_alone_with_its_words_and_the_charts_are_drawn(tmp_path):
    folder = tmp_path / "bench"
    folder.mkdir()
    shutil.copy(BENCH / "run.py", folder)
    for name in ("saving", "chart"):
        (folder / f"{name}.py").write_text(f"import sys; print('{name}', sys.argv[1:])", encoding="utf-8")
    result = ended(sys.executable, str(folder / "run.py"), "saving", "memory", "ours")
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == ["chart []", "saving ['memory', 'ours']"]
    (folder / "saving.py").write_text("raise SystemExit(3)", encoding="utf-8")
    assert ended(sys.executable, str(folder / "run.py"), "saving").returncode == 3
