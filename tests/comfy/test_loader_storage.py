"""Load Wan 2.2 I2V and how files store their weights: prefixes, scales, bytes beyond the end, damage."""

import json

import folder_paths
import pytest
import torch
from pack.tests.toy import models as toy
from pack.tests.toy import quantised
from pack.tests.toy.loaded import load_expert
from pack.tests.toy.loader_node import load
from pack.weights import loading
from pack.weights.formats.model_file import open_model
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy


@pytest.mark.parametrize(
    ("chosen", "dtype"), [("fp8_e4m3fn", torch.float8_e4m3fn), ("fp8_e5m2", torch.float8_e5m2), ("default", None)]
)
@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_an_ordinary_expert_is_stored_as_chosen(add_file, chosen, dtype, prefix):
    state = toy.expert(1, dtype=torch.bfloat16)
    name = add_file("diffusion_models", "plain_high.safetensors", {prefix + key: each for key, each in state.items()})
    for expert in load(high_noise=name, low_noise=name, weight_dtype=chosen).args[:2]:
        stored = expert.model.diffusion_model.blocks[0].ffn[0].weight.dtype
        assert stored == dtype if dtype else stored not in (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", "model.", "model.model.", "net."])
def test_an_expert_saved_with_a_prefix_loads(add_file, prefix):
    state = toy.expert(1)
    name = add_file("diffusion_models", "saved_high.safetensors", {prefix + key: value for key, value in state.items()})
    loaded = load(high_noise=name)[0].model.state_dict()
    assert all(loaded[f"diffusion_model.{key}"].equal(value) for key, value in state.items())


def marked(state, how, prefix=""):
    """Returns an expert in scaled fp8 with today's names and a prefix, and its metadata; how it is marked, differs."""
    scaled = quantised.fp8_scaled(state)
    del scaled["scaled_fp8"]
    scaled = {prefix + name.replace(".scale_weight", ".weight_scale"): tensor for name, tensor in scaled.items()}
    layers = [name.removesuffix(".weight_scale") for name in scaled if name.endswith(".weight_scale")]
    settings = {"format": "float8_e4m3fn"}
    if how == "metadata":
        return scaled, {"_quantization_metadata": json.dumps({"layers": dict.fromkeys(layers, settings)})}
    text = torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)
    return scaled | {f"{layer}.comfy_quant": text.clone() for layer in layers if how == "tensors"}, None


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
@pytest.mark.parametrize("how", ["metadata", "tensors"])
def test_scales_are_applied_however_the_file_names_its_layers(tmp_path, how, prefix):
    state = toy.expert(1, dtype=torch.bfloat16)
    scaled, metadata = marked(state, how, prefix)
    path = tmp_path / "scaled_high.safetensors"
    save_file(scaled, path, metadata)
    weight = load_expert(str(path), "default").model.diffusion_model.blocks[0].ffn[0].weight.data
    assert torch.allclose(weight.dequantize().float(), state["blocks.0.ffn.0.weight"].float(), atol=0.02)


def test_scales_that_comfyui_would_leave_out_are_refused(tmp_path):
    path = tmp_path / "rows_high.safetensors"
    save_file(marked(toy.expert(1, dtype=torch.bfloat16), "not at all")[0], path)
    with pytest.raises(
        ValueError, match=r"^'rows_high\.safetensors' stores scales in a way that ComfyUI does not apply"
    ):
        load_expert(str(path), "default")


def test_a_text_encoder_with_scales_that_comfyui_would_leave_out_is_refused(tmp_path):
    state, name = toy.text_encoder(1), "encoder.block.0.layer.0.SelfAttention.q"
    state |= {f"{name}.weight": state[f"{name}.weight"].to(torch.float8_e4m3fn), f"{name}.weight_scale": torch.ones(())}
    save_file(state, tmp_path / "umt5.safetensors")
    with pytest.raises(ValueError, match=r"^'umt5\.safetensors' stores scales in a way that ComfyUI does not apply"):
        loading.load_text_encoder(open_model(str(tmp_path / "umt5.safetensors")))


def test_a_pytorch_file_that_holds_more_than_its_tensors_loads(models):
    path = models / "diffusion_models" / "more_high_noise.pth"
    torch.save({**toy.expert(1), 5: "x", ("a", "b"): 1}, path)
    folder_paths.filename_list_cache.clear()
    try:
        weights = load(high_noise=path.name)[0].model.state_dict()
    finally:
        path.unlink()
        folder_paths.filename_list_cache.clear()
    assert weights["diffusion_model.head.head.weight"].equal(toy.expert(1)["head.head.weight"])


def add_bytes(path):
    with path.open("ab") as file:
        file.write(b"\0" * 16)


