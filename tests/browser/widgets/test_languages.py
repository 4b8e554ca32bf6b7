"""The panels in other languages than English: their own words, and the lines that the server says."""

import json

import pytest
from find_browser import settle
from pack.hosted.providers import PRICES_OF
from pack.tests.browser.hands import (
    HOSTED,
    LOCAL,
    POSTED,
    ROOT,
    load,
    look_at,
    picture,
    set_value,
    shipped,
    wait_for_text,
)
from pack.tests.browser.widgets.conftest import STYLE
from pack.tests.browser.widgets.test_bypass import held_back
from pack.tests.browser.widgets.test_panel import FIELD, TOLD

pytestmark = pytest.mark.browser

LORA, FIT, SAMPLER, CLIP = "Wan22Turbo_Lora", "Wan22Turbo_Resolution", "Wan22Turbo_Sampler", "Wan22Turbo_Hosted"
SPEAK = "language => app.extensionManager.setting.set('Comfy.Locale', language)"
BYPASS = "type => { app.graph.nodes.find(node => node.type === type).mode = 4; }"


@pytest.fixture(scope="module", params=["zh", "fr"])  # the frontend reads all its words anew for it
def words(tab, request):
    """The words of a language, in which the frontend is."""
    tab.evaluate(SPEAK, request.param)
    settle(tab)
    tab.language = request.param
    yield json.loads((ROOT / "locales" / request.param / "main.json").read_text(encoding="utf-8"))["wan22Turbo"]
    tab.evaluate(SPEAK, "en")
    settle(tab)


def test_what_is_known_before_a_run_is_said_in_the_language_and_read_whole(tab, words):
    lines, facts = words["lines"], words["facts"]
    load(tab, shipped(LOCAL))
    set_value(tab, LORA, "lora_high", STYLE)
    set_value(tab, LORA, "lora_low", "auto")
    wait_for_text(tab, LORA, f"  {facts['rank'].format(rank=64)}, {facts['made_for'].format(model='wan22_14b')}, ")
    wait_for_text(tab, LORA, facts["named"].format(expert=words["expert"]["high"]))
    wait_for_text(tab, LORA, lines["paired"].format(file=f"low: {STYLE.replace('high', 'low')}"))
    wait_for_text(tab, LORA, lines["triggers"].format(triggers=r"wtrclr \(soft\)"))
    tab.get_by_role("button", name=words["words"]["fill"].format(words=r"wtrclr \(soft\)")).wait_for()
    wait_for_text(tab, FIT, lines["cropped"].format(share="0.89 %", sides=words["sides"]["across"]))
    look_at(tab, LORA)
    picture(tab, f"panels_{tab.language}")
    for node in (LORA, FIT, SAMPLER):
        shown, whole = tab.evaluate(FIELD, node)
        assert whole <= shown, node
    set_value(tab, SAMPLER, "steps", 9)
    wait_for_text(tab, SAMPLER, lines["steps"].format(most=8, steps=9))
    set_value(tab, FIT, "fit", "stretch")
    wait_for_text(tab, FIT, lines["stretched"].format(share="0.91", direction=words["direction"]["tall"]))
    assert tab.errors == []


def test_the_price_is_said_in_the_language(tab, words):
    load(tab, shipped(HOSTED))
    price = words["lines"]["price"].format(price="$0.15", date=PRICES_OF)
    set_value(tab, CLIP, "model", "WaveSpeed: wan-2.2/image-to-video")
    wait_for_text(tab, CLIP, f"{price}\n{words['lines']['key'].format(provider='WaveSpeed')}")
    set_value(tab, CLIP, "model", "AtlasCloud: wan-2.2/image-to-video-lora")
    wait_for_text(tab, CLIP, "ATLASCLOUD_API_KEY")
    wait_for_text(tab, CLIP, words["lines"]["no_key"].split("{variable}")[0].format(provider="AtlasCloud"))
    look_at(tab, CLIP)
    picture(tab, f"no_key_{tab.language}")
    assert tab.errors == []


def test_warnings_of_a_run_are_said_in_the_language_and_what_has_no_words_stays(tab, words):
    load(tab, shipped(LOCAL))
    swapped = (
        "  Warning: 'a.safetensors' is named for the low-noise expert, but it is applied to the high-noise expert. "
        "Check that the two files are not swapped."
    )
    text = f"high: a, b at 1\n{swapped}\nTrigger words: left and right, high"
    tab.evaluate(TOLD, [LORA, text])
    low, high = words["expert"]["low"], words["expert"]["high"]
    said = words["lines"]["swapped"].format(file="a.safetensors", expert=low, expert1=high)
    triggers = words["lines"]["triggers"].format(triggers="left and right, high")
    wait_for_text(tab, LORA, f"high: a, b at 1\n  {words['lines']['warning'].format(lines=said)}\n{triggers}")


def test_a_bypassed_node_and_a_link_are_told_in_the_language(tab, words):
    load(tab, shipped(LOCAL))
    tab.evaluate("""() => {
        const number = LiteGraph.createNode('PrimitiveInt'), shown = LiteGraph.createNode('PreviewAny');
        const find = type => app.graph.nodes.find(node => node.type === type);
        for (const node of [number, shown]) app.graph.add(node);
        number.connect(0, find('Wan22Turbo_Sampler'), find('Wan22Turbo_Sampler').findInputSlot('steps'));
        find('Wan22Turbo_Lora').connect(4, shown, 0); }""")
    before, after = words["words"]["linked"].split("{inputs}")
    wait_for_text(tab, SAMPLER, before)
    wait_for_text(tab, SAMPLER, after)
    tab.evaluate(BYPASS, LORA)
    posted = tab.evaluate(POSTED)
    assert words["bypassed"][LORA] in [node["inputs"].get("source") for node in posted.values()]
    with held_back(tab):
        tab.evaluate("() => app.queuePrompt(0)")
        wait_for_text(tab, LORA, words["bypassed"][LORA])
    settle(tab)
    assert tab.errors == []
