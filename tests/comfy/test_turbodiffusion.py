"""TurboDiffusion checkpoints in the loader: what comes in is what was quantised; it samples, patches and clones."""

import json

import comfy.model_patcher
import pytest
import torch
from pack.nodes.loader import Loader
from pack.tests.toy import models as toy
from pack.tests.toy import turbodiffusion
from pack.tests.toy.loaded import apply_lora, load_expert
from pack.tests.toy.sampling import conditioning, sample
from pack.weights import loading
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

SIZES = {"dim": 256, "ffn_dim": 328, "layers": 2}  # an ffn that is no multiple of the tile
STATE = toy.expert(1, **SIZES, dtype=torch.bfloat16)
QUANTISED = [name for name in STATE if turbodiffusion._QUANTISED.fullmatch(name)]


def save(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def parameters(model):
    prefix = "diffusion_model."
    state = model.model.state_dict()
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


@pytest.fixture(params=[".safetensors", ".pth", ".pt"])
def path(tmp_path, request):
    return tmp_path / f"TurboWan2.2-I2V-A14B-high-720P{request.param}"


def wrapped(state):
    """Names as activation checkpointing leaves them."""
    return {name.replace(".self_attn.", "._checkpoint_wrapped_module.self_attn."): state[name] for name in state}


@pytest.mark.parametrize("rename", [dict, wrapped, lambda state: {f"net.{name}": state[name] for name in state}])
def test_a_dense_checkpoint_comes_back_exactly(path, rename):
    model = load_expert(save(rename(turbodiffusion.checkpoint(STATE, int8=False)), path), "default")
    loaded = parameters(model)
    assert loaded.keys() == STATE.keys()
    assert all(loaded[name].to(torch.bfloat16).equal(STATE[name]) for name in STATE)


def test_a_dense_merge_without_sparse_attention_comes_back_exactly(path):
    model = load_expert(save(turbodiffusion.checkpoint(STATE, int8=False, sla=False), path), "default")
    assert all(tensor.to(torch.bfloat16).equal(STATE[name]) for name, tensor in parameters(model).items())
    assert model.get_attachment(loading.SLA) is None


def test_an_int8_checkpoint_comes_back_within_the_quantisation_bound(path):
    state = turbodiffusion.checkpoint(STATE)
    loaded = parameters(load_expert(save(state, path), "default"))
    assert loaded.keys() == STATE.keys()
    assert len(QUANTISED) == 20
    for name, tensor in loaded.items():
        if name not in QUANTISED:
            assert tensor.to(torch.bfloat16).equal(STATE[name])
            continue
        scale = state[name.removesuffix("weight") + "scale"]
        step = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[: tensor.shape[0], : tensor.shape[1]]
        # Half a step of rounding, a whole one where 128 saturates at 127, and bfloat16's own 8 bits.
        bound = torch.where(STATE[name].float() > 127 * step, step, step / 2) + STATE[name].float().abs() / 256
        assert ((tensor.float() - STATE[name].float()).abs() <= bound).all()


def test_a_clip_equals_the_one_of_the_same_weights_under_their_official_names(tmp_path, low):
    small = toy.expert(1, dtype=torch.bfloat16)
    turbo = load_expert(save(turbodiffusion.checkpoint(small), tmp_path / "turbo.pth"), "default")
    official = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in parameters(turbo).items()}
    plain = load_expert(save(official, tmp_path / "official.safetensors"), "default")
    clip = sample(turbo, low, conditioning(1))
    assert clip.isfinite().all()
    assert clip.equal(sample(plain, low, conditioning(1)))


def test_a_lora_changes_it_as_it_changes_any_other(tmp_path):
    small = toy.expert(1, dtype=torch.bfloat16)
    model = load_expert(save(turbodiffusion.checkpoint(small), tmp_path / "turbo.pth"), "default")
    applied = apply_lora(model, save(toy.lora(5), tmp_path / "lora.safetensors"), 1.0)
    assert (applied.match.matched, applied.match.unmatched) == (8, [])
    name = "diffusion_model.blocks.1.self_attn.q.weight"
    change = applied.model.patch_weight_to_device(name, return_weight=True) - model.model.state_dict()[name]
    lora = toy.lora(5)
    up, down = (lora[f"diffusion_model.blocks.1.self_attn.q.lora_{end}.weight"].float() for end in ("up", "down"))
    assert torch.allclose(change.float(), up @ down, atol=2e-3)


