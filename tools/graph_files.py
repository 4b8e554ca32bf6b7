"""Writes what belongs to the graphs in workflows/: API twins and thumbnails, as ComfyUI's own frontend makes them.

    make graphs                    after a graph was edited in ComfyUI and saved
    make graphs ARGS=wan22_long    of the graphs whose names begin so

A test holds each twin equal to what the frontend posts; the thumbnails are for the template browser.
"""

import io
import json
import sys
import tempfile
from pathlib import Path

from comfy_server import ROOT, ComfyServer, place_photograph, tiny_models
from find_browser import ARGUMENTS, ensure_browser, frontend, settle
from graph_cards import SIDE, page_of
from PIL import Image

GRAPHS = ROOT / "workflows"
README_PICTURE = ("wan22_turbo_i2v", ROOT / "docs" / "images" / "graph.jpg", 1800)
WINDOW = 2700, 1700  # large enough that ComfyUI draws the text of every graph
FIT = """() => {
    const boxes = app.graph.groups.map(group => [...group.pos, ...group.size]);
    const [left, top] = [Math.min(...boxes.map(b => b[0])), Math.min(...boxes.map(b => b[1]))];
    const right = Math.max(...boxes.map(b => b[0] + b[2])), bottom = Math.max(...boxes.map(b => b[1] + b[3]));
    const view = app.canvas.ds, scale = Math.min(2500 / (right - left), 1500 / (bottom - top));
    view.scale = scale;
    view.offset[0] = 110 / scale - left;
    view.offset[1] = 110 / scale - top;
    app.canvas.setDirty(true, true);
    return {x: 100, y: 100, width: (right - left) * scale + 20, height: (bottom - top) * scale + 20};
}"""


def main(prefix: str = "") -> None:
    """Opens each graph in the frontend, and writes its files."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        tiny_models(base / "models")
        place_photograph(base / "input")
        with ComfyServer(base) as server:
            browser = playwright.chromium.launch(executable_path=ensure_browser(), args=ARGUMENTS)
            with frontend(browser, server) as page:
                page.set_viewport_size({"width": WINDOW[0], "height": WINDOW[1]})
                easel = browser.new_page(viewport={"width": SIDE, "height": SIDE})
                for path in sorted(GRAPHS.glob(f"{prefix}*.json")):
                    write_files(page, easel, path)
            browser.close()


def write_files(page, easel, path: Path) -> None:
    """Writes the twin and the thumbnail of one graph, which an empty page draws."""
    page.evaluate("graph => app.loadGraphData(graph)", json.loads(path.read_text(encoding="utf-8")))
    settle(page)  # the frontend lays widgets out and loads the picture
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    twin = path.parent / "api" / path.name
    twin.write_text(json.dumps(prompt, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    clip = page.evaluate(FIT)
    settle(page)
    shot = page.screenshot(clip=clip)
    shown = Image.open(io.BytesIO(shot)).convert("RGB")
    easel.set_content(page_of(path.stem, shot))
    card = Image.open(io.BytesIO(easel.screenshot())).convert("RGB")
    save_at(path.with_suffix(".jpg"), card, SIDE)
    name, picture, width = README_PICTURE
    if path.stem == name:
        save_at(picture, shown, width)


def save_at(path: Path, picture: Image.Image, width: int) -> None:
    """Writes a JPEG of a width in pixels."""
    size = (width, round(picture.height * width / picture.width))
    picture.resize(size, Image.Resampling.LANCZOS).save(path, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:])
