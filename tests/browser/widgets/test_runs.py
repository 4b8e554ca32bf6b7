"""What the nodes show of a run: its reports and its clip."""

import pytest
from pack.tests.browser.hands import (
    HOSTED,
    POSTED,
    TEXT,
    choose,
    copied,
    load,
    look_at,
    picture,
    run,
    saved,
    set_value,
    shipped,
    type_number,
    wait_for_text,
)
from pack.tests.browser.widgets.conftest import NARROW, STYLE
from pack.tests.server.client_process import frames_of
from pack.tests.toy import models as toy
from safetensors.torch import save_file

pytestmark = pytest.mark.browser

ONLY_THE_LORA = """() => {
    for (const node of [...app.graph.nodes])
        if (!['Wan22Turbo_Loader', 'Wan22Turbo_Lora'].includes(node.type)) app.graph.remove(node);
    for (const group of [...app.graph.groups]) app.graph.remove(group);
    const lora = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Lora');
    const shown = LiteGraph.createNode('PreviewAny');
    app.graph.add(shown);
    lora.connect(2, shown, 0);
}"""
# For tests that only need what a run leaves; a person presses the button, as `run` does.
RUN = """() => new Promise(resolve => {
    for (const kind of ['execution_success', 'execution_error'])
        app.api.addEventListener(kind, () => setTimeout(() => resolve(kind), 100), {once: true});
    app.queuePrompt(0);
})"""


def play(tab):
    """Starts and halts the clip on a node with the mouse, and returns its width."""
    tab.wait_for_function("() => document.querySelector('video')?.videoWidth")
    video = tab.locator("video").first
    assert video.evaluate("video => video.controls && video.paused && video.currentTime === 0")
    video.click()
    tab.wait_for_function("() => [...document.querySelectorAll('video')].some(v => v.currentTime > 0.5)")
    video.click()
    tab.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.paused)")
    return video.evaluate("video => video.videoWidth")


def ours_of(prompt):
    """Without ComfyUI's text preview, which in 0.16.3 posts the text that it shows."""
    return {key: node for key, node in prompt.items() if node["class_type"].startswith("Wan22Turbo_")}


def test_a_report_is_read_only_and_goes_with_the_run_that_it_is_of(tab, server):
    load(tab, shipped())
    lora = "Wan22Turbo_Lora"
    tab.evaluate(ONLY_THE_LORA)
    look_at(tab, lora)
    choose(tab, lora, "lora_high", STYLE)
    wait_for_text(tab, lora, "Trigger words")
    posted, kept = ours_of(tab.evaluate(POSTED)), saved(tab)
    assert run(tab) == "execution_success"
    wait_for_text(tab, lora, "high: style_high_noise.safetensors at 1")
    field = tab.get_by_label("report of the last run", exact=True)
    assert field.count() == 1
    assert not field.is_editable()
    field.click()
    tab.keyboard.type("typed over")
    report = tab.evaluate(TEXT, lora)
    assert "typed over" not in report
    assert copied(tab, field) == report.splitlines()[0]
    picture(tab, "report")
    assert ours_of(tab.evaluate(POSTED)) == posted
    assert saved(tab) == kept
    # It is of the widgets that were run, and comes back with them.
    choose(tab, lora, "lora_low", "none")
    tab.wait_for_function(f"type => !({TEXT})(type).includes(' at 1')", arg=lora)
    choose(tab, lora, "lora_low", "Wan22-I2V-A14B-LOW-rCM1_0_lora_rank_64_bf16.safetensors")
    wait_for_text(tab, lora, " at 1")
    # Run from ComfyUI's cache, it stays; run in vain, it goes.
    assert run(tab) == "execution_success"
    assert " at 1" in tab.evaluate(TEXT, lora)
    file = server.base / "models" / "loras" / STYLE
    content = file.read_bytes()
    save_file({"a.lora_down.weight": toy.lora(1).popitem()[1], "a.lora_up.weight": toy.lora(1).popitem()[1]}, file)
    try:
        assert run(tab) == "execution_error"
        tab.keyboard.press("Escape")
        tab.wait_for_function(f"type => !({TEXT})(type).includes(' at 1')", arg=lora)
    finally:
        file.write_bytes(content)


def test_outputs_of_a_run_from_the_history_bring_its_reports(tab):
    load(tab, shipped())
    wait_for_text(tab, "Wan22Turbo_Sampler", "2 high")
    tab.evaluate("() => { app.nodeOutputs = {7: {text: ['the plan of that run']}}; }")
    wait_for_text(tab, "Wan22Turbo_Sampler", "the plan of that run")
    look_at(tab, "Wan22Turbo_Sampler")
    type_number(tab, "Wan22Turbo_Sampler", "steps", 2)
    wait_for_text(tab, "Wan22Turbo_Sampler", "2 high | .9950 .9338")


def test_the_clip_plays_in_the_node_that_saved_it(tab):
    load(tab, shipped(HOSTED))
    tab.evaluate("""() => {
        for (const node of [...app.graph.nodes])
            if (!['LoadImage', 'Wan22Turbo_SaveMp4'].includes(node.type)) app.graph.remove(node);
        const find = type => app.graph.nodes.find(node => node.type === type);
        const repeat = LiteGraph.createNode('RepeatImageBatch');
        app.graph.add(repeat);
        repeat.widgets.find(widget => widget.name === 'amount').value = 33;
        find('LoadImage').connect(0, repeat, 0);
        repeat.connect(0, find('Wan22Turbo_SaveMp4'), 0); }""")
    look_at(tab, "Wan22Turbo_SaveMp4")
    assert run(tab) == "execution_success"
    assert play(tab) in [450, 451]
    picture(tab, "clip")
    assert tab.errors == []


def test_the_clip_plays_in_the_node_that_decoded_it(tab, server):
    load(tab, shipped())
    set_value(tab, "LoadImage", "image", NARROW)
    look_at(tab, "Wan22Turbo_Resolution")
    choose(tab, "Wan22Turbo_Resolution", "tier", "240p")
    look_at(tab, "Wan22Turbo_ImageToVideo")
    type_number(tab, "Wan22Turbo_ImageToVideo", "seconds", 1)
    look_at(tab, "Wan22Turbo_DecodeMp4")
    assert run(tab) == "execution_success"
    newest = max((server.base / "output").rglob("*.mp4"), key=lambda file: file.stat().st_mtime)
    assert play(tab) == frames_of(newest)[0].shape[1]
    picture(tab, "decoded_clip")
    assert tab.errors == []
