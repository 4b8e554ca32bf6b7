"""Sparse attention against formulas in float64: the order of tokens, which blocks are kept, and two kernels."""

import os
import re
import shutil
import subprocess
import sys
from math import prod
from types import ModuleType

import pytest
import torch
from pack.attention import flex, kernels, routing, trained
from pack.attention.order import BLOCK, cube_order
from pack.attention.routing import Pattern
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

CPU = torch.device("cpu")
# Clips that are no multiple of four in some or any direction, one of a single frame, one of 75 600's remainder of 80.
GRIDS = [(5, 8, 8), (5, 7, 9), (9, 15, 13), (2, 3, 5), (1, 5, 6), (3, 6, 32), (6, 10, 7)]
PATTERNS = [Pattern(0.2), Pattern(0.2, tail="block"), Pattern(0.2, tail="none"), Pattern(0.4, sink=False)]

# The kernel of torch as it is without compiling; compiled it is tried below, once.
FLEX = kernels.FLEX._replace(
    run=kernels.arranged(lambda q, k, v, order, routing, _: flex.attend(flex_attention, q, k, v, order, routing))
)

# Half a second each: flex_attention, which is traced in each call unless compiled, and the formula of 1755 tokens.
CASES = [
    *(pytest.param(kernels.GATHER, grid, marks=[pytest.mark.slow] * (prod(grid) > 1000)) for grid in GRIDS),
    *(pytest.param(FLEX, grid, marks=pytest.mark.slow) for grid in GRIDS[1:4:2]),
]