def test_files_with_bytes_after_their_last_tensor_load(models, add_file):
    names = {
        "high_noise": add_file("diffusion_models", "spare_high_noise.safetensors", toy.expert(1)),
        "text_encoder": add_file("text_encoders", "spare_umt5.safetensors", toy.text_encoder(3)),
        "vae": add_file("vae", "spare_vae.safetensors", toy.vae(4)),
    }
    for slot, folder in (("high_noise", "diffusion_models"), ("text_encoder", "text_encoders"), ("vae", "vae")):
        add_bytes(models / folder / names[slot])
    high, _, clip, vae = load(**names).args
    whole = load().args
    for ours, theirs in ((high.model, whole[0].model), (clip.patcher.model, whole[2].patcher.model)):
        weights = theirs.state_dict()
        assert all(value.equal(weights[name]) for name, value in ours.state_dict().items())
    assert vae.patcher.model.state_dict()["conv1.weight"].equal(whole[3].patcher.model.state_dict()["conv1.weight"])


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_e5m2_with_the_older_mark_is_read_as_it_is_stored(tmp_path, prefix):
    state = toy.expert(1, dtype=torch.bfloat16)
    path = tmp_path / "e5m2_high.safetensors"
    scaled = quantised.fp8_scaled(state, torch.float8_e5m2)
    save_file({prefix + name: tensor for name, tensor in scaled.items()}, path)
    weights = load_expert(str(path), "default").model.diffusion_model.blocks
    for module, name in ((weights[0].ffn[0], "blocks.0.ffn.0"), (weights[1].self_attn.q, "blocks.1.self_attn.q")):
        stored, wanted = module.weight.data.dequantize().float(), state[f"{name}.weight"].float()
        assert torch.allclose(stored, wanted, rtol=2**-3 * 1.05, atol=1e-4)


def test_a_text_encoder_with_scales_is_read_with_them(tmp_path):
    state = toy.text_encoder(3)
    name = "encoder.block.0.layer.1.DenseReluDense.wi_0"
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        scale = state[f"{name}.weight"].float().abs().max() / torch.finfo(dtype).max
        scaled = {f"{name}.weight": (state[f"{name}.weight"].float() / scale).to(dtype), f"{name}.scale_weight": scale}
        save_file(state | scaled | {"scaled_fp8": torch.zeros(2, dtype=dtype)}, tmp_path / "umt5.safetensors")
        clip = loading.load_text_encoder(open_model(str(tmp_path / "umt5.safetensors")))
        block = clip.cond_stage_model.umt5xxl.transformer.encoder.block[0]
        stored = block.layer[1].DenseReluDense.wi_0.weight.data.dequantize().float()
        assert torch.allclose(stored, state[f"{name}.weight"].float(), rtol=2**-3 * 1.05, atol=1e-3)


def low_file(models, add_file, changes, metadata=None):
    return add_file("diffusion_models", "odd_low_noise.safetensors", toy.expert(2) | changes, metadata)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks.1.norm3.bias": torch.full((toy.DIM,), torch.nan)}, "holds NaN or infinity in blocks.1.norm3.bias"),
        (
            {"blocks.1.ffn.0.weight_scale_inv": torch.ones(2, 1)}
            | {"blocks.1.ffn.0.weight": torch.ones(toy.FFN_DIM, toy.DIM).to(torch.float8_e4m3fn)},
            "stores scales in a way that ComfyUI does not apply, for example of the layer blocks.1.ffn.0",
        ),
    ],
)
def test_a_damaged_low_noise_file_is_refused_before_the_high_noise_file_is_loaded(
    models, add_file, monkeypatch, changes, message
):
    loaded = []
    original = loading.load_expert
    monkeypatch.setattr(loading, "load_expert", lambda path, *rest: loaded.append(path) or original(path, *rest))
    with pytest.raises(ValueError, match=f"'odd_low_noise.safetensors' {message}"):
        load(low_noise=low_file(models, add_file, changes))
    assert loaded == []


def test_a_vae_with_one_nan_is_refused(add_file):
    state = toy.vae(4)
    state["decoder.head.2.weight"] = state["decoder.head.2.weight"].clone()
    state["decoder.head.2.weight"][0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"'x.safetensors' holds NaN or infinity in decoder\.head\.2\.weight"):
        load(vae=add_file("vae", "x.safetensors", state))


def test_a_vae_with_scales_is_refused(add_file):
    name = add_file("vae", "x.safetensors", toy.vae(4) | {"decoder.conv1.weight_scale": torch.ones(())})
    with pytest.raises(ValueError, match=r"'x.safetensors' is a VAE whose weights are numbers with scales"):
        load(vae=name)
