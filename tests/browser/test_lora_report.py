"""The LoRA doctor on the canvas: the report, with all that it may say, is read on the node itself."""

from pathlib import Path

import pytest
import torch
from find_browser import settle
from pack.tests.browser.hands import reload, wait_for_text
from pack.tests.browser.test_graphs import open_graph
from pack.tests.toy import models as toy
from safetensors.torch import save_file

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
GRAPH = ROOT / "workflows" / "wan22_turbo_i2v.json"
PICTURES = ROOT / "output" / "screenshots"

ONLY_THE_LORA = """files => {
    const kept = ['Wan22Turbo_Loader', 'Wan22Turbo_Lora'];
    for (const node of [...app.graph.nodes]) if (!kept.includes(node.type)) app.graph.remove(node);
    for (const group of [...app.graph.groups]) app.graph.remove(group);
    const lora = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Lora');
    const set = (name, value) => { lora.widgets.find(widget => widget.name === name).value = value; };
    set('lora_high', files[0]); set('lora_low', files[1]);
    const shown = LiteGraph.createNode('PreviewAny');
    app.graph.add(shown);
    lora.connect(2, shown, 0);
    window.ended = null;
    const end = kind => event => { window.ended = kind + ' ' + (event.detail.exception_message ?? ''); };
    for (const kind of ['execution_success', 'execution_error']) app.api.addEventListener(kind, end(kind));
}"""
LOOK = """() => {
    const lora = app.graph.nodes.find(node => node.type === 'Wan22Turbo_Lora');
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [300 - lora.pos[0], 150 - lora.pos[1]];
    app.canvas.setDirty(true, true);
}"""


@pytest.fixture
def files(server):
    """A pair that gives every kind of line: named for the other expert, with layers that Wan 2.2 has not."""
    folder = server.base / "models" / "loras"
    state = toy.lora(5) | {
        "diffusion_model.blocks.0.cross_attn.k_img.lora_down.weight": torch.zeros(4, 128),
        "diffusion_model.blocks.7.ffn.0.lora_down.weight": torch.zeros(4, 128),
        "diffusion_model.blocks.7.ffn.0.lora_up.weight": torch.zeros(256, 4),
    }
    metadata = {"ss_base_model_version": "wan22_14b", "software": "ai-toolkit", "modelspec.trigger_phrase": "wtrclr"}
    names = ["watercolour_low_noise.safetensors", "watercolour_high_noise.safetensors"]
    for name in names:
        save_file(state, folder / name, metadata)
    yield names
    for name in names:
        (folder / name).unlink()


@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes_2"])
def test_the_report_is_read_on_the_node(page, server, files, nodes_2):
    server.set_setting("Comfy.VueNodes.Enabled", nodes_2)
    try:
        reload(page)
        open_graph(page, GRAPH)
        page.evaluate(ONLY_THE_LORA, files)
        page.evaluate("() => app.queuePrompt(0)")
        page.wait_for_function("() => window.ended !== null")
        assert page.evaluate("() => window.ended").startswith("execution_success")
        page.evaluate(LOOK)
        wait_for_text(page, "Wan22Turbo_Lora", "high: watercolour_low_noise.safetensors at 1")
        settle(page)
        shown = "\n".join(
            page.evaluate("""() => app.graph.nodes.find(n => n.type === 'Wan22Turbo_Lora')
                             .widgets.map(widget => String(widget.value))""")
        )
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"lora_report_{'nodes_2' if nodes_2 else 'classic'}.png")
    finally:
        server.set_setting("Comfy.VueNodes.Enabled", False)
    assert "high: watercolour_low_noise.safetensors at 1" in shown
    assert "8 of 9 layers (24 keys), rank 4, made for wan22_14b, with ai-toolkit" in shown
    assert "not applied: diffusion_model.blocks.7.ffn.0 (2 keys)" in shown
    assert "layers of Wan 2.1's image encoder left out, as Wan 2.2 has none: 1" in shown
    assert "Check that the two files are not swapped" in shown
    assert page.page_errors == []
