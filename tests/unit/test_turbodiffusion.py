"""TurboDiffusion checkpoints: every tensor is accounted for, and tiles are multiplied by their scales."""

from pathlib import Path

import pytest
import torch
from pack.tests.toy import models as toy
from pack.tests.toy import turbodiffusion as written
from pack.weights import checks
from pack.weights.formats.header import Header, ModelFile, TensorInfo
from pack.weights.formats.model_file import LazyTensor, open_model, tensors_of
from pack.weights.wan import transformer, turbodiffusion
from safetensors.torch import save_file

SIZES = {"dim": 256, "ffn_dim": 328, "layers": 2, "in_dim": 36, "out_dim": 16}
NAMES = {torch.int8: "I8", torch.float32: "F32"}
STATE = written.checkpoint(dict(toy.expert(1, **SIZES)))
LISTED = {name: TensorInfo(NAMES[tensor.dtype], tuple(tensor.shape), 0) for name, tensor in STATE.items()}
HEAD = {"head.modulation": TensorInfo("F32", (1, 2, 128))}
CONVOLVED = HEAD | {"patch_embedding.weight": TensorInfo("F32", (9, 9, 1, 2, 2))}
MISFIT = "the sizes of some tensors do not fit the others: "
SLA = "blocks.{}.self_attn.attn_op.local_attn.proj_l.weight"


def check(tensors, name="turbo_high.pth"):
    return turbodiffusion.check(ModelFile(Path(name), Header(tensors, {})))


def without(*names):
    return {name: info for name, info in LISTED.items() if name not in names}


def resized(name, *shape):
    return LISTED | {name: TensorInfo(LISTED[name].dtype, shape, 0)}


def test_the_table_of_tensors_is_that_of_the_real_transformer():
    assert set(transformer.shapes(2)) == {name for name, _ in toy.expert_shapes(36, 16, 256, 2, 328)}


@pytest.mark.parametrize(
    ("tensors", "known"),
    [
        (LISTED, True),
        ({f"net.{name}": info for name, info in LISTED.items()}, True),
        (without("patch_embedding.weight"), True),  # int8 alone
        (HEAD | {"patch_embedding.weight": TensorInfo("F32", (9, 9))}, True),
        (HEAD | {"a._checkpoint_wrapped_module.b": TensorInfo("F32", (9, 9))}, True),
        (HEAD | {"patch_embedding.weight": TensorInfo("F32", (9, 9, 1, 2, 2))}, False),
        ({"blocks.0.ffn.0.int8_weight": TensorInfo("I8", (9, 9))}, False),
        (CONVOLVED | {SLA.format(0): TensorInfo("F32", (128, 128))}, True),
        (CONVOLVED | {SLA.format(0): TensorInfo("F32", (128, 128)), "a.weight_scale": TensorInfo("F32", ())}, False),
    ],
)  # fmt: skip
def test_knows_its_layout(tensors, known):
    assert turbodiffusion.is_turbodiffusion(Header(tensors, {})) is known


def test_a_whole_checkpoint_is_passed():
    assert [note.split(" ", 2)[1] for note in check(LISTED)] == ["stores"]
    assert [note.split(" ", 2)[1] for note in check(without(*[name for name in LISTED if "proj_l" in name]))] == [
        "stores"
    ]


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (without("blocks.1.ffn.2.int8_weight"), "it lacks blocks.1.ffn.2.weight"),
        (without("blocks.1.ffn.2.scale"), "it lacks blocks.1.ffn.2.scale"),
        (without("head.head.bias"), "it lacks head.head.bias"),
        (without("patch_embedding.weight"), "it lacks patch_embedding.weight"),
        (without(SLA.format(1)), f"it lacks {SLA.format(1)}"),
        (
            {name: info for name, info in LISTED.items() if not name.startswith("blocks.0.norm3")}
            | {"blocks.7.modulation": LISTED["blocks.0.modulation"]},
            "it lacks blocks.0.norm3.weight, blocks.0.norm3.bias, blocks.2.modulation and 28 more",
        ),
        (
            {name: info for name, info in LISTED.items() if not name.startswith("blocks.")},
            "it lacks blocks.0.modulation, blocks.0.norm3.weight, blocks.0.norm3.bias and 24 more",
        ),
        (resized("blocks.1.ffn.2.scale", 3, 3), f"{MISFIT}blocks.1.ffn.2.scale"),
        (
            resized("blocks.1.ffn.2.int8_weight", 328, 256),
            f"{MISFIT}blocks.1.ffn.2.weight, blocks.1.ffn.2.scale",
        ),
        (resized("head.head.bias", 65), f"{MISFIT}head.head.bias"),
        (resized("patch_embedding.weight", 256, 143), f"{MISFIT}patch_embedding"),
        (resized(SLA.format(0), 64, 128), f"{MISFIT}{SLA.format(0)}"),
        (
            LISTED | {"blocks.0.ffn.0.weight": TensorInfo("F32", (328, 256), 0)},
            "it holds twice blocks.0.ffn.0.weight",
        ),
        (
            LISTED | {"_checkpoint_wrapped_module.head.head.bias": LISTED["head.head.bias"]},
            "it holds twice head.head.bias",
        ),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_whole_is_refused(tensors, problem):
    with pytest.raises(ValueError, match=r"^'turbo_high\.pth' is not") as caught:
        check(tensors)
    assert str(caught.value).startswith(f"'turbo_high.pth' is not a whole TurboDiffusion checkpoint: {problem}")
    assert str(caught.value).endswith(". Download it again.")


