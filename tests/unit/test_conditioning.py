"""What is said of conditioning and latents that do not belong together, before anything is sampled."""

import logging

import pytest
import torch
from pack.samplers import conditioning

LATENT = torch.zeros(1, 16, 5, 30, 52)  # 17 frames of 416x240


def cond(width=4096, picture=LATENT, **more):
    held = {} if picture is None else {"concat_latent_image": picture}
    return {"cross_attn": torch.zeros(1, 77, width), **held, **more}


def check(conds, latent=LATENT, name="positive"):
    conditioning.check_latent(latent)
    conditioning.check_text(name, conds, 4096)
    conditioning.check_picture(name, conds, latent)


def refused(conds, latent=LATENT, name="positive"):
    with pytest.raises(ValueError, match=r"\.") as caught:
        check(conds, latent, name)
    return str(caught.value)


@pytest.mark.parametrize(
    "conds",
    [
        [cond()],
        [cond(start_percent=0.0, end_percent=0.5), cond(start_percent=0.5, end_percent=1.0)],  # a prompt in two parts
        [cond(area=(1, 10, 20, 0, 0), strength=0.8), cond(mask=torch.ones(1, 30, 52), mask_strength=1.0)],  # regions
        [cond(hooks=object(), gligen=("position", object(), []), pooled_output=None)],
        [cond(concat_mask=torch.ones(1, 1, 20, 30, 52), clip_vision_output=None)],
        [cond(picture=LATENT.repeat(2, 1, 1, 1, 1))],  # of a batch
        [cond(picture=None, model_conds={"c_concat": object()})],  # the picture came in another pack's way
    ],
)
def test_what_works_is_not_refused(conds, caplog):
    check(conds)
    assert not caplog.records


@pytest.mark.parametrize("name", ["positive", "negative"])
def test_conditioning_without_a_start_picture_is_refused(name):
    assert refused([cond(picture=None)], name=name) == (
        f"Wan 2.2 I2V makes a clip of a start picture, and {name} holds none, so the clip would have nothing to do "
        "with your picture. Put Image to Video Latent between CLIP Text Encode and the sampler."
    )


def test_a_clip_that_is_worked_on_again_needs_no_picture_but_it_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        check([cond(picture=None)], torch.ones_like(LATENT))
    assert caplog.messages == ["positive: 1 of 1 prompts hold no start picture, and ignore it."]


def test_one_of_two_prompts_without_a_picture_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        check([cond(), cond(picture=None)])
    assert caplog.messages == ["positive: 1 of 2 prompts hold no start picture, and ignore it."]


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (768, "have 768, as CLIP-L gives"),
        (2560, "have 2560, as Qwen3 4B gives"),
        (5000, "have 5000."),
        (4095, "have 4095."),
    ],
)
def test_words_of_another_text_encoder_are_named(width, said):
    message = refused([cond(), cond(width)], name="negative")
    assert message.startswith("negative must come from the text encoder umT5-XXL, which gives 4096 numbers per word; ")
    assert said in message
    assert message.endswith("or of Load CLIP with a umT5-XXL file and type wan.")


@pytest.mark.parametrize("name", ["positive", "negative"])
def test_words_of_an_encoder_as_wide_are_known_by_what_comes_with_them(name):
    """T5-XXL of Flux and SD3, and HunyuanVideo's Llama, give 4096 numbers per word too, and CLIP-L's beside them."""
    message = refused([cond(), cond(pooled_output=torch.ones(1, 768))], name=name)
    assert message.startswith(f"{name} must come from the text encoder umT5-XXL; these words come with those of CLIP, ")
    assert message.endswith("or of Load CLIP with a umT5-XXL file and type wan.")


def test_a_pooled_output_of_nothing_is_left_alone():
    """Some packs put zeros there, whatever the encoder."""
    check([cond(pooled_output=torch.zeros(1, 768)), cond(pooled_output=None)])


def test_conditioning_without_words_or_without_anything_is_refused():
    assert "these words have 0" in refused([cond(picture=LATENT, cross_attn=None)])
    assert refused([]) == "positive holds no conditioning. Connect it to Image to Video Latent."


def test_a_model_that_does_not_say_what_it_reads_is_not_second_guessed():
    conditioning.check_text("positive", [cond(768)], None)


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 16, 9, 30, 52), "33 frames of 416x240"), ((1, 16, 5, 30, 30), "17 frames of 240x240")]
)
def test_a_latent_of_another_length_or_size_is_refused_with_both(shape, size):
    assert refused([cond(picture=torch.zeros(shape))]) == (
        "Latent and conditioning must be of one length and size. The latent is 17 frames of 416x240, and the start "
        f"picture in positive was prepared for {size}. Connect both to the same Image to Video Latent."
    )


def test_a_clip_made_larger_keeps_its_conditioning_but_not_one_made_longer(caplog):
    larger, longer = torch.ones(1, 16, 5, 60, 104), torch.ones(1, 16, 9, 30, 52)
    with caplog.at_level(logging.WARNING):
        check([cond()], larger)
    assert caplog.messages == [
        "The latent is 17 frames of 832x480, and the start picture in positive was prepared for 17 frames of 416x240: "
        "the picture is resized."
    ]
    assert "The latent is 33 frames of 416x240, and" in refused([cond()], longer)


@pytest.mark.parametrize("shape", [(1, 48, 5, 15, 26), (1, 4, 30, 52), (1, 16, 30, 52), (1, 32, 5, 30, 52)])
def test_a_picture_of_another_vae_is_refused(shape):
    assert f"as the Wan 2.1 VAE makes them, got the shape {shape}. Connect" in refused(
        [cond(picture=torch.zeros(shape))]
    )


@pytest.mark.parametrize(
    ("shape", "maker"),
    [
        ((1, 48, 5, 15, 26), "as the VAE of the 5B model makes."),
        ((1, 4, 30, 52), "as an image model's VAE makes."),
        ((1, 16, 30, 52), "(1, 16, 30, 52). Connect the latent of Image to Video Latent."),
        ((16,), "(16,). Connect the latent of Image to Video Latent."),
    ],
)
def test_a_latent_of_another_model_is_named(shape, maker):
    assert maker in refused([cond()], torch.zeros(shape))
