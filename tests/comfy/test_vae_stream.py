"""Decoding piece by piece, against `vae.decode` of the same ComfyUI, to the bit."""

import comfy.model_management
import comfy.model_patcher
import comfy.sd
import pytest
import torch
from pack.media import vae_stream
from pack.tests.toy.models import VAE, random_parameter, vae

pytestmark = pytest.mark.comfy


@pytest.fixture(scope="module")
def wan():
    """A narrow Wan 2.1 VAE."""
    return comfy.sd.VAE(sd=vae(4))


@pytest.fixture(scope="module")
def wan_2_2():
    """A narrow VAE of the architecture of Wan 2.2 5B, which unfolds its channels at the end."""
    from comfy.ldm.wan.vae2_2 import WanVAE

    decoder = comfy.sd.VAE(sd=vae(4))
    model = WanVAE(dim=8, dec_dim=8, z_dim=48, dim_mult=[1, 2, 4, 4], temperal_downsample=[False, True, True])
    generator = torch.Generator().manual_seed(5)
    state = {name: random_parameter(name, tuple(value.shape), generator) for name, value in model.state_dict().items()}
    state["decoder.head.2.weight"] *= 0.5
    model.load_state_dict(state)
    decoder.first_stage_model = model.eval()
    devices = decoder.patcher.load_device, decoder.patcher.offload_device
    decoder.patcher = comfy.model_patcher.ModelPatcher(decoder.first_stage_model, *devices)
    return decoder


def latent(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(6))


class Taken:
    """Collects what is handed over."""

    def __init__(self):
        self.pieces, self.restarts = [], 0

    def add(self, frames):
        self.pieces.append(frames.clone())

    def restart(self):
        self.pieces, self.restarts = [], self.restarts + 1

    def frames(self):
        return torch.cat(self.pieces)


def stream(decoder, samples):
    taken = Taken()
    with torch.inference_mode():
        vae_stream.decode(decoder, samples, taken.add, taken.restart)
    return taken


def whole(decoder, samples):
    with torch.inference_mode():
        images = decoder.decode(samples)
    return images.reshape(-1, *images.shape[-3:])


@pytest.mark.parametrize("times", [1, 2, 4])
def test_frames_are_those_of_the_whole_decode_to_the_bit(wan, times):
    samples = latent(1, 16, times, 4, 6)
    taken = stream(wan, samples)
    assert torch.equal(taken.frames(), whole(wan, samples))
    assert len(taken.frames()) == vae_stream.frame_count(samples)
    assert taken.restarts == 0
    assert max(map(len, taken.pieces)) <= 4  # of 21 at most: nobody holds all
    assert len(taken.pieces) >= times


def test_the_vae_of_wan_2_2_5b_too(wan_2_2):
    samples = latent(1, 48, 4, 3, 4)
    taken = stream(wan_2_2, samples)
    assert torch.equal(taken.frames(), whole(wan_2_2, samples))
    assert len(taken.pieces) == 4


def test_a_batch_is_decoded_clip_after_clip(wan):
    samples = latent(2, 16, 3, 4, 4)
    taken = stream(wan, samples)
    assert torch.equal(taken.frames(), torch.cat([whole(wan, samples[:1]), whole(wan, samples[1:])]))
    torch.testing.assert_close(taken.frames(), whole(wan, samples))


