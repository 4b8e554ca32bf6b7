"""The tiny experts and their captions: what they start as, what they are taught, and what they are given."""

import pytest
import torch
from pack.tiny import experts, text, vae
from pack.tiny.latents import FULL, SMALL, Latents, Sample, Size, conditioning
from pack.weights.formats.model_file import open_model
from pack.weights.loading import load_text_encoder
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """ComfyUI's text encoder, as this pack loads it from its file."""
    path = tmp_path_factory.mktemp("text") / "umt5.safetensors"
    save_file(text.text_state(seed=1), path)
    return load_text_encoder(open_model(path))


def given(count=2):
    random = torch.Generator().manual_seed(1)
    context = torch.zeros(count, 512, 4096)
    context[0, :9], context[1, :4] = torch.randn(9, 4096, generator=random), torch.randn(4, 4096, generator=random)
    shape = (3, 4, 6)
    return Sample(
        torch.randn(count, 16, *shape, generator=random), torch.randn(count, 20, *shape, generator=random), context
    )


@pytest.fixture
def model():
    """An expert in which every layer does something."""
    made = experts.new_expert(1)
    random = torch.Generator().manual_seed(2)
    for value in made.parameters():
        value.data.add_(0.05 * torch.randn(value.shape, generator=random))
    return made


def test_every_word_of_the_captions_is_one_token_and_its_neighbours_change_it(clip):
    words = [word for word in text.vocabulary() if word.isalpha()]
    assert len(words) > 40
    assert all(len(text.context_of(clip, word)) == 2 for word in words)  # the word and the end
    one, other = (text.context_of(clip, said) for said in ("red disc grows", "red square grows"))
    assert len(one) == 4
    assert 0.1 < (one[0] - other[0]).norm() / one[0].norm() < 0.9  # "red" of a disc, of a square
    assert (one[0] - one[1]).norm() / one[0].norm() > 1


def test_an_expert_starts_with_no_velocity_and_its_loss_is_that_of_noise_and_latent():
    made, sample = experts.new_expert(1), given()
    noise = torch.randn(sample.latent.shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        loss = experts.flow_loss(made, sample, noise, torch.tensor([0.3, 0.95]))
    torch.testing.assert_close(loss, (noise - sample.latent).square().mean())


def test_short_captions_give_what_whole_ones_do(model):
    sample, sigma = given(), torch.tensor([0.3, 0.95])
    with torch.no_grad():
        whole = model(torch.cat([sample.latent, sample.known], 1), 1000 * sigma, sample.context)
        short = experts.velocity(model, sample.latent, sigma, sample)
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-4)


def test_every_parameter_learns(model):
    sample = given()
    noise = torch.randn(sample.latent.shape, generator=torch.Generator().manual_seed(3))
    with experts.learning():
        experts.flow_loss(model, sample, noise, torch.tensor([0.3, 0.95])).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_the_experts_share_the_sigmas_at_the_boundary():
    uniform = torch.linspace(0, 1, 101)
    high, low = experts.sigmas_of(uniform, True), experts.sigmas_of(uniform, False)
    assert (high >= experts.BOUNDARY - 1e-6).all()
    assert (low <= experts.BOUNDARY + 1e-6).all()
    assert (high[0].item(), high[-1].item(), low[0].item()) == pytest.approx((0.9, 1.0, 0.0))


def test_sampling_with_the_true_velocity_ends_at_the_latent_and_guidance_goes_beyond():
    class Straight(torch.nn.Module):
        """Knows the latent: that of the caption's first feature."""

        def forward(self, x, time, context, **_):
            latent = context[:, 0, 0].view(-1, 1, 1, 1, 1)
            return (x[:, :16] - latent) / (time / 1000).view(-1, 1, 1, 1, 1)

    sample = given()
    empty = sample._replace(context=torch.zeros_like(sample.context))
    noise, sigmas = torch.randn(sample.latent.shape), torch.tensor([1.0, 0.95, 0.5, 0.0])
    latent = sample.context[:, 0, 0].view(-1, 1, 1, 1, 1).expand_as(noise)
    for guidance in (1.0, 2.0):
        ended = experts.sample((Straight(), Straight()), sample, empty, sigmas, noise, guidance)
        torch.testing.assert_close(ended, guidance * latent, atol=1e-4, rtol=1e-4)


def test_conditioning_is_what_the_node_and_the_model_make_of_a_picture():
    import comfy.model_base
    import comfy.supported_models
    from comfy.sd import VAE
    from comfy_extras.nodes_wan import WanImageToVideo

    made = vae.new_vae(8, seed=1)
    state = vae.file_state(made, torch.zeros(16), torch.ones(16))
    loaded = VAE({name: value.float() for name, value in state.items()})
    picture = torch.rand(1, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    said = [[torch.zeros(1, 1, 4096), {}]]
    out = WanImageToVideo.execute(said, said, loaded, 48, 32, 9, 1, start_image=picture)
    values = out.args[0][0][1]
    config = comfy.supported_models.WAN21_T2V({"image_model": "wan2.1", "model_type": "t2v", "in_dim": 36, "dim": 128,
        "num_heads": 1, "ffn_dim": 256, "num_layers": 1, "out_dim": 16})  # fmt: skip
    base = comfy.model_base.WAN21(config, image_to_video=False, device="cpu")
    theirs = base.concat_cond(
        noise=torch.zeros(1, 16, 3, 4, 6),
        device="cpu",
        **{name: values[name] for name in ("concat_latent_image", "concat_mask")},
    )
    ours = conditioning(loaded.first_stage_model, picture.movedim(-1, 1) * 2 - 1, 9)
    assert torch.equal(ours[:, :4], theirs[:, :4].float())
    assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()  # bfloat16


def test_scenes_are_made_once_and_captions_are_left_out_where_that_is_asked(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("pack.tiny.latents.SHARD", 2)
    size = Size(64, 48, 5)
    model = vae.new_vae(8, seed=1)
    first = Latents(tmp_path, model, clip, size).batch([0, 3], [False, True])
    assert [tuple(value.shape) for value in first] == [(2, 16, 2, 6, 8), (2, 20, 2, 6, 8), (2, 512, 4096)]
    assert (first.context[0] != 0).any(-1).sum() > 2
    assert (first.context[1] != 0).any(-1).sum() == 1  # the end of a caption of no words
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 2
    again = Latents(tmp_path, model, clip, size)
    again.vae = again.text = None  # nothing is left to be made
    for one, two in zip(first, again.batch([0, 3], [False, True]), strict=True):
        assert torch.equal(one, two)
    assert SMALL.width * 2 == FULL.width
