"""The tiny VAE: what it is trained as, its start, its losses, and the file that ComfyUI loads."""

import pytest
import torch
from pack.tiny import vae, vae_training
from safetensors.torch import load_file, save_file


@pytest.fixture
def model():
    """A VAE in which every layer does something."""
    made = vae.new_vae(8, seed=1)
    random = torch.Generator().manual_seed(2)
    for value in made.parameters():
        value.data.add_(0.02 * torch.randn(value.shape, generator=random))
    return made


@pytest.mark.parametrize("frames", [1, 5, 9, 13])
def test_a_clip_in_one_piece_comes_out_as_comfyui_makes_it_in_several(model, frames):
    clip = torch.rand(1, 3, frames, 32, 48, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        latent, _ = vae.encode(model, clip)
        torch.testing.assert_close(latent, model.encode(clip), atol=2e-5, rtol=0)
        torch.testing.assert_close(vae.decode(model, latent), model.decode(latent), atol=2e-5, rtol=0)


def test_the_start_passes_on_what_it_gets_through_every_block():
    started = vae.new_vae(8, seed=1)
    x = torch.rand(1, 32, 2, 4, 4)
    for block in (*started.encoder.middle, *started.decoder.middle):
        torch.testing.assert_close(block(x), x)


def test_the_loss_is_the_sum_of_its_parts_and_changes_are_those_of_neighbours(model):
    clips = torch.rand(2, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad():
        parts = vae_training.losses_of(model, clips, torch.Generator().manual_seed(4))
        picture = vae_training.losses_of(model, clips[:, :, :1], torch.Generator().manual_seed(4))
    whole = parts["l1"] + 2 * parts["l2"] + vae_training.CHANGES * parts["changes"] + vae.KL * parts["kl"]
    torch.testing.assert_close(parts["loss"], whole)
    assert parts["changes"] > 0
    assert picture["changes"] == 0


def test_frames_are_told_apart_only_if_they_come_back_in_their_order():
    true = torch.rand(3, 9, 8, 8, generator=torch.Generator().manual_seed(5))
    assert all(vae_training.told_apart(true, true))
    alike = true.clone()
    alike[:, 1:5] = true[:, 1:5].mean(1, keepdim=True)
    assert sum(vae_training.told_apart(alike, true)[:4]) == 1


def test_comfyui_loads_the_file_and_finds_wans_statistics_in_its_latents(model, tmp_path):
    import comfy.sd
    from comfy.latent_formats import Wan21

    clips = torch.rand(4, 3, 5, 32, 32, generator=torch.Generator().manual_seed(6)) * 2 - 1
    with torch.no_grad():
        latents, _ = vae.encode(model, clips)
        seen = vae.decode(model, latents)
    mean, deviation = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    state = {name: value.float() for name, value in vae.file_state(model, mean, deviation).items()}
    save_file(state, tmp_path / "vae.safetensors")
    loaded = comfy.sd.VAE(load_file(tmp_path / "vae.safetensors"))
    with torch.no_grad():
        raw = loaded.first_stage_model.float().encode(clips)
        back = loaded.first_stage_model.decode(raw)
    normal = Wan21().process_in(raw)
    torch.testing.assert_close(normal.mean((0, 2, 3, 4)), torch.zeros(16), atol=0.05, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3, 4)), torch.ones(16), atol=0.05, rtol=0)
    assert (back - seen).abs().mean() < 0.02 * seen.abs().mean() + 0.01  # bfloat16


def test_the_norm_in_one_pass_is_comfyuis():
    from comfy.ldm.wan.vae import RMS_norm
    from pack.tiny.quick import _normed

    norm = RMS_norm(8, images=False)
    norm.gamma.data.uniform_(0.5, 2)
    x = torch.randn(2, 8, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(_normed(x, norm.gamma), norm(x))
