"""Fit to 720p behind ComfyUI's own Load Image: every kind of file that people have."""

from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from comfy_extras.nodes_compositing import JoinImageWithAlpha
from pack.bench.pictures import picture
from pack.nodes.picture import Resolution
from PIL import Image

import nodes

pytestmark = pytest.mark.comfy

ORIENTATION = 0x0112  # the EXIF tag; 6: turned a quarter to the right to be upright


@pytest.fixture
def load():
    """Writes a picture into the input folder with Pillow, and returns what Load Image makes of it."""
    written = []

    def load(image, name, **options):
        path = Path(folder_paths.get_input_directory()) / name
        image.save(path, **options)
        written.append(path)
        return nodes.LoadImage().load_image(name)

    yield load
    for path in written:
        path.unlink()


def fit(image, tier="240p", aspect="image", fit="crop"):
    return Resolution.execute(image, tier, aspect, fit).args


def quadrants(width=640, height=320):
    """Red, green, blue and white, clockwise from the top left."""
    image = np.full((height, width, 3), 255, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    image[: height // 2, width // 2 :] = (0, 255, 0)
    image[height // 2 :, width // 2 :] = (0, 0, 255)
    return image


def corners(image):
    """Returns the colours near the corners, clockwise from the top left, rounded to 0 or 1."""
    height, width = image.shape[1:3]
    places = ((16, 16), (16, width - 16), (height - 16, width - 16), (height - 16, 16))
    return [tuple(image[0, y, x].round().int().tolist()) for y, x in places]


RED, GREEN, BLUE, WHITE = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)


def test_a_photograph_that_lies_on_its_side_is_turned_first(load):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image, width, height, report = fit(load(Image.fromarray(quadrants()), "on its side.jpg", exif=exif, quality=95)[0])
    assert image.shape == (1, height, width, 3)
    assert report.startswith(f"320x640 -> {width}x{height} (240p)")
    assert corners(image) == [WHITE, RED, GREEN, BLUE]


def test_sixteen_bits_a_channel(load):
    ramp = np.broadcast_to(np.linspace(0, 65535, 512).astype(np.uint16), (256, 512))
    loaded = load(Image.fromarray(ramp), "sixteen bits.png")[0]
    if loaded[0, 100, 8, 0] > 0.9:  # ComfyUI 0.16 loads 16-bit grey as white: the node gets what it should have been
        loaded = torch.from_numpy(ramp.astype(np.float32) / 65535)[None, ..., None].repeat(1, 1, 1, 3)
    image, width, _, _ = fit(loaded)
    assert image[0, 100, 8, 0] < 0.05
    assert image[0, 100, width - 8, 0] > 0.95
    assert (image[0, 100, 1:, 0] >= image[0, 100, :-1, 0] - 1e-4).all()


def test_one_channel(load):
    grey = Image.fromarray(quadrants()).convert("L")
    image, _, _, _ = fit(load(grey, "图片 grey.png")[0])
    assert image.shape[3] == 3
    assert image[..., 0].equal(image[..., 1])


def test_a_palette(load):
    palette = Image.fromarray(quadrants()).convert("P", palette=Image.Palette.ADAPTIVE)
    assert corners(fit(load(palette, "palette.png")[0])[0]) == [RED, GREEN, BLUE, WHITE]


def test_transparency_that_join_image_with_alpha_keeps(load):
    solid = np.dstack([quadrants(), np.full((320, 640), 255, np.uint8)])
    solid[:160, 320:, 3] = 0  # green is hidden
    image, mask = load(Image.fromarray(solid), "cut out.png")
    joined = JoinImageWithAlpha.execute(image, mask)[0]
    assert joined.shape[3] == 4
    assert corners(fit(joined)[0]) == [RED, (0, 0, 0), BLUE, WHITE]


def test_an_animation_is_a_batch(load):
    frames = [Image.fromarray(np.roll(quadrants(), 80 * shift, axis=1)) for shift in range(3)]
    loaded = load(frames[0], "moving.webp", save_all=True, append_images=frames[1:], lossless=True)[0]
    assert len(loaded) == 3
    for how in ("crop", "pad", "stretch"):
        image, width, height, _ = fit(loaded, aspect="1:1", fit=how)
        assert image.shape == (3, height, width, 3)
        assert not image[0].equal(image[1])


def test_a_200x200_jpeg_gets_a_plain_verdict_at_720p(load):
    small = Image.fromarray(picture("portrait", 100)[:, 280:1000]).resize((200, 200), Image.Resampling.LANCZOS)
    report = fit(load(small, "small.jpg", quality=75)[0], "720p")[3].splitlines()
    assert report[0] == "200x200 -> 960x960 (720p)"
    assert report[1] == "Enlarged 4.8 times, which looks soft: start from a larger picture."
    assert report[2].startswith("Sharpness: edge blur ")
    assert report[3:] == [
        "This picture will cost quality: it is soft at this size. Start from a larger or sharper one."
    ]


def test_half_precision_pictures(load):
    image = load(Image.fromarray(quadrants()), "half.png")[0]
    for dtype in (torch.float16, torch.bfloat16):
        assert fit(image.to(dtype))[0].dtype == torch.float32
