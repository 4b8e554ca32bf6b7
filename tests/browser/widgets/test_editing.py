"""What the nodes show while a graph is edited, driven as a person would."""

import json

import pytest
from pack.tests.browser.hands import (
    HOSTED,
    POSTED,
    bypass,
    choose,
    choose_picture,
    complaints,
    load,
    look_at,
    picture,
    saved,
    shipped,
    step_up,
    twin,
    type_number,
    value_of,
    wait_for_text,
)
from pack.tests.browser.widgets.conftest import KEY, STYLE

pytestmark = pytest.mark.browser


def test_the_plan_follows_the_widgets(tab):
    load(tab, shipped())
    sampler = "Wan22Turbo_Sampler"
    look_at(tab, sampler)
    wait_for_text(tab, sampler, "2 high + 2 low | .9950 .9338 | .8529 .6090")
    step_up(tab, sampler, "steps")
    wait_for_text(tab, sampler, "2 high + 3 low | .9950 .9338 | .8529 .7596 .6090")
    choose(tab, sampler, "schedule", "lightning")
    wait_for_text(tab, sampler, "2 high + 3 low | 1.0000 .9524")
    choose(tab, sampler, "schedule", "rcm")
    type_number(tab, sampler, "steps", 8)
    wait_for_text(tab, sampler, "3 high + 5 low | .9950 .9677")
    step_up(tab, sampler, "steps")
    wait_for_text(tab, sampler, "rCM takes 1 to 8 steps, got 9. For more, use the shifted schedule")
    picture(tab, "plan_refused")
    prompt = twin()
    prompt["7"]["inputs"]["steps"] = 9
    assert tab.evaluate(POSTED) == prompt
    type_number(tab, sampler, "steps", 4)
    type_number(tab, sampler, "sigma_max", 3)
    wait_for_text(tab, sampler, "sigma_max must be above 14.1")
    type_number(tab, sampler, "sigma_max", 80)
    wait_for_text(tab, sampler, "| .9877 .9338")
    type_number(tab, sampler, "boundary", 0.5)
    wait_for_text(tab, sampler, "4 high |")
    assert tab.errors == []


def test_a_linked_step_count_is_known_at_the_run(tab):
    load(tab, shipped())
    tab.evaluate("""() => {
        const number = LiteGraph.createNode('PrimitiveInt'); app.graph.add(number);
        const sampler = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Sampler');
        number.connect(0, sampler, sampler.findInputSlot('steps')); }""")
    wait_for_text(tab, "Wan22Turbo_Sampler", "Known when it runs: steps from another node.")
    assert tab.errors == []


def test_size_and_crop_are_shown_before_the_run(tab):
    load(tab, shipped())
    fit = "Wan22Turbo_Resolution"
    look_at(tab, fit)
    wait_for_text(tab, fit, "451x300 -> 1168x784 (720p)\nCropped 0.89 % off: left and right.")
    choose(tab, fit, "tier", "480p")
    wait_for_text(tab, fit, "451x300 -> 768x512 (480p)")
    choose(tab, fit, "aspect", "1:1")
    wait_for_text(tab, fit, "off: left and right.\nEnlarged 2.1 times")
    choose(tab, fit, "fit", "pad")
    wait_for_text(tab, fit, "Padded with")
    picture(tab, "fit")
    prompt = twin()
    prompt["5"]["inputs"].update(tier="480p", aspect="1:1", fit="pad")
    assert tab.evaluate(POSTED) == prompt
    choose_picture(tab, "upright.jpg")
    wait_for_text(tab, fit, "480x640 -> ")
    bypass(tab, "LoadImage")
    look_at(tab, fit)
    choose(tab, fit, "fit", "crop")
    wait_for_text(tab, fit, "are known when it runs: the picture is not from Load Image.")
    assert tab.errors == []


def test_the_lora_is_described_and_its_words_are_filled_in_by_a_click(tab):
    load(tab, shipped())
    lora = "Wan22Turbo_Lora"
    look_at(tab, lora)
    choose(tab, lora, "lora_high", STYLE)
    choose(tab, lora, "lora_low", "auto")
    wait_for_text(tab, lora, f"high: {STYLE}\n  rank 64, made for wan22_14b, named for the high-noise expert")
    wait_for_text(tab, lora, "low: style_low_noise.safetensors (auto: paired by name)")
    wait_for_text(tab, lora, r"Trigger words: wtrclr \(soft\)")
    before = saved(tab)
    tab.get_by_role("button", name=r"Fill in the trigger words: wtrclr \(soft\)").click()
    assert value_of(tab, lora, "trigger_words") == r"wtrclr \(soft\)"
    picture(tab, "lora_words")
    prompt = twin()
    prompt["2"]["inputs"].update(lora_high=STYLE, lora_low="auto", trigger_words=r"wtrclr \(soft\)")
    assert tab.evaluate(POSTED) == prompt
    tab.keyboard.press("Control+z")
    tab.wait_for_function("() => app.graph.nodes.find(n => n.type === 'Wan22Turbo_Lora').widgets[4].value === ''")
    wait_for_text(tab, lora, "Trigger words: wtrclr")
    assert saved(tab)[2]["widgets_values"] == before[2]["widgets_values"]
    assert tab.errors == []


def test_price_and_key_of_the_hosted_model(tab, server):
    load(tab, shipped(HOSTED))
    hosted, prompt = "Wan22Turbo_Hosted", tab.evaluate(POSTED)
    look_at(tab, hosted)
    choose(tab, hosted, "model", "WaveSpeed: wan-2.2/image-to-video")
    wait_for_text(tab, hosted, "About $0.15, prices of")
    wait_for_text(tab, hosted, "There is a key for WaveSpeed.")
    choose(tab, hosted, "resolution", "720p")
    wait_for_text(tab, hosted, "About $0.30")
    choose(tab, hosted, "model", "AtlasCloud: wan-2.2/image-to-video-lora")
    wait_for_text(tab, hosted, "ATLASCLOUD_API_KEY, or runs `python -m hosted.credentials set atlascloud`")
    picture(tab, "no_key")
    choose(tab, hosted, "resolution", "1080p")
    wait_for_text(tab, hosted, "takes resolution 480p or 720p, got 1080p")
    assert KEY not in tab.content()
    assert KEY not in json.dumps(tab.evaluate("() => app.graph.serialize()"))
    assert KEY not in server.log.read_text(encoding="utf-8", errors="replace")
    prompt["7"]["inputs"].update(model="AtlasCloud: wan-2.2/image-to-video-lora", resolution="1080p")
    assert tab.evaluate(POSTED) == prompt
    assert tab.errors == []


def test_the_console_is_not_told_of_internal_or_deprecated_modules(tab):
    assert complaints(tab) == []
