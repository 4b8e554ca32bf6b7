"""The animated preview: its colours, its bounds, and that it is a picture like any other."""

import io

import pytest
import torch
from pack.media.preview import Loop, latent_to_rgb
from PIL import Image


def test_colours_are_the_linear_map_of_the_latent():
    latent = torch.zeros(1, 2, 1, 320, 320)
    latent[0, 0], latent[0, 1] = 0.5, -0.25
    factors = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]])
    rgb = latent_to_rgb(latent, factors, torch.tensor([0.0, 0.0, 0.25]))
    expected = [round(127.5 * (1 + value)) for value in (0.5, -0.5, 0.5)]
    assert rgb.shape == (1, 320, 320, 3)
    assert rgb[0, 7, 9].tolist() == expected


@pytest.mark.parametrize(
    ("frames", "height", "width", "shape"),
    [
        (21, 90, 160, (21, 180, 320, 3)),
        (1, 4, 8, (1, 160, 320, 3)),
        (100, 8, 8, (33, 320, 320, 3)),
        (2, 500, 700, (2, 167, 234, 3)),
    ],
)
def test_size_and_length_are_bounded(frames, height, width, shape):
    rgb = latent_to_rgb(torch.zeros(2, 16, frames, height, width), torch.zeros(16, 3), torch.zeros(3))
    assert rgb.shape == shape
    assert rgb.dtype == torch.uint8


def test_a_latent_that_is_not_a_number_is_grey_not_an_error():
    rgb = latent_to_rgb(torch.full((1, 16, 1, 8, 8), torch.nan), torch.ones(16, 3), torch.zeros(3))
    assert rgb.unique().tolist() == [128]


def test_the_loop_is_an_animated_png_wherever_a_picture_is_saved():
    frames = torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 4, 6, 3) * 100
    file = io.BytesIO()
    Loop(frames).save(file, format="PNG", quality=95, compress_level=1)
    with Image.open(file) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"], picture.info["duration"]) == (3, (6, 4), 0, 250)
        for index in range(3):
            picture.seek(index)
            assert picture.convert("RGB").getpixel((0, 0)) == (100 * index,) * 3
