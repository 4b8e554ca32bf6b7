"""What a LoRA changes reaches the sampler, whatever parameter it is, and leaves the model as it was."""

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import pytest
import torch
from pack.tests.toy import models as toy
from pack.tests.toy.changed import changed, distance, latent, own, value
from pack.tests.toy.loaded import apply_lora, load_expert
from pack.tests.toy.quantised import fp8_scaled
from safetensors.torch import save_file

import nodes

pytestmark = pytest.mark.comfy

NEAR = 1e-4  # of a latent's size
MODULATION = {"blocks.1.modulation": (1, 6, toy.DIM), "head.modulation": (1, 2, toy.DIM)}
OF_IMAGES = {  # of Wan 2.1 I2V and of Fun Control
    "ref_conv.weight": (toy.DIM, 16, 2, 2),
    "ref_conv.bias": (toy.DIM,),
    "img_emb.emb_pos": (1, 514, 1280),
    **{f"img_emb.proj.{n}.{part}": (1280,) for n in (0,) for part in ("weight", "bias")},
    **dict(toy.linear("img_emb.proj.1", 1280, 1280)),
    **dict(toy.linear("img_emb.proj.3", 1280, toy.DIM)),
    **{f"img_emb.proj.4.{part}": (toy.DIM,) for part in ("weight", "bias")},
    **{
        name: shape
        for layer in range(toy.LAYERS)
        for projection in "kv"
        for name, shape in toy.linear(f"blocks.{layer}.cross_attn.{projection}_img", toy.DIM, toy.DIM)
    },
    **{f"blocks.{layer}.cross_attn.norm_k_img.weight": (toy.DIM,) for layer in range(toy.LAYERS)},
}


def small(shape, seed):
    return 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(changes):
    """Returns a LoRA file of whole changes, in the names that ComfyUI knows as well."""
    names = {
        name: name.removesuffix(".weight") + ".diff"
        if not name.endswith(".bias")
        else name.removesuffix(".bias") + ".diff_b"
        for name in changes
    }
    return {f"diffusion_model.{names[name]}": change for name, change in changes.items()}


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    state = toy.expert(1)
    generator = torch.Generator().manual_seed(9)
    images = {name: toy.random_parameter(name, shape, generator) for name, shape in OF_IMAGES.items()}
    states = {
        "fp32": state,
        "fp8 scaled": fp8_scaled(toy.expert(1, dtype=torch.float16)),
        "e5m2 scaled": fp8_scaled(toy.expert(1, dtype=torch.float16), torch.float8_e5m2),
        "with an image encoder": state | images,
    }
    loaded = {}
    for kind, tensors in states.items():
        save_file(tensors, folder / f"{kind}.safetensors")
        loaded[kind] = load_expert(str(folder / f"{kind}.safetensors"), "default")
    return loaded


@pytest.fixture
def applied(tmp_path):
    def apply(model, changes, strength=1.0):
        save_file(whole(changes), tmp_path / "x.safetensors")
        return apply_lora(model, str(tmp_path / "x.safetensors"), strength)

    return apply


def parameters(model):
    return [name for name, _ in model.model.diffusion_model.named_parameters() if "scale" not in name]


@pytest.mark.parametrize("kind", ["fp32", "fp8 scaled", "e5m2 scaled", "with an image encoder"])
def test_every_parameter_that_is_counted_has_changed_when_the_model_is_loaded(experts, applied, kind):
    model = experts[kind]
    comfy.model_management.load_models_gpu([model])
    before = {name: value(model, name) for name in parameters(model)}
    changes = {name: small(before[name].shape, seed) for seed, name in enumerate(before)}
    found = applied(model, changes)
    assert (found.match.keys, found.match.unmatched, found.match.ignored) == (len(changes), [], [])
    comfy.model_management.load_models_gpu([found.model])
    for name, change in changes.items():
        packed = "Quantized" in type(getattr(*own(model, name))).__name__
        wanted = before[name] + change
        near = wanted.abs().max() / 4 if packed else 2**-9 * wanted.abs().max()
        assert (value(model, name) - wanted).abs().max() <= near, name
        assert (value(model, name) - before[name]).abs().max() > change.abs().max() / 2, name
    comfy.model_management.load_models_gpu([model])
    assert all(value(model, name).equal(before[name]) for name in changes)


@pytest.mark.parametrize("kind", ["fp32", "fp8 scaled", "e5m2 scaled"])
def test_every_parameter_is_sampled_with(experts, applied, kind):
    model = experts[kind]
    before = latent(model)
    changes = {name: small(value(model, name).shape, seed) / 5 for seed, name in enumerate(parameters(model))}
    with changed(model, changes):
        wanted = latent(model)
    assert distance(before, wanted) > 30 * NEAR
    assert distance(latent(applied(model, changes).model), wanted) < NEAR
    assert latent(model).equal(before)


MIXED = {"blocks.1.modulation": (1, 6, toy.DIM), "blocks.0.ffn.0.weight": (toy.FFN_DIM, toy.DIM)}


def sampled_with(model, *changes):
    total = {name: sum(each[name] for each in changes) for name in changes[0]} if changes else {}
    with changed(model, total):
        return latent(model)


