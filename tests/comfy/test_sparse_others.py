"""Sparse Attention on other than a dense pair of Wan: another family, files trained otherwise, packed weights."""

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import pytest
import torch
from pack.nodes.sparse import SparseAttention
from pack.tests.comfy.test_sparse import SHAPE, SPARSE, difference, rows, sample, sparse
from pack.tests.toy import models as toy
from pack.tests.toy.sampling import conditioning

pytestmark = pytest.mark.comfy

UNET = {
    "image_size": 8, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1],
    "channel_mult": [1], "transformer_depth": [0], "transformer_depth_output": [0, 0], "transformer_depth_middle": -1,
    "num_heads": 1, "use_spatial_transformer": False, "use_temporal_attention": False,
    "adm_in_channels": None, "use_linear_in_transformer": False,
}  # fmt: skip


class PackedOperations(comfy.ops.manual_cast):
    """Linear layers as GGUF loaders make them: two numbers of four bits in a byte, unpacked at each use."""

    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state, prefix, *_):
            weight = state[prefix + "weight"].float()
            scale = weight.abs().amax(1, keepdim=True) / 7
            whole = (weight / scale).round().to(torch.int8) + 8
            packed = (whole[:, ::2] * 16 + whole[:, 1::2]).to(torch.uint8)
            self.weight = torch.nn.Parameter(packed, requires_grad=False)
            self.bias = torch.nn.Parameter(state[prefix + "bias"], requires_grad=False)
            self.scale = scale

        def forward(self, x):
            return torch.nn.functional.linear(x, self.unpacked().to(x), self.bias.to(x))

        def unpacked(self):
            packed = self.weight
            return (torch.stack([packed // 16, packed % 16], 2).flatten(1).float() - 8) * self.scale


class PackedPatcher(comfy.model_patcher.ModelPatcher):
    """A patcher of its own, as GGUF loaders have one."""


def packed(seed):
    options = {"custom_operations": PackedOperations}
    model = comfy.sd.load_diffusion_model_state_dict(toy.expert(seed), model_options=options)
    return PackedPatcher(model.model, model.load_device, model.offload_device)


def unpacked(model, seed):
    state = toy.expert(seed)
    for name, module in model.model.diffusion_model.named_modules():
        if isinstance(module, PackedOperations.Linear):
            state[f"{name}.weight"] = module.unpacked()
    return comfy.sd.load_diffusion_model_state_dict(state)


def test_weights_that_another_pack_has_packed_are_sparse_like_plain_ones():
    """As of GGUF files: attention sees activations alone, so what the weights are stored as does not matter."""
    both = [packed(1), packed(2)]
    plain = [unpacked(model, seed) for seed, model in enumerate(both, 1)]
    positive = conditioning(1, SHAPE)
    *models, report = SparseAttention.execute(*both, **SPARSE).args
    assert report.startswith("Sparse attention, training-free, density 0.4, kernel gather.")
    assert all(type(model) is PackedPatcher for model in models)
    found, plan = sample(*models, positive)
    expected, _ = sample(*SparseAttention.execute(*plain, **SPARSE).args[:2], positive)
    assert difference(found, expected) < 1e-4
    assert [sparse for _, _, sparse in rows(models[0])] == [0] + [toy.LAYERS] * 3
    assert "dense" not in plan.split("step 2")[1]


@pytest.mark.parametrize("slot", ["high", "low"])
def test_a_model_of_another_family_is_refused_by_its_name(slot, high):
    device = comfy.model_management.get_torch_device()
    config = comfy.supported_models.SD15(dict(UNET))
    config.set_inference_dtype(torch.float32, None)
    other = comfy.model_patcher.ModelPatcher(config.get_model({}, "", device=device), device, device)
    pair = (other, high) if slot == "high" else (high, other)
    said = f"The {slot}-noise expert must be a Wan 2.2 I2V A14B model, got BaseModel. Connect the outputs of Load Wan"
    with pytest.raises(ValueError, match=said):
        SparseAttention.execute(*pair, **SPARSE)


def test_what_is_no_expert_is_refused(high):
    other = comfy.sd.load_diffusion_model_state_dict(toy.expert(3, in_dim=16))
    with pytest.raises(ValueError, match="must take 36 channels"):
        sparse(high, other)


def test_trained_is_refused_for_files_that_were_not_trained_so(high, low):
    with pytest.raises(ValueError, match=r"sparse in one way.*: high none, low none\. Choose training-free"):
        sparse(high, low, mode="trained")
