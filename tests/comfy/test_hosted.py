"""What the hosted nodes make of ComfyUI's values; their runs are in the server ring."""

import inspect

import pytest
import torch

pytestmark = pytest.mark.comfy

from pack.hosted.errors import RequestError  # noqa: E402
from pack.media.resize import resize_frames  # noqa: E402
from pack.media.resolution import Size  # noqa: E402
from pack.nodes.hosted import Hosted, HostedLora, checked, to_picture  # noqa: E402


@pytest.mark.parametrize("count", [0, 2, 81])
def test_one_picture_and_no_other_number_is_sent(count):
    with pytest.raises(RequestError) as refused:
        to_picture(torch.zeros(count, 8, 8, 3), "last_image")
    assert str(refused.value) == f"A hosted model takes one picture as last_image, got {count}. Choose one of them."


@pytest.mark.parametrize(("channels", "half"), [(1, 128), (3, 128), (4, 64)])
def test_a_picture_has_three_channels_and_rounded_values(channels, half):
    image = torch.full((1, 4, 6, channels), 0.5)
    image[0, 0, 1] = 2.0
    image[0, 0, 2] = -1.0
    pixels = to_picture(image, "image").pixels
    assert pixels.shape == (4, 6, 3)
    assert pixels[0, 1:4, 0].tolist() == [255, 0, half]


def test_a_picture_of_whole_numbers_is_not_paid_for():
    with pytest.raises(RequestError, match=r"The picture for last_image must hold floating-point .* uint8\. Look at"):
        to_picture(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), "last_image")


def test_a_picture_without_numbers_is_not_paid_for():
    image = torch.rand(1, 4, 6, 3)
    image[0, 0, 0] = torch.nan
    with pytest.raises(RequestError, match="The picture for last_image holds NaN in row 1, column 1"):
        to_picture(image, "last_image")


def test_colours_under_transparent_pixels_stay_here_as_they_do_on_the_local_path():
    image = torch.rand(1, 4, 6, 4, generator=torch.Generator().manual_seed(0))
    image[..., :2, 3] = 0.0
    image[..., 2:4, 3] = 1.0
    pixels = to_picture(image, "image").pixels
    assert (pixels[:, :2] == 0).all()
    assert (pixels[:, 2:4] == (image[0, :, 2:4, :3] * 255).round().numpy()).all()
    local = resize_frames(image.numpy(), Size(6, 4))[0]
    assert (pixels == (local * 255).round()).all()


def test_hosted_loras_add_up_and_never_show_a_token():
    first = HostedLora.execute("https://lora.example/a?token=secret-1", 1.0, "both", "glow").args[0]
    both = HostedLora.execute(" owner/second ", 0.5, "high", "", first).args[0]
    assert [(lora.url, lora.scale, lora.expert) for lora in both][1] == ("owner/second", 0.5, "high")
    assert str(both) == "(https://lora.example/a?*** at 1 on both, owner/second at 0.5 on high)"


def test_a_linked_value_is_checked_when_it_is_there():
    assert HostedLora.validate_inputs(None, None) is True
    assert Hosted.validate_inputs(None, "1080p", 6, None, None, None) is True
    assert "got -1" in str(Hosted.validate_inputs(None, None, None, -1, None, None))


def test_a_hosted_node_runs_beside_others_and_asks_for_no_login():
    assert inspect.iscoroutinefunction(Hosted.execute)
    assert not Hosted.define_schema().is_api_node


def test_what_a_prompt_may_hold_instead_of_a_link_ends_in_a_sentence():
    """ComfyUI passes a plain value on to an input that only takes links."""
    for value in (5, "x", {}, [1], None):
        with pytest.raises(RequestError, match=r"takes pictures as image, got .+\. Connect one"):
            to_picture(value, "image")
    for value in (5, "owner/repository", {"a": 1}, [1]):
        with pytest.raises(ValueError, match=r"^loras must come from another node, got .+\. Connect it") as refused:
            HostedLora.execute("https://lora.example/a?secret-1", 0.5, "high", "", value)
        assert "secret-1" not in str(refused.value)
        with pytest.raises(RequestError, match=r"takes loras from Hosted LoRA, got .+\. Connect one"):
            checked(value)
        assert "loras must come from another node" in str(HostedLora.validate_inputs(None, None, None, value))


def test_trigger_words_without_an_end_are_refused_before_the_run():
    assert "may have 5000 letters" in str(HostedLora.validate_inputs("owner/second", 1.0, "a, " * 5000))
    assert "may have 4096 letters" in str(HostedLora.validate_inputs("https://lora.example/" + "a" * 10_000, 1.0, ""))