def test_the_projections_of_sparse_attention_stay_with_the_model_and_its_clones(path):
    state = turbodiffusion.checkpoint(STATE)
    model = load_expert(save(state, path), "default")
    for patcher in (model, model.clone(), model.clone().clone()):
        kept = patcher.get_attachment("wan22_turbo.sla")
        assert list(kept) == [0, 1]
        for block, (weight, bias) in kept.items():
            name = f"blocks.{block}.self_attn.attn_op.local_attn.proj_l"
            assert weight.equal(state[f"{name}.weight"])
            assert bias.equal(state[f"{name}.bias"])
    json.dumps(model.model_options["transformer_options"])  # nothing of it in what nodes and metadata see


def test_they_stay_too_where_the_patch_convolution_is_already_comfyuis(path):
    state = turbodiffusion.checkpoint(STATE, int8=False)
    state["patch_embedding.weight"] = STATE["patch_embedding.weight"]
    model = load_expert(save(state, path), "default")
    assert list(model.get_attachment(loading.SLA)) == [0, 1]
    assert all(tensor.to(torch.bfloat16).equal(STATE[name]) for name, tensor in parameters(model).items())


def test_it_loads_as_fp8_too(path):
    model = load_expert(save(turbodiffusion.checkpoint(STATE), path), "fp8_e4m3fn")
    weight = parameters(model)["blocks.0.ffn.0.weight"]
    assert weight.dtype == torch.float8_e4m3fn
    assert torch.allclose(weight.float(), STATE["blocks.0.ffn.0.weight"].float(), atol=0.02)


@pytest.mark.parametrize("asked", [{"disable_dynamic": True}, {}], ids=["for hooks", "for a second GPU"])
def test_comfyui_can_make_a_second_copy_of_it(path, asked):
    model = load_expert(save(turbodiffusion.checkpoint(STATE), path), "default")
    factory, arguments = model.cached_patcher_init[:2]
    copy = factory(*arguments, **asked)
    assert type(copy) is comfy.model_patcher.ModelPatcher
    assert parameters(copy)["blocks.0.ffn.0.weight"].equal(parameters(model)["blocks.0.ffn.0.weight"])


def test_where_comfyui_takes_the_tensors_themselves_they_are_real(path, monkeypatch):
    import comfy.memory_management

    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", True)
    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcherDynamic)
    model = load_expert(save(turbodiffusion.checkpoint(STATE), path), "default")
    weight = parameters(model)["blocks.0.ffn.0.weight"]
    assert isinstance(weight, torch.Tensor)
    assert torch.allclose(weight.float(), STATE["blocks.0.ffn.0.weight"].float(), atol=0.01)


def test_the_loader_says_what_became_of_it(models, add_file, caplog):
    small = turbodiffusion.checkpoint(toy.expert(1, dtype=torch.bfloat16)) | {"optimizer.step": torch.zeros(1)}
    name = add_file("diffusion_models", "turbo_high_noise.safetensors", small)
    output = Loader.execute(name, toy.LOW, toy.TEXT_ENCODER, toy.VAE, "default")
    notes = [
        f"'{name}' stores 20 layers as int8 in blocks, which ComfyUI cannot compute with. They are converted to bf16 "
        "while loading, so the model takes as much memory as the file without int8.",
        f"'{name}' has tensors that no Wan model has. They are left out: optimizer.step.",
        f"'{name}' was trained for sparse attention (SLA) and the schedule rcm. Sparse Attention runs it so, and rCM "
        "Sampler's schedule auto. Without that node ComfyUI's attention is dense, which is slower, and the picture may "
        "differ a little.",
    ]
    assert output.ui.as_dict() == {"text": ("\n".join(notes),)}
    assert all(note in caplog.text for note in notes)
    json.dumps(output.ui.as_dict())


def test_a_pth_is_offered_and_loads_in_the_loader(models):
    import folder_paths

    state = turbodiffusion.checkpoint(toy.expert(1, dtype=torch.bfloat16))
    path = models / "diffusion_models" / "TurboWan2.2-I2V-A14B-high-720P-quant.pth"
    torch.save(state, path)
    folder_paths.filename_list_cache.clear()
    try:
        assert path.name in Loader.define_schema().inputs[0].options
        assert Loader.execute(path.name, toy.LOW, toy.TEXT_ENCODER, toy.VAE, "default").args[0].model is not None
    finally:
        path.unlink()
        folder_paths.filename_list_cache.clear()
