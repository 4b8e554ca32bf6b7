"""The table of cards in docs/models.md follows from the numbers on the page and from ComfyUI's estimate of memory."""

import re
from pathlib import Path

import comfy.supported_models
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?:RTX|H100)[^|]* \| (\d+) \| ([\d.]+) \| (\d+) s \| (\d+) s[^|]* \| (\d+) % / (\d+) %[^|]*\|$", re.MULTILINE
)
STEPS = 4
PFLOP = {"480p": 1.678, "720p": 6.523}  # of a forward at 81 frames
SIZES = {"480p": (832, 480), "720p": (1280, 720)}
EXPERT = 14_294_742_832 / 2**30  # GiB, of the published fp8 file
LEFT_TO_THE_SYSTEM = 1  # GiB


def sampling_gib(tier):
    """ComfyUI's estimate at 2 bytes a number, as `BaseModel.memory_required` makes it with fused attention."""
    width, height = SIZES[tier]
    factor = comfy.supported_models.WAN21_I2V({"dim": 5120}).memory_usage_factor
    return 21 * (height // 8) * (width // 8) * 2 * 0.01 * factor / 1024


def test_the_estimates_of_memory_are_those_of_comfyui():
    stated = re.search(r"beside the weights, ([\d.]+) GiB and ([\d.]+) GiB", PAGE)
    assert stated is not None
    assert [f"{sampling_gib(tier):.1f}" for tier in SIZES] == list(stated.groups())


def test_every_card_is_computed():
    rows = ROW.findall(PAGE)
    assert len(rows) == 6
    for memory, rate, *rest in rows:
        seconds = [STEPS * PFLOP[tier] * 1000 / float(rate) for tier in SIZES]
        free = [float(memory) - LEFT_TO_THE_SYSTEM - sampling_gib(tier) for tier in SIZES]
        shares = [100 * min(1, max(0, room / EXPERT)) for room in free]
        assert [float(value) for value in rest] == pytest.approx([*seconds, *shares], abs=0.51)