@pytest.mark.parametrize("order", ["ours, core", "core, ours", "ours, core, ours", "core, ours, core"])
def test_ours_and_cores_add_up_in_any_order(experts, applied, add_lora, order):
    model = experts["fp32"]
    latent(model)
    patched, sums = model, []
    for seed, loader in enumerate(order.split(", ")):
        changes = {name: small(shape, 10 * seed + n) for n, (name, shape) in enumerate(MIXED.items())}
        sums.append({name: 0.5 * change for name, change in changes.items()})
        if loader == "ours":
            patched = applied(patched, changes, 0.5).model
        else:
            name = add_lora(f"core_{seed}.safetensors", whole(changes))
            patched = nodes.LoraLoaderModelOnly().load_lora_model_only(patched, name, 0.5)[0]
    assert distance(latent(patched), sampled_with(model, *sums)) < NEAR


def test_another_strength_another_clone_and_no_lora_each_give_their_own(experts, applied):
    model = experts["fp32"]
    before = latent(model)
    changes = {name: small(shape, seed) for seed, (name, shape) in enumerate(MODULATION.items())}
    by_strength = {strength: applied(model, changes, strength).model for strength in (1.0, -0.5)}
    wanted = {
        strength: sampled_with(model, {name: strength * change for name, change in changes.items()})
        for strength in by_strength
    }
    assert distance(wanted[1.0], wanted[-0.5]) > 30 * NEAR
    for strength in (1.0, 1.0, -0.5, 1.0):  # as of one graph, run again with a changed widget
        assert distance(latent(by_strength[strength].clone()), wanted[strength]) < NEAR
        assert distance(latent(by_strength[strength]), wanted[strength]) < NEAR
    assert latent(model).equal(before)
    comfy.model_management.unload_all_models()
    assert distance(latent(by_strength[1.0]), wanted[1.0]) < NEAR
    by_strength[1.0].detach()
    assert latent(model).equal(before)


def test_a_lora_without_such_parameters_leaves_the_patcher_as_it_was(high, models):
    patched = apply_lora(high, str(models / "loras" / toy.LORA_HIGH), 1.0).model
    assert patched.callbacks == high.callbacks
    twice = apply_lora(patched, str(models / "loras" / toy.LORA_LOW), 1.0).model
    assert twice.callbacks == high.callbacks


def test_a_model_that_is_only_partly_on_its_device_is_patched_too(experts, applied):
    model = experts["fp32"]
    comfy.model_management.unload_all_models()
    changes = {name: small(shape, seed) for seed, (name, shape) in enumerate({**MODULATION, **MIXED}.items())}
    before = {name: value(model, name) for name in changes}
    patched = applied(model, changes).model
    patched.patch_model(patched.load_device, lowvram_model_memory=400_000)
    try:
        assert patched.model.model_lowvram
        assert patched.lowvram_patch_counter() > 0
        for name in MODULATION:
            assert torch.allclose(value(model, name), before[name] + changes[name], atol=1e-6)
        patched.partially_unload(patched.offload_device, 100_000)
        patched.partially_load(patched.load_device, 100_000)
        for name in MODULATION:
            assert torch.allclose(value(model, name), before[name] + changes[name], atol=1e-6)
    finally:
        patched.detach()
    assert all(value(model, name).equal(before[name]) for name in before)


def as_dynamic(patcher):
    """Makes a patcher one that loads dynamically, which ComfyUI makes for a GPU only, without memory of a GPU."""
    patcher.__class__ = comfy.model_patcher.ModelPatcherDynamic
    patcher.model.dynamic_vbars = {}
    patcher.model.dynamic_pins = {patcher.load_device: {"hostbufs_initialized": True, "failed": False, "active": False}}
    patcher.model.dynamic_patchers = {0}  # keeps the pins, of which there are none, from being let go
    patcher.non_dynamic_delegate_model = None
    return patcher


RESTORES = hasattr(comfy.model_patcher.ModelPatcherDynamic, "restore_loaded_backups")


@pytest.mark.skipif(not RESTORES, reason="This ComfyUI's dynamic patcher does not restore, so they are not applied")
def test_a_model_that_loads_dynamically_is_patched_too(tmp_path, applied, monkeypatch):
    save_file(toy.expert(1), tmp_path / "expert.safetensors")
    model = load_expert(str(tmp_path / "expert.safetensors"), "default")
    changes = {name: small(shape, seed) for seed, (name, shape) in enumerate(MODULATION.items())}
    before = {name: value(model, name) for name in changes}
    patched = as_dynamic(applied(model, changes).model)
    device = patched.load_device
    monkeypatch.setattr(patched, "partially_unload_ram", lambda *_, **__: 0)
    for _ in range(2):  # each run loads it anew
        patched.partially_load(device)
        assert patched.model.current_weight_patches_uuid == patched.patches_uuid
        for name in changes:
            assert torch.allclose(value(model, name), before[name] + changes[name], atol=1e-6)
        patched.restore_loaded_backups()  # as when the memory is needed
        assert all(value(model, name).equal(before[name]) for name in changes)


def test_where_a_dynamic_patcher_would_not_restore_them_they_count_as_not_applied(high, applied, monkeypatch):
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "is_dynamic", lambda _: True)  # of the older kind
    changes = {name: small(shape, seed) for seed, (name, shape) in enumerate({**MODULATION, **MIXED}.items())}
    found = applied(high, changes)
    assert (found.match.matched, found.match.keys) == (1, 1)
    assert found.match.unmatched == ["diffusion_model.blocks.1.modulation.diff", "diffusion_model.head.modulation.diff"]
    assert [name for name, patches in found.model.patches.items() if patches] == [
        "diffusion_model.blocks.0.ffn.0.weight"
    ]
    assert found.model.callbacks == high.callbacks