@pytest.mark.parametrize(
    ("name", "info", "odd"),
    [
        ("head.head.bias", TensorInfo("F32", (64,), None), "head.head.bias"),
        ("blocks.0.ffn.0.int8_weight", TensorInfo("F32", (328, 256), 0), "blocks.0.ffn.0.weight"),
        ("blocks.0.ffn.0.scale", TensorInfo("F32", (3, 2), None), "blocks.0.ffn.0.scale"),
        ("blocks.0.ffn.0.scale", TensorInfo("I32", (3, 2), 0), "blocks.0.ffn.0.scale"),
        ("head.head.bias", TensorInfo("C64", (64,), 0), "head.head.bias"),
        ("head.head.weight_scale", TensorInfo("F32", (), 0), "head.head.weight_scale"),
    ],
)
def test_what_is_stored_in_a_way_that_is_not_converted_is_refused(name, info, odd):
    with pytest.raises(ValueError, match=r"^'turbo_high\.pth' stores") as caught:
        check(LISTED | {name: info})
    assert str(caught.value) == (
        f"'turbo_high.pth' stores some tensors in a way that is not converted: {odd}. Choose another version."
    )


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_scales_may_be_any_float(dtype):
    scale = LISTED["blocks.0.ffn.0.scale"]
    assert check(LISTED | {"blocks.0.ffn.0.scale": TensorInfo(dtype, scale.shape, 0)})


def test_what_no_wan_model_has_is_listed():
    names = ("a.scale", "a.int8_weight", "blocks.0.x", SLA.format(7))
    with_more = LISTED | dict.fromkeys(names, LISTED["head.head.bias"])
    with pytest.raises(ValueError, match="it lacks "):  # block 7 may not come without its other tensors
        check(with_more)
    del with_more[SLA.format(7)]
    assert check(with_more)[-1] == (
        "'turbo_high.pth' has tensors that no Wan model has. They are left out: a.scale, a.int8_weight, blocks.0.x."
    )


def test_as_many_blocks_as_a_file_can_list_take_no_time():
    blocks = {f"blocks.{n}.modulation": LISTED["blocks.0.modulation"] for n in range(20_000)}
    with pytest.raises(ValueError, match=r"it lacks patch_embedding\.weight, .* and 2611 more"):
        check(blocks | {"head.modulation": LISTED["head.modulation"]})


def test_the_loader_checks_it_and_refuses_one_for_text_to_video():
    assert len(checks.check_expert(ModelFile(Path("turbo_high.pth"), Header(LISTED, {})), "high")) == 2
    with pytest.raises(ValueError, match=r"it lacks head\.head\.bias"):
        checks.check_expert(ModelFile(Path("turbo_high.pth"), Header(without("head.head.bias"), {})), "high")
    with pytest.raises(ValueError, match=r"is Wan T2V \(16 input channels\): it takes no start image"):
        checks.check_expert(
            ModelFile(Path("turbo_high.pth"), Header(resized("patch_embedding.weight", 256, 64), {})), "high"
        )


@pytest.mark.parametrize("shape", [(128, 128), (1, 1), (127, 129), (300, 40), (256, 384)])
def test_tiles_come_back_within_half_a_step(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    int8, scale = written.quantise(weight)
    whole = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[: shape[0], : shape[1]]
    back = turbodiffusion.dequantise(int8, scale)
    assert back.dtype == torch.bfloat16
    assert back.equal((int8.float() * whole).to(torch.bfloat16))
    bound = torch.where(int8 == 127, 1.0, 0.5) * whole + weight.abs() / 256
    assert ((back.float() - weight).abs() <= bound).all()


def test_a_tensor_is_read_only_when_it_is_used():
    made = []

    def make():
        made.append(1)
        return torch.arange(6.0).view(2, 3)

    lazy = LazyTensor((2, 3), torch.float32, make)
    assert (lazy.shape, lazy.dtype, lazy.numel(), lazy.nelement(), made) == ((2, 3), torch.float32, 6, 6, [])
    assert torch.zeros(2, 3).copy_(lazy).equal(torch.arange(6.0).view(2, 3))
    assert made == [1]


def test_a_file_that_is_cut_while_it_is_read_is_said(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(100), "b": torch.zeros(0), "c": torch.tensor(7.0)}, path)
    tensors = open_model(path).header.tensors
    with tensors_of(path) as read:
        assert read(tensors["a"]).equal(torch.ones(100))
        assert read(tensors["b"]).shape == (0,)
        assert read(tensors["c"]) == 7.0
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(
            RuntimeError, match=r"^'x\.safetensors' became shorter while it was read\. Load it again\.$"
        ):
            read(tensors["a"])
