"""Load Wan 2.2 I2V: the right files load, the wrong ones are named."""

import json
import os
from pathlib import Path

import comfy.sd
import folder_paths
import pytest
import torch
from pack.nodes.loader import Loader
from pack.tests.toy import models as toy
from pack.tests.toy import quantised
from pack.tests.toy.loaded import load_expert
from pack.weights import loading
from pack.weights.checks import vae_tensors
from pack.weights.formats import model_file
from pack.weights.formats.model_file import open_model
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy

FILES = {"high_noise": toy.HIGH, "low_noise": toy.LOW, "text_encoder": toy.TEXT_ENCODER, "vae": toy.VAE}


def load(**changes):
    return Loader.execute(**{**FILES, "weight_dtype": "default", **changes})


def test_loads_both_experts_text_encoder_and_vae(models):
    high, low, clip, vae = load().args
    weight = "diffusion_model.head.head.weight"
    assert not high.model.state_dict()[weight].equal(low.model.state_dict()[weight])
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize("A cat turns its head. 一只猫"))
    assert conditioning[0][0].shape == (1, 512, 4096)
    assert conditioning[0][0].isfinite().all()
    assert vae.latent_channels == 16
    assert vae.encode(torch.rand(1, 32, 32, 3)).shape == (1, 16, 1, 4, 4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"in_dim": 16},
            "is Wan T2V .16 input channels.: it takes no start image. Choose a Wan 2.2 I2V A14B high-noise",
        ),
        ({"in_dim": 48, "out_dim": 48}, "is Wan 2.2 TI2V 5B .48 input channels.: it is one small model"),
        ({"img_emb": True}, "is Wan 2.1 I2V .36 input channels.: it is one model instead of two experts"),
    ],
    ids=["t2v", "5b", "wan2.1"],
)
def test_names_an_expert_of_another_model(add_file, state, message):
    image_encoder = state.pop("img_emb", False)
    tensors = toy.expert(1, **state)
    if image_encoder:
        tensors["img_emb.proj.0.bias"] = torch.zeros(1280)
    name = add_file("diffusion_models", "wrong.safetensors", tensors)
    with pytest.raises(ValueError, match=f"'wrong.safetensors' {message}"):
        load(high_noise=name)


def test_the_same_file_for_both_experts_is_loaded_once_and_said(models, caplog):
    high, low, _, _ = load(low_noise=toy.HIGH).args
    assert high is low
    assert f"Both experts are the same file, '{toy.HIGH}'" in caplog.text


def test_each_file_is_listed_once(models, monkeypatch):
    listed, read = [], model_file.read_safetensors

    def note(file, size):
        listed.append(Path(file.name).name)
        return read(file, size)

    monkeypatch.setattr(model_file, "read_safetensors", note)
    load(low_noise=toy.HIGH)
    assert listed == [toy.HIGH, toy.TEXT_ENCODER, toy.VAE]


def test_swapped_experts_are_said(models, caplog):
    load(high_noise=toy.LOW, low_noise=toy.HIGH)
    assert "Check that the two experts are not swapped" in caplog.text


@pytest.mark.parametrize(
    ("slot", "folder"), [("high_noise", "diffusion_models"), ("vae", "vae"), ("text_encoder", "text_encoders")]
)
def test_a_missing_file_is_named_before_the_run(models, slot, folder):
    answer = Loader.validate_inputs(**{**FILES, slot: "missing_file.safetensors"})
    assert isinstance(answer, str)
    assert answer.startswith(f"{slot}: 'missing_file.safetensors' is not in ComfyUI's folder '{folder}'.")


def test_every_missing_file_is_named_at_once(models):
    answer = Loader.validate_inputs(**dict.fromkeys(FILES, "gone.safetensors"))
    assert isinstance(answer, str)
    assert all(f"{slot}: 'gone.safetensors' is not in" in answer for slot in FILES)


def test_a_linked_name_is_checked_when_it_is_known(models):
    assert Loader.validate_inputs(**{**FILES, "vae": None}) is True


def test_files_of_another_machine_are_found_by_their_names(models):
    foreign = {slot: f"wan\\2.2\\{name.upper()}" for slot, name in FILES.items()}
    assert Loader.validate_inputs(**foreign) is True
    assert load(**foreign)[3].latent_channels == 16


def test_the_wrong_expert_is_never_substituted(models):
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "wan2.2_i2v_high_noise_14B_fp16.safetensors"})
    assert isinstance(answer, str)
    assert toy.LOW not in answer


def test_a_name_that_tells_no_expert_does_not_bring_the_other_one(add_file):
    add_file("diffusion_models", "low_noise/model.safetensors", toy.expert(1))
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "model.safetensors"})
    assert isinstance(answer, str)
    assert answer.startswith("high_noise: 'model.safetensors' is not in ComfyUI's folder 'diffusion_models'.")
    assert Loader.validate_inputs(**{**FILES, "low_noise": "model.safetensors"}) is True


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("high_noise_model/diffusion_pytorch_model.safetensors", "low_noise_model/diffusion_pytorch_model.safetensors"),
        ("mix_H.safetensors", "mix_L.safetensors"),
    ],
)
def test_a_swap_that_only_folders_or_letters_tell_is_said(add_file, caplog, high, low):
    for name in (high, low):
        add_file("diffusion_models", name, toy.expert(1))
    load(high_noise=high, low_noise=low)
    assert "swapped" not in caplog.text
    load(high_noise=low, low_noise=high)
    assert caplog.text.count("Check that the two experts are not swapped") == 2


