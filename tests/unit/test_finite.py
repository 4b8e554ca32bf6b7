"""NaN in a model file: found in what is small, and in all of a VAE."""

import pytest
import torch
from pack.weights.formats.header import Header, ModelFile
from pack.weights.formats.model_file import check_all, check_small, open_model
from safetensors.torch import save_file

LARGE = torch.ones(300, 300)
GOOD = {
    "a.bias": torch.ones(8),
    "a.weight": LARGE,
    "b.weight": torch.ones(8, 8, dtype=torch.int8),
    "empty": torch.ones(0),
}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_small_tensor_that_holds_nan_is_named(tmp_path, dtype, bad):
    path = tmp_path / "x.safetensors"
    save_file(GOOD, path)
    check_small(open_model(path))
    save_file(GOOD | {"a.bias": torch.tensor([1.0, bad]).to(dtype)}, path)
    with pytest.raises(ValueError, match=r"^'x\.safetensors' holds NaN or infinity in a\.bias, which would make every"):
        check_small(open_model(path))


@pytest.mark.parametrize("number", [0, 63, 64, 199])
def test_one_of_many_is_named(tmp_path, number):
    path = tmp_path / "x.safetensors"
    many = {f"{n:03}.bias": torch.ones(n + 1, dtype=(torch.float32, torch.bfloat16)[n % 2]) for n in range(200)}
    many[f"{number:03}.bias"][-1] = torch.nan
    save_file(GOOD | many, path)
    with pytest.raises(ValueError, match=rf"holds NaN or infinity in {number:03}\.bias, which would"):
        check_small(open_model(path))


def test_the_first_of_two_in_the_file_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    bad = torch.tensor([torch.nan])
    save_file(GOOD | {"c.bias": bad.half(), "d.bias": bad}, path)  # wider types come first in a file
    with pytest.raises(ValueError, match=r"holds NaN or infinity in d\.bias"):
        check_small(open_model(path))


def test_large_tensors_are_not_read_again(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(GOOD | {"a.weight": torch.full_like(LARGE, torch.nan)}, path)
    check_small(open_model(path))


def test_all_of_a_state_is_looked_at(tmp_path):
    file = ModelFile(tmp_path / "x.safetensors", Header({}, {}))
    check_all(file, GOOD | {"c": torch.ones(3).to(torch.float8_e4m3fn)})
    for dtype in (torch.float32, torch.float8_e4m3fn):
        damaged = GOOD | {"a.weight": LARGE.index_fill(0, torch.tensor([299]), torch.nan).to(dtype)}
        with pytest.raises(ValueError, match=r"^'x\.safetensors' holds NaN or infinity in a\.weight"):
            check_all(file, damaged)
