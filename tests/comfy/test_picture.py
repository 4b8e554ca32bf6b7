"""Fit to 720p and Image to Video Latent, against ComfyUI's own node."""

import comfy.sd
import pytest
import torch
from comfy.latent_formats import Wan21
from comfy.taesd.taesd import TAESD
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo, WanImageToVideo
from pack.media import resize
from pack.media.motion import livelier
from pack.nodes.picture import ImageToVideo, Resolution
from pack.tests.toy import models as toy
from pack.weights.formats.model_file import open_model
from pack.weights.loading import load_vae

pytestmark = pytest.mark.comfy

POSITIVE = [[torch.zeros(1, 4, 4096), {}]]


@pytest.fixture(scope="module")
def vae(models):
    return load_vae(open_model(str(models / "vae" / toy.VAE)))


def picture(width, height, channels=3):
    return torch.rand(1, height, width, channels, generator=torch.Generator().manual_seed(1))


def fit(image, tier="720p", aspect="image", fit="crop"):
    return Resolution.execute(image, tier, aspect, fit).args


@pytest.mark.parametrize(
    ("size", "tier", "aspect", "expected"),
    [
        ((1920, 1080), "720p", "image", (1280, 720)),
        ((1080, 1920), "720p", "image", (720, 1280)),
        ((512, 512), "720p", "image", (960, 960)),
        ((451, 300), "240p", "image", (384, 256)),
        ((640, 480), "480p", "16:9", (832, 480)),
    ],
)
def test_the_picture_leaves_at_the_size_that_is_promised(size, tier, aspect, expected):
    image, width, height, report = fit(picture(*size), tier, aspect)
    assert (width, height) == expected
    assert image.shape == (1, height, width, 3)
    assert image.min() >= 0
    assert image.max() <= 1
    assert report.startswith(f"{size[0]}x{size[1]} -> {width}x{height} ({tier})")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((16, 16), "Picture is 16x16; its shorter side needs at least 32 pixels. Use a larger one"),
        ((200, 4000), "Picture is 200x4000; its sides may differ by at most 8:1. Crop it first"),
    ],
)
def test_refuses_what_cannot_become_a_clip(size, message):
    with pytest.raises(ValueError, match=message):
        fit(picture(*size))


def test_a_small_picture_is_said_to_be_enlarged():
    assert "Enlarged 4.8 times" in fit(picture(200, 200))[3]


def test_takes_a_batch_and_a_picture_with_alpha():
    assert fit(picture(64, 64, 4).repeat(3, 1, 1, 1), "240p")[0].shape == (3, 304, 304, 3)


@pytest.mark.parametrize(("seconds", "frames"), [(1.0, 17), (0.5, 9)])
def test_gives_what_comfyui_gives(vae, seconds, frames):
    start = picture(32, 48)
    positive, negative, latent, count = ImageToVideo.execute(POSITIVE, vae, start, seconds, negative=POSITIVE).args
    core = WanImageToVideo.execute(POSITIVE, POSITIVE, vae, 32, 48, frames, 1, start_image=start).args
    assert count == frames
    assert latent["samples"].equal(core[2]["samples"])
    for ours, theirs in ((positive, core[0]), (negative, core[1])):
        assert ours[0][1]["concat_latent_image"].equal(theirs[0][1]["concat_latent_image"])
        assert ours[0][1]["concat_mask"].equal(theirs[0][1]["concat_mask"])


def test_an_end_image_is_the_last_frame(vae):
    start, end = picture(32, 32), picture(32, 32).flip(1)
    positive = ImageToVideo.execute(POSITIVE, vae, start, 1.0, end_image=end)[0]
    core = WanFirstLastFrameToVideo.execute(POSITIVE, [], vae, 32, 32, 17, 1, start_image=start, end_image=end)[0]
    assert positive[0][1]["concat_latent_image"].equal(core[0][1]["concat_latent_image"])
    assert positive[0][1]["concat_mask"].equal(core[0][1]["concat_mask"])


@pytest.mark.parametrize(("motion", "is_left"), [({"motion": 1.0}, True), ({"motion": 1.01}, False)])
def test_motion_1_is_what_was_before_there_was_motion(vae, motion, is_left):
    given = {"end_image": picture(32, 32).flip(1), "negative": POSITIVE}
    before, now = (ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 1.0, **given, **more) for more in ({}, motion))
    for side in (0, 1):
        latents = [made[side][0][1]["concat_latent_image"] for made in (before, now)]
        assert latents[0].equal(latents[1]) is is_left


