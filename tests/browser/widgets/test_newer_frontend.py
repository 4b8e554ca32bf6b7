"""What newer frontends will take away is not used by the pack: `make test COMFYUI_FRONTEND=folder` shows it for one."""

import pytest
from pack.tests.browser.hands import LOCAL, bypass, load, look_at, shipped, wait_for_text

pytestmark = pytest.mark.browser

# The frontend uses some of it itself: only what is called from a file of ours counts.
LISTEN = """() => { window.told = []; LiteGraph.alwaysRepeatWarnings = true;
    LiteGraph.onDeprecationWarning.push(message => {
        const stack = new Error().stack;
        if (stack.includes('/extensions/another-name/')) window.told.push(message + stack); }); }"""


def test_nothing_deprecated_is_used_by_the_pack(tab):
    tab.evaluate(LISTEN)
    load(tab, shipped(LOCAL))
    wait_for_text(tab, "Wan22Turbo_Sampler", "2 high + 2 low")
    wait_for_text(tab, "Wan22Turbo_Resolution", "451x300 -> ")
    tab.evaluate("""() => { const number = LiteGraph.createNode('PrimitiveInt'); app.graph.add(number);
        const sampler = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Sampler');
        number.connect(0, sampler, sampler.findInputSlot('steps')); }""")
    wait_for_text(tab, "Wan22Turbo_Sampler", "Known when it runs: steps from another node.")
    look_at(tab, "Wan22Turbo_Lora")
    bypass(tab, "Wan22Turbo_Lora")
    tab.evaluate("async () => { await app.graphToPrompt(); }")
    assert tab.evaluate("() => window.told") == []
    assert tab.errors == []