def test_a_name_with_spaces_and_chinese_characters_loads(add_file):
    name = add_file("diffusion_models", "我的 模型 high_noise.safetensors", toy.expert(1))
    assert load(high_noise=name)[0].model is not None


def test_the_vae_of_the_5b_model_is_refused(add_file):
    state = toy.vae(1)
    state["decoder.upsamples.0.upsamples.0.residual.2.weight"] = torch.zeros(1)
    name = add_file("vae", "wan2.2_vae.safetensors", state)
    with pytest.raises(ValueError, match=r"'wan2.2_vae.safetensors' is the VAE of Wan 2.2 TI2V 5B.*Choose wan_2.1_vae"):
        load(vae=name)


def test_the_tensors_of_the_vae_are_those_that_comfyui_has():
    assert set(vae_tensors()) == set(toy.vae(1))


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


def test_a_truncated_download_is_named(add_file, models):
    name = add_file("diffusion_models", "cut_high_noise.safetensors", toy.expert(1))
    path = models / "diffusion_models" / name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match=r"'cut_high_noise.safetensors' is not a whole safetensors file: .*Download it again"
    ):
        load(high_noise=name)


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


def test_a_gguf_file_is_named_with_the_node_for_it(models):
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "wan\\Wan2.2-I2V-A14B-HighNoise-Q4_K_M.GGUF"})
    assert answer == (
        "high_noise: 'Wan2.2-I2V-A14B-HighNoise-Q4_K_M.GGUF' is a GGUF file, which this node does not read. "
        "Load it with a GGUF loader node, and connect its MODEL where this node's went: to Load LoRA, else the sampler."
    )


@pytest.mark.parametrize(
    ("slot", "remedy"),
    [
        ("text_encoder", "Load it with a GGUF loader node for CLIP, and connect its CLIP to CLIP Text Encode."),
        ("vae", "Choose wan_2.1_vae.safetensors."),
    ],
)
def test_a_gguf_file_in_another_input_is_named_with_what_helps_there(models, slot, remedy):
    answer = Loader.validate_inputs(**{**FILES, slot: "x.gguf"})
    assert answer == f"{slot}: 'x.gguf' is a GGUF file, which this node does not read. {remedy}"


@pytest.fixture
def outside(models, tmp_path):
    """A good expert outside of all model folders."""
    path = tmp_path / "elsewhere_high_noise.safetensors"
    save_file(toy.expert(1), path)
    yield path
    (models / "diffusion_models" / "linked_high_noise.safetensors").unlink(missing_ok=True)
    folder_paths.filename_list_cache.clear()


def test_a_name_leads_to_no_file_outside_the_model_folders(models, outside):
    way = os.path.relpath(outside, models / "diffusion_models")
    assert (models / "diffusion_models" / way).is_file()
    for name in (way, way.replace("/", "\\"), str(outside)):
        answer = Loader.validate_inputs(**{**FILES, "high_noise": name})
        assert isinstance(answer, str)
        assert "'elsewhere_high_noise.safetensors' is not in ComfyUI's folder 'diffusion_models'." in answer
        assert str(outside.parent) not in answer


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_link_that_the_owner_put_into_a_model_folder_is_followed(models, outside):
    (models / "diffusion_models" / "linked_high_noise.safetensors").symlink_to(outside)
    folder_paths.filename_list_cache.clear()
    assert load(high_noise="linked_high_noise.safetensors")[0].model is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps links for administrators")
def test_a_link_to_nothing_is_said(models, outside):
    (models / "diffusion_models" / "linked_high_noise.safetensors").symlink_to(outside.parent / "gone.safetensors")
    folder_paths.filename_list_cache.clear()
    answer = Loader.validate_inputs(**{**FILES, "high_noise": "linked_high_noise.safetensors"})
    assert answer == (
        "high_noise: 'linked_high_noise.safetensors' is listed in ComfyUI's folder 'diffusion_models', but is no file, "
        "or a link to one that is gone. Refresh the page and choose another file."
    )


def test_a_swap_is_said_on_the_node(models):
    output = Loader.execute(**{**FILES, "high_noise": toy.LOW, "low_noise": toy.HIGH, "weight_dtype": "default"})
    (text,) = output.ui.as_dict()["text"]
    assert text.splitlines() == [
        f"'{toy.LOW}' is in the input high_noise, but its name says that it is the low-noise expert. "
        "Check that the two experts are not swapped.",
        f"'{toy.HIGH}' is in the input low_noise, but its name says that it is the high-noise expert. "
        "Check that the two experts are not swapped.",
    ]


def test_right_files_say_nothing_on_the_node(models):
    assert Loader.execute(**{**FILES, "weight_dtype": "default"}).ui is None


def test_a_vae_that_runs_on_another_device_can_be_copied(models):
    patcher = load()[3].patcher
    if hasattr(comfy.sd, "load_vae_patcher"):
        factory, arguments = patcher.cached_patcher_init
        assert factory(*arguments).model.state_dict().keys() == patcher.model.state_dict().keys()


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
