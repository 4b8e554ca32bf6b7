"""ComfyUIs that a study starts itself, before they are started."""

import pytest
from pack.client.batch.machine import Recipe, Started
from pack.client.errors import UsageError


def gpus(tmp_path, count, *arguments):
    """The GPUs that the ComfyUIs of a study would see; None where they see what this process sees."""
    (tmp_path / "main.py").touch()
    engine = Started(Recipe(str(tmp_path), arguments=arguments), count, 1, tmp_path / "out", print)
    return [each.recipe.environment.get("CUDA_VISIBLE_DEVICES") for each in engine.machines.values()]


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [
        (None, 2, ["0", "1"]),
        (None, 1, [None]),
        ("4, 6,7", 2, ["4", "6"]),
        ("GPU-8f6a,MIG-1c", 2, ["GPU-8f6a", "MIG-1c"]),
        ("4,6", 1, [None]),
        ("", 2, [None, None]),
        ("-1", 2, [None, None]),
        (" ", 2, [None, None]),
        ("NoDevFiles", 2, [None, None]),
        ("0,1,", 2, ["0", "1"]),
        ("0, 1, -1, 2", 2, ["0", "1"]),
    ],
)
def test_each_comfyui_gets_one_of_the_gpus_that_this_process_may_use(visible, count, seen, tmp_path, monkeypatch):
    """Whoever shares a machine, or its scheduler, says which these are. The others are somebody else's."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus(tmp_path, count) == seen


@pytest.mark.parametrize("visible", ["4,6", "4,6,", "4,6,-1,7", "4,6,,7"])
def test_more_comfyuis_than_gpus_are_refused(visible, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UsageError, match=r"^--start 3 needs a GPU for each, and CUDA_VISIBLE_DEVICES names 2"):
        gpus(tmp_path, 3)
    assert gpus(tmp_path, 3, "--cpu") == [None] * 3


def test_a_gpu_that_is_named_twice_is_refused_before_anything_is_set_up(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    for comfyui in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match=r"^CUDA_VISIBLE_DEVICES names a GPU twice, got '0,0'\."):
            Started(Recipe(str(comfyui)), 2, 1, tmp_path / "out", print)