@pytest.mark.parametrize(("ends", "given"), [({}, [0]), ({"end_image": picture(32, 32).flip(1)}, [0, 4])])
def test_motion_moves_the_frames_without_a_picture_and_no_others(vae, ends, given):
    """In the units in which the experts read them."""
    plain, made = (
        ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 1.0, negative=POSITIVE, motion=motion, **ends)
        for motion in (1.0, 1.5)
    )
    before = plain[0][0][1]["concat_latent_image"]
    blank = [frame for frame in range(5) if frame not in given]
    for conds in (made[0], made[1]):
        latent = conds[0][1]["concat_latent_image"]
        assert latent[:, :, given].equal(before[:, :, given])
        normal = Wan21().process_in(before)
        expected = livelier(normal[:, :, :1], normal[:, :, blank], 1.5)
        torch.testing.assert_close(Wan21().process_in(latent)[:, :, blank], expected)
        assert not torch.isclose(latent[:, :, blank], before[:, :, blank]).all(dim=(0, 1, 3, 4)).any()
        assert conds[0][1]["concat_mask"].equal(plain[0][0][1]["concat_mask"])
    assert made[2]["samples"].equal(plain[2]["samples"])
    assert not POSITIVE[0][1]  # what came in is left alone


def test_no_negative_goes_on_as_none(vae):
    assert ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.3)[1] is None


def test_refuses_sides_that_do_not_divide_by_16(vae):
    with pytest.raises(ValueError, match=r"sides must be multiples of 16, got 33x32. Put Fit to 720p in front"):
        ImageToVideo.execute(POSITIVE, vae, picture(33, 32), 1.0)


def test_refuses_the_vae_of_another_model():
    other = comfy.sd.VAE(sd=TAESD(latent_channels=4).state_dict())
    with pytest.raises(ValueError, match=r"needs a VAE of 16 channels, this one has 4\. Choose wan_2\.1_vae"):
        ImageToVideo.execute(POSITIVE, other, picture(32, 32), 1.0)


def test_more_start_pictures_than_one_are_not_taken_for_given_frames(vae):
    start = picture(32, 32)
    several = torch.cat([start, picture(32, 32).flip(1), start])
    one, many = (ImageToVideo.execute(POSITIVE, vae, image, 0.5)[0][0][1] for image in (start, several))
    assert one["concat_mask"].equal(many["concat_mask"])
    assert one["concat_latent_image"].equal(many["concat_latent_image"])


@pytest.mark.parametrize("channels", [1, 4])
def test_a_grey_or_transparent_picture_is_made_rgb(vae, channels):
    start, end = picture(32, 32, channels), picture(32, 32, channels).flip(1)
    rgb = [resize.resize_frames(image.numpy(), (32, 32)) for image in (start, end)]
    rgb_start, rgb_end = map(torch.from_numpy, rgb)
    for ends, rgb_ends in (({}, {}), ({"end_image": end}, {"end_image": rgb_end})):
        given = ImageToVideo.execute(POSITIVE, vae, start, 0.5, **ends)[0][0][1]["concat_latent_image"]
        meant = ImageToVideo.execute(POSITIVE, vae, rgb_start, 0.5, **rgb_ends)[0][0][1]["concat_latent_image"]
        assert given.equal(meant)


def test_an_end_image_of_another_size_is_cropped_and_that_is_said(vae, caplog):
    end = picture(64, 32).flip(1)
    cropped = ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.5, end_image=end)[0][0][1]
    assert (
        "The end image is 64x32, the clip is 32x32: cropped to fit. Put Fit to 720p in front of it." in caplog.messages
    )
    fitted = ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.5, end_image=end[:, :, 16:48])[0][0][1]
    assert cropped["concat_latent_image"].equal(fitted["concat_latent_image"])


def test_an_empty_batch_is_said(vae):
    empty = torch.zeros(0, 32, 32, 3)
    for run in (
        lambda: fit(empty),
        lambda: ImageToVideo.execute(POSITIVE, vae, empty, 0.5),
        lambda: ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.5, end_image=empty),
    ):
        with pytest.raises(ValueError, match="A picture is needed, got an empty batch"):
            run()


def test_a_picture_of_whole_numbers_does_not_become_white(vae):
    whole = (picture(32, 32) * 255).to(torch.uint8)
    for run, what in (
        (lambda: fit(whole), "The image"),
        (lambda: ImageToVideo.execute(POSITIVE, vae, whole, 0.5), "The start image"),
        (lambda: ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.5, end_image=whole), "The end image"),
    ):
        with pytest.raises(ValueError, match=rf"{what} must hold floating-point numbers in 0\.\.1, got uint8\. L"):
            run()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_picture_without_numbers_is_said_before_it_is_encoded(vae, value):
    flawed = picture(32, 32)
    flawed[0, 4, 6, 1] = value
    for run, what in (
        (lambda: fit(flawed), "The image"),
        (lambda: ImageToVideo.execute(POSITIVE, vae, flawed, 0.5), "The start image"),
        (lambda: ImageToVideo.execute(POSITIVE, vae, picture(32, 32), 0.5, end_image=flawed), "The end image"),
    ):
        with pytest.raises(ValueError, match=f"{what} holds (NaN|infinity) in row 5, column 7"):
            run()
