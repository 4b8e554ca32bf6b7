"""A latent that no sampler has worked on, as a bypassed sampler hands it on: refused, with nothing left behind."""

from pathlib import Path

import comfy.sd
import folder_paths
import pytest
import torch
from comfy_api.latest import io
from pack.nodes.decode import DecodeMp4
from pack.nodes.picture import ImageToVideo
from pack.tests.toy.models import vae

pytestmark = pytest.mark.comfy

SETTINGS = {"fps": 16.0, "codec": "h264", "crf": 18, "metadata": "none"}


@pytest.fixture(scope="module")
def wan():
    return comfy.sd.VAE(sd=vae(4))


def decode(wan, samples, folder):
    hidden = {io.Hidden.prompt: {}, io.Hidden.extra_pnginfo: {}, io.Hidden.unique_id: "9"}
    node = DecodeMp4.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    with torch.inference_mode():
        return node.execute({"samples": samples}, wan, filename_prefix=f"{folder}/clip", **SETTINGS)


def test_the_empty_latent_of_image_to_video_is_refused(wan):
    with torch.inference_mode():
        made = ImageToVideo.execute([], wan, torch.rand(1, 32, 48, 3), seconds=0.25)
    with pytest.raises(ValueError, match="nothing has sampled this one: every number in it is 0"):
        decode(wan, made[2]["samples"], "unsampled")
    assert not (Path(folder_paths.get_output_directory()) / "unsampled").exists()


@pytest.mark.parametrize("shape", [(1, 16, 1, 4, 6), (2, 16, 2, 4, 6)])
def test_one_number_that_is_not_zero_is_enough(wan, shape):
    samples = torch.zeros(shape)
    with pytest.raises(ValueError, match="nothing has sampled"):
        decode(wan, samples, "zeros")
    samples[0, 3, 0, 1, 2] = 1e-3
    decode(wan, samples[:1], "sampled")
    assert [path.suffix for path in (Path(folder_paths.get_output_directory()) / "sampled").iterdir()]