def inputs(grid, batch=1, heads=2, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shape = batch, prod(grid), heads, 128
    return [torch.randn(shape, generator=generator).mul(1.2).to(dtype) for _ in range(3)]


def dense(q, k, v):
    return scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def formula(q, k, v, order, pattern):
    """Sparse attention of one head, Tensor[L, 128] each, written out in float64."""
    place = order.places
    q, k, v = (x.double()[order.tokens] for x in (q, k, v))
    block = torch.arange(len(q)) // BLOCK
    count = int(block[-1]) + 1
    own = [block == at for at in range(count)]
    size = torch.tensor([int(each.sum()) for each in own]).double()
    queries, keys, values = (torch.stack([x[each].mean(0) for each in own]) for x in (q, k, v))
    centred = keys - keys.mean(0)
    scores = queries @ centred.T
    sink = order.sink if pattern.sink else 0
    chosen = max(0, min(count - sink - 1, max(1, round(pattern.density * count) - sink)))
    kept = torch.zeros(count, count, dtype=torch.bool)
    for row in range(count):
        free = sorted(range(sink, count), key=lambda at, row=row: float(-scores[row, at]))
        kept[row, [*range(sink), *free[:chosen], *range(max(0, row - 1), min(count, row + 2))]] = True
    exact = (q @ (k - keys.mean(0)).T / 128**0.5).exp() * kept[block][:, block]
    rest = (q @ centred.T if pattern.tail == "row" else scores[block]) / 128**0.5
    rest = rest.exp() * size * ~kept[block] * (pattern.tail != "none")
    out = (exact @ v + rest @ values) / (exact.sum(1) + rest.sum(1))[:, None]
    share = float((kept.double() * size[:, None] * size).sum() / len(q) ** 2)
    return out[place], share


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_order_has_every_token_once_and_is_undone(grid):
    order = cube_order(grid, CPU)
    assert sorted(order.tokens.tolist()) == list(range(prod(grid)))
    x = inputs(grid, batch=2)[0]
    arranged = order.arrange(x, room=2)
    assert arranged.shape == (2, 2, (order.blocks + 2) * BLOCK, 128)
    assert not arranged[:, :, order.length :].any()
    assert torch.equal(order.restore(arranged), x)


def test_a_block_is_a_cube_and_the_first_frame_stands_alone():
    frames, rows, columns = grid = (9, 16, 24)
    order = cube_order(grid, CPU)
    where = torch.stack(torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij"), -1).view(-1, 3)
    blocks = where[order.tokens].view(-1, BLOCK, 3)
    spans = blocks.amax(1) - blocks.amin(1) + 1
    assert order.sink == rows * columns // BLOCK
    assert (blocks[: order.sink, :, 0] == 0).all()
    assert (blocks[order.sink :, :, 0] > 0).all()
    assert (spans[: order.sink] == torch.tensor([1, 8, 8])).all()
    assert (spans[order.sink :] == 4).all()
    assert frames == 9


@pytest.mark.parametrize("grid", [(9, 15, 13), (6, 23, 26)], ids=str)
def test_on_ragged_clips_a_block_is_far_smaller_than_in_raster_order(grid):
    where = torch.stack(torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij"), -1).view(-1, 3).float()

    def spread(tokens):
        full = where[tokens][: len(where) // BLOCK * BLOCK].view(-1, BLOCK, 3)
        return float((full - full.mean(1, keepdim=True)).square().sum(-1).mean())

    assert spread(cube_order(grid, CPU).tokens) < 0.35 * spread(torch.arange(len(where)))


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize(("kernel", "grid"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_in_cubes_dense_attention_is_what_it_is_in_raster_order(grid, kernel):
    q, k, v = inputs(grid, batch=2)
    attended, density = kernels.attend(kernel, q, k, v, cube_order(grid, CPU), Pattern(1.0))
    assert float(density) == pytest.approx(1)
    expected = dense(q, k, v)
    assert (attended - expected).norm() / expected.norm() < 1e-6


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize(("kernel", "grid"), CASES, ids=lambda case: getattr(case, "name", str(case)))
def test_kernels_are_the_formula(grid, kernel, pattern):
    q, k, v = inputs(grid, batch=2, heads=3)
    order = cube_order(grid, CPU)
    attended, density = kernels.attend(kernel, q, k, v, order, pattern)
    heads = [(clip, head) for clip in range(2) for head in range(3)]
    found = [formula(*(x[clip, :, head] for x in (q, k, v)), order, pattern) for clip, head in heads]
    for (clip, head), (expected, _) in zip(heads, found, strict=True):
        assert (attended[clip, :, head] - expected).abs().max() < 1e-4
    assert float(density) == pytest.approx(sum(share for _, share in found) / 6, abs=1e-5)


def test_the_clip_of_720p_has_its_remainder():
    order = cube_order((21, 45, 80), CPU)
    assert order.length % 128 == 80
    assert order.lengths()[-1] == 16
    assert (order.blocks, order.sink) == (1182, 57)
    assert routing.routed_count(1182, 57, 0.15) == 120


def test_in_bf16_the_kernels_differ_by_its_rounding():
    grid = 9, 15, 13
    order = cube_order(grid, CPU)
    q, k, v = inputs(grid, dtype=torch.bfloat16)
    gathered, _ = kernels.attend(kernels.GATHER, q, k, v, order, Pattern(0.2))
    fine, _ = kernels.attend(kernels.GATHER, *(x.float() for x in (q, k, v)), order, Pattern(0.2))
    assert gathered.dtype == torch.bfloat16
    assert (gathered.float() - fine).norm() / fine.norm() < 0.01


def test_a_tail_for_each_row_is_nearer_than_one_for_the_block_and_both_are_nearer_than_none():
    grid = 9, 16, 24
    q, k, v = (x * scale for x, scale in zip(inputs(grid, seed=3), (0.6, 0.6, 1.0), strict=True))
    exact, order = dense(q, k, v), cube_order(grid, CPU)
    errors = [
        float((kernels.attend(kernels.GATHER, q, k, v, order, Pattern(0.15, tail=tail))[0] - exact).norm())
        for tail in ("row", "block", "none")
    ]
    assert errors == sorted(errors)


def test_heads_of_another_width_are_refused():
    x = torch.randn(1, 8, 1, 64)
    with pytest.raises(ValueError, match="Heads must have 128 channels"):
        kernels.attend(kernels.GATHER, x, x, x, cube_order((2, 2, 2), CPU), Pattern(0.5))


def test_a_processor_gets_the_kernel_that_needs_nothing_and_hears_why():
    kernel, reasons = kernels.choose("auto", CPU, torch.float32)
    assert kernel is kernels.GATHER
    assert len(reasons) == 2
    assert "comfy-kitchen" in reasons[0]
    assert "flex_attention" in reasons[1]


@pytest.mark.parametrize("name", ["sol_attn", "flex"])
def test_a_kernel_that_a_machine_has_not_is_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=f"The kernel '{name}' must run on this machine, but .* Choose auto"):
        kernels.choose(name, CPU, torch.float32)


BESIDE = """
import sys
sys.path.append({root!r} + "/tools")
import torch
from pack.attention import kernels
from pack.attention.order import cube_order
from pack.attention.routing import Pattern
for grid in {grids}:
    order = cube_order(grid, torch.device("cpu"))
    q, k, v = (torch.randn(2, order.length, 3, 128) * 1.2 for _ in range(3))
    for pattern in {patterns}:
        one, other = (kernels.attend(kernel, q, k, v, order, pattern)[0] for kernel in (kernels.{name}, kernels.GATHER))
        assert (one - other).abs().max() < 1e-4, (grid, pattern)
print("equal")
"""


def beside(root, name, patterns, grids, more="", **variables):
    """Compares a kernel with the one that gathers, in a process of its own, and returns what went wrong."""
    script = BESIDE.format(root=str(root), name=name, patterns=patterns, grids=grids) + more
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | variables)
    return "" if run.stdout == "equal\n" and run.returncode == 0 else run.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_a_gpu_computes_at_a_time_divides_the_blocks(dtype):
    """Or torch's compiler refuses: its own choice on most NVIDIA cards is 128 queries, and a block here has 64."""
    asked = []

    def recording(q, k, v, score_mod=None, block_mask=None, kernel_options=None):
        asked.append((block_mask.BLOCK_SIZE, kernel_options or {"BLOCK_M": 128, "BLOCK_N": 64}))
        return q

    grid, blocks = (5, 7, 9), [trained.Blocks(), trained.Blocks(64, 128)]
    q, k, v = inputs(grid, dtype=dtype)
    run = kernels.arranged(lambda q, k, v, order, routing, _: flex.attend(recording, q, k, v, order, routing))
    free = FLEX._replace(run=run)
    kernels.attend(free, q, k, v, cube_order(grid, CPU), Pattern(0.3))
    for each in blocks:
        trained.attend(lambda *given: flex.attend_blocks(recording, *given), 2, q, k, v, 0.3, each)
    assert [size for size, _ in asked] == [(64, 64), (128, 64), (64, 128)]
    for (queries, keys), options in asked:
        assert queries % options["BLOCK_M"] == keys % options["BLOCK_N"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch compiles for a processor with a C++ compiler, and has none")
def test_flex_compiled_is_what_is_gathered(request):
    """And compiled once, however many layers call it: each has a routing of its own."""
    once = "from torch._dynamo.utils import counters; assert counters['stats']['unique_graphs'] == 1, counters"
    assert not beside(request.config.rootpath, "FLEX", "[Pattern(0.3), Pattern(0.4)]", [(5, 7, 9)], once)


@pytest.mark.skipif(
    "KITCHEN" not in os.environ,
    reason="ComfyUI 0.30 pins a comfy-kitchen without sol_attn. Put one into a folder, and KITCHEN names it: "
    "pip install --no-deps --target FOLDER comfy-kitchen==0.2.40",
)
def test_sol_attn_is_what_is_gathered(request):
    patterns = (
        "Pattern(0.2, tail='block'), Pattern(0.2, tail='none'), Pattern(0.4, False, 'block'), Pattern(1, True, 'none')"
    )
    grids, more = [(5, 7, 9), (9, 15, 13), (2, 3, 5)], "assert 'has no sol_attn for this' in why(torch.device('cpu'))"
    more = f"from pack.attention.kitchen import why_not as why; {more}"
    where = os.environ["KITCHEN"]
    assert not beside(request.config.rootpath, "SOL_ATTN", f"[{patterns}]", grids, more, PYTHONPATH=where)


def test_without_comfy_kitchen_the_reason_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "comfy_kitchen", None)  # as Python marks what cannot be imported
    reasons = kernels.choose("auto", CPU, torch.float32)[1]
    assert reasons[0] == "sol_attn needs comfy-kitchen 0.2.33 or newer, which is not installed"


def test_a_kitchen_without_a_kernel_for_this_card_is_said(monkeypatch):
    """As with torch for CUDA 12.8: the function is there, and what it needs of CUDA 13 is not."""
    kitchen = ModuleType("comfy_kitchen")
    kitchen.sol_attn_is_available = lambda device: False
    monkeypatch.setitem(sys.modules, "comfy_kitchen", kitchen)
    kernel, reasons = kernels.choose("auto", CPU, torch.bfloat16)
    assert kernel is kernels.GATHER
    assert re.fullmatch(r"comfy-kitchen \S.* has no sol_attn for this cpu device", reasons[0])
    with pytest.raises(ValueError, match=r"'sol_attn' must run .* has no sol_attn for this cpu device\. Choose auto"):
        kernels.choose("sol_attn", CPU, torch.bfloat16)


def test_sol_attn_has_no_tail_for_each_row():
    x = torch.zeros(1, 64, 1, 128)
    with pytest.raises(ValueError, match="one tail for each query block, got tail 'row'"):
        kernels.attend(kernels.SOL_ATTN, x, x, x, cube_order((1, 8, 8), CPU), Pattern(0.5))
