"""Load LoRA with Trigger Words: what it does to the prompt."""

import pytest
from pack.tests.toy import models as toy
from pack.tests.toy.lora_node import apply

pytestmark = pytest.mark.comfy


def test_trigger_words_of_the_file_join_the_prompt_once(high, low, add_lora):
    name = add_lora("style.safetensors", toy.lora(8), {"modelspec.trigger_phrase": "wtrclr, soft ink"})
    _, _, prompt, words, _ = apply(high, low, lora_high=name, lora_low="auto", prompt="A cat in Soft Ink.")
    assert prompt == "wtrclr, A cat in Soft Ink."
    assert words == "wtrclr, soft ink"


def test_the_widget_wins_over_the_file(high, low, add_lora):
    name = add_lora("style.safetensors", toy.lora(8), {"modelspec.trigger_phrase": "wtrclr"})
    _, _, prompt, words, _ = apply(
        high, low, lora_high=name, trigger_words="oil paint", trigger_position="append", prompt="A cat"
    )
    assert (prompt, words) == ("A cat, oil paint", "oil paint")


@pytest.mark.parametrize(
    ("strengths", "wanted"), [((0, 0), ""), ((1, 0), "ink"), ((0, -0.5), "oil"), ((1, 1), "ink, oil")]
)
def test_a_file_at_strength_0_gives_no_words(high, low, add_lora, strengths, wanted):
    names = [
        add_lora(f"{word}.safetensors", toy.lora(8), {"modelspec.trigger_phrase": word}) for word in ("ink", "oil")
    ]
    chosen = dict(zip(("lora_high", "lora_low", "strength_high", "strength_low"), (*names, *strengths), strict=True))
    assert apply(high, low, **chosen)[3] == wanted
    assert apply(high, low, **chosen, trigger_words="typed")[3] == "typed"


def test_words_of_a_text_file_beside_the_lora(high, low, add_lora, models):
    name = add_lora("style.safetensors", toy.lora(8))
    sidecar = models / "loras" / "style.txt"
    sidecar.write_text("wtrclr", encoding="utf-8")
    try:
        assert apply(high, low, lora_high=name, prompt="A cat")[2] == "wtrclr, A cat"
    finally:
        sidecar.unlink()


def test_an_empty_prompt_is_said(high, low):
    _, _, prompt, _, report = apply(high, low, prompt="  ")
    assert prompt.strip() == ""
    assert "The prompt is empty. Say in a sentence or two what should move" in report
