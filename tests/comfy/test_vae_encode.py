"""Image to Video Latent against core's nodes, with VAEs that settle and one that does not."""

import logging

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy_extras.nodes_wan import WanFirstLastFrameToVideo, WanImageToVideo
from pack.media.vae_encode import TOLERANCE
from pack.nodes.picture import ImageToVideo
from pack.tests.toy import models as toy

pytestmark = pytest.mark.comfy

POSITIVE = [[torch.zeros(1, 4, 4096), {}]]


@pytest.fixture(scope="module")
def vaes():
    """A VAE that settles after four latent frames, one whose memory only fades, and one that does neither."""
    fading = toy.vae(4)
    for name, weight in fading.items():
        if name.startswith("encoder.") and weight.ndim == 5 and weight.shape[2] == 3:
            weight[:, :, :2] *= 0.1
    states = {"settling": toy.settling_vae(4, 4), "fading": fading, "random": toy.vae(4)}
    return {name: comfy.sd.VAE(sd=state) for name, state in states.items()}


def picture(width=32, height=32):
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(1))


def ours(vae, start, seconds, **ends):
    """Returns the latent picture and the mask that the sampler will see."""
    meta = ImageToVideo.execute(POSITIVE, vae, start, seconds, **ends)[0][0][1]
    return meta["concat_latent_image"], meta["concat_mask"]


def core(node, vae, start, frames, **ends):
    size = start.shape[2], start.shape[1]
    meta = node.execute(POSITIVE, [], vae, *size, frames, 1, start_image=start, **ends)[0][0][1]
    return meta["concat_latent_image"], meta["concat_mask"]


def skipped(caplog):
    """Returns the numbers of the node's log line: frames skipped, frames in all."""
    lines = [record.getMessage() for record in caplog.records if "settled" in record.getMessage()]
    if not lines:
        return 0, 0
    (line,) = lines
    head, tail = "The VAE had settled on grey: ", " frames were not encoded."
    assert line.startswith(head)
    assert line.endswith(tail)
    return tuple(map(int, line[len(head) : -len(tail)].split(" of ")))


def assert_alike(ours, theirs, tolerance=0.0):
    assert ours[1].equal(theirs[1])
    difference = (ours[0] - theirs[0]).abs().max()
    assert difference <= tolerance * theirs[0].abs().max()


@pytest.mark.parametrize(("seconds", "frames", "at_least"), [(5.0, 81, 56), (8.0, 129, 100), (0.75, 13, 0)])
def test_frames_that_no_longer_change_are_not_encoded(vaes, caplog, seconds, frames, at_least):
    caplog.set_level(logging.INFO)
    assert_alike(ours(vaes["settling"], picture(), seconds), core(WanImageToVideo, vaes["settling"], picture(), frames))
    count, of = skipped(caplog)
    assert count >= at_least
    assert of in (frames, 0)


def test_what_fades_is_left_out_within_the_tolerance(vaes, caplog):
    caplog.set_level(logging.INFO)
    theirs = core(WanImageToVideo, vaes["fading"], picture(), 81)
    assert_alike(ours(vaes["fading"], picture(), 5.0), theirs, TOLERANCE)
    assert skipped(caplog)[0] >= 24


@pytest.mark.parametrize("seconds", [0.25, 1.0, 5.0])
def test_weights_that_do_not_settle_give_the_same_bits(vaes, caplog, seconds):
    caplog.set_level(logging.INFO)
    frames = round(seconds * 16) + 1
    assert_alike(ours(vaes["random"], picture(), seconds), core(WanImageToVideo, vaes["random"], picture(), frames))
    assert skipped(caplog) == (0, 0)


def test_in_eight_seconds_every_wan_vae_settles_for_it_sees_only_113_frames(vaes, caplog):
    caplog.set_level(logging.INFO)
    theirs = core(WanImageToVideo, vaes["random"], picture(), 129)
    assert_alike(ours(vaes["random"], picture(), 8.0), theirs, TOLERANCE)
    assert skipped(caplog)[0] >= 8


@pytest.mark.parametrize("seconds", [2.0, 4.75, 5.0])  # 33, 77 and 81 frames
@pytest.mark.parametrize("kind", ["settling", "fading", "random"])
def test_an_end_image_meets_the_memory_that_it_would_have_met(vaes, kind, seconds):
    frames = round(seconds * 16) + 1
    end = picture().flip(1)
    theirs = core(WanFirstLastFrameToVideo, vaes[kind], picture(), frames, end_image=end)
    assert_alike(ours(vaes[kind], picture(), seconds, end_image=end), theirs, TOLERANCE if kind == "fading" else 0.0)


def test_a_clip_with_an_end_skips_the_grey_between(vaes, caplog):
    caplog.set_level(logging.INFO)
    ours(vaes["settling"], picture(), 5.0, end_image=picture().flip(1))
    assert skipped(caplog)[0] >= 48


def test_a_grey_picture_is_no_special_case(vaes):
    grey = torch.full((1, 32, 32, 3), 0.5)
    assert_alike(ours(vaes["settling"], grey, 3.0), core(WanImageToVideo, vaes["settling"], grey, 49))


def test_out_of_memory_ends_in_comfyuis_tiles_and_they_skip_too(vaes, caplog):
    caplog.set_level(logging.INFO)
    vae, start = vaes["settling"], picture(320, 32)

    def little_memory(_, inputs):
        if inputs[0].shape[-1] > 256:
            raise torch.OutOfMemoryError("Allocation on device")

    hook = vae.first_stage_model.encoder.register_forward_pre_hook(little_memory)
    try:
        assert_alike(ours(vae, start, 2.0), core(WanImageToVideo, vae, start, 33))
    finally:
        hook.remove()
    assert skipped(caplog) >= (8, 33)
    assert "retrying with tiled" in caplog.text


def test_cancel_is_heard_between_chunks_and_leaves_the_vae_as_it_was(vaes):
    vae = vaes["random"]
    chunks = []

    def press(_, inputs):
        chunks.append(inputs[0])
        comfy.model_management.interrupt_current_processing(len(chunks) == 3)

    hook = vae.first_stage_model.encoder.register_forward_pre_hook(press)
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            ours(vae, picture(), 5.0)
    finally:
        hook.remove()
        comfy.model_management.interrupt_current_processing(False)
    assert len(chunks) == 3
    assert "forward" not in vars(vae.first_stage_model.encoder)