def test_the_vae_is_left_as_it_was(wan):
    stream(wan, latent(1, 16, 2, 4, 4))
    hooks = [module for module in wan.first_stage_model.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert hooks == []
    with pytest.raises(KeyboardInterrupt), torch.inference_mode():
        vae_stream.decode(wan, latent(1, 16, 2, 4, 4), interrupt, lambda: None)
    assert not wan.first_stage_model.decoder.head[-1]._forward_hooks


def interrupt(_frames):
    raise KeyboardInterrupt


def test_nan_in_the_frames_passes_as_it_does_in_comfyui(wan):
    samples = latent(1, 16, 2, 4, 4)
    samples[0, 0, 0, 0, 0] = torch.nan
    taken = stream(wan, samples)
    torch.testing.assert_close(taken.frames(), whole(wan, samples), rtol=0, atol=0, equal_nan=True)
    assert taken.restarts == 0


class OutOfMemoryOnce:
    """Fails as a full card does, at the n-th call of a layer; ComfyUI then decodes again in tiles."""

    def __init__(self, decoder, call, always=False):
        self.layer = decoder.first_stage_model.decoder.middle[0]
        self.call, self.calls, self.always = call, 0, always

    def __call__(self, *_):
        self.calls += 1
        if self.calls == self.call or (self.always and self.calls > self.call):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def __enter__(self):
        self.hook = self.layer.register_forward_pre_hook(self)
        return self

    def __exit__(self, *_):
        self.hook.remove()


@pytest.mark.parametrize("call", [1, 2])
def test_out_of_memory_is_tried_once_more_in_tiles(wan, call):
    samples = latent(1, 16, 3, 4, 4)
    with OutOfMemoryOnce(wan, call):
        taken = stream(wan, samples)
    assert taken.restarts == 1
    torch.testing.assert_close(taken.frames(), whole(wan, samples))


def test_out_of_memory_before_decoding_begins_gives_the_tiles_whole(wan, monkeypatch):
    samples = latent(1, 16, 2, 40, 40)  # more than one tile
    load = comfy.model_management.load_models_gpu
    calls = []

    def full_once(*arguments, **more):
        calls.append(1)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return load(*arguments, **more)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", full_once)
    taken = stream(wan, samples)
    with torch.inference_mode():
        tiled = wan.decode_tiled(samples, tile_x=32, tile_y=32, overlap=8)[0]
    assert taken.frames().shape == tiled.shape
    assert taken.frames().isfinite().all()
    assert (taken.frames() - tiled).abs().mean() < 0.05


def test_out_of_memory_twice_is_the_error_itself(wan):
    with OutOfMemoryOnce(wan, 2, always=True), pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
        stream(wan, latent(1, 16, 3, 4, 4))


def test_out_of_memory_in_the_second_clip_of_a_batch(wan):
    samples = latent(2, 16, 3, 4, 4)
    with OutOfMemoryOnce(wan, 4):
        taken = stream(wan, samples)
    torch.testing.assert_close(taken.frames(), whole(wan, samples))


def test_a_model_that_joins_its_pieces_otherwise_is_decoded_at_once(wan, caplog):
    samples = latent(1, 16, 3, 4, 4)
    decode = wan.first_stage_model.decode
    wan.first_stage_model.decode = lambda z: decode(z).flip(2)
    try:
        taken, expected = stream(wan, samples), whole(wan, samples)
    finally:
        del wan.first_stage_model.decode
    assert torch.equal(taken.frames(), expected)
    assert taken.restarts == 1
    assert "joins the pieces of this VAE in an unknown way" in caplog.text


def test_a_compiled_model_whose_hooks_do_not_run_is_decoded_at_once(wan, caplog):
    samples = latent(1, 16, 3, 4, 4)
    expected = whole(wan, samples)
    wan.first_stage_model.decode = lambda z: expected.movedim(-1, 0)[None] * 2 - 1
    try:
        taken = stream(wan, samples)
    finally:
        del wan.first_stage_model.decode
    torch.testing.assert_close(taken.frames(), expected)
    assert "not piece by piece" in caplog.text


def test_other_vaes_are_decoded_at_once_and_the_log_says_so(caplog):
    image_vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    samples = torch.rand(2, 3, 16, 16)
    taken = stream(image_vae, samples)
    assert torch.equal(taken.frames(), whole(image_vae, samples))
    assert "decodes all frames at once" in caplog.text


def test_toy_vae_is_the_class_that_comfyui_makes_of_the_real_file():
    assert VAE == "wan_2.1_vae.safetensors"
    assert vae_stream.can_stream(comfy.sd.VAE(sd=vae(4)), latent(1, 16, 2, 4, 4))
