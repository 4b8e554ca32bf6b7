"""Draws the thumbnails of the graphs: what each is for, above a picture of it, to be told apart at a glance.

The template browser shows them in squares of about 210 pixels, with the graph's file name below.
"""

import base64
import html
from typing import NamedTuple

SIDE = 800  # pixels


class Card(NamedTuple):
    """What stands above a graph: a colour, a few words, more words, and symbols in a row."""

    colour: str
    title: str
    words: str
    symbols: tuple[str, ...]


CARDS = {
    "wan22_turbo_i2v": Card(
        "#0f766e", "Start here", "a picture becomes a clip, in 4 rCM steps", ("picture", "to", "clip")
    ),
    "wan22_lightning_i2v": Card(
        "#b45309", "Nothing to download", "the files of ComfyUI's own template", ("picture", "bolt", "clip")
    ),
    "wan22_lora_i2v": Card("#be185d", "Your own LoRA", "on top, with its trigger words", ("picture", "plus", "lora")),
    "wan22_first_last_frame_i2v": Card(
        "#1d4ed8", "Picture to picture", "first and last frame, or a loop", ("picture", "to", "picture")
    ),
    "wan22_long_clip_i2v": Card("#7e22ce", "Half a minute", "a story, a line for each part", ("clip", "plus", "clip")),
    "wan22_undistilled_i2v": Card("#475569", "20 steps", "as trained, to compare with", ("picture", "steps", "clip")),
    "wan22_turbodiffusion_i2v": Card(
        "#0e7490", "TurboDiffusion", "sparse attention, as trained", ("picture", "sparse", "clip")
    ),
    "wan22_lightwan_i2v": Card("#a16207", "LightWan2.2", "nvfp4 and a tenth of attention", ("sparse", "bolt", "clip")),
    "wan22_hosted_i2v": Card("#0369a1", "No GPU", "a hosted model, for a price", ("picture", "cloud", "clip")),
    "wan22_hosted_lora_i2v": Card(
        "#9f1239", "No GPU, with LoRAs", "which the provider fetches", ("lora", "cloud", "clip")
    ),
    "wan22_local_and_hosted_i2v": Card(
        "#4d7c0f", "Side by side", "this machine and a hosted model", ("chip", "picture", "cloud")
    ),
}
FRAME = '<rect x="6" y="16" width="88" height="68" rx="8"/>'
SYMBOLS = {  # SVG, 100 by 100
    "picture": f'{FRAME}<circle cx="32" cy="38" r="8"/><path d="M10 78 40 52 54 64 72 46 90 70"/>',
    "clip": f'{FRAME}<path class="full" d="M40 34 66 50 40 66z"/>',
    "lora": f'{FRAME}<text x="50" y="60">LoRA</text>',
    "steps": '<text class="large" x="50" y="64">20</text>',
    "sparse": "".join(
        f'<rect class="full" x="{x}" y="{y}" width="18" height="18"/>'
        for x, y in ((8, 8), (30, 8), (30, 30), (52, 52), (74, 30), (74, 74), (8, 74), (52, 74))
    ),
    "to": '<path d="M14 50H86M62 26 86 50 62 74"/>',
    "plus": '<path d="M50 26V74M26 50H74"/>',
    "bolt": '<path class="full" d="M58 8 24 56h22l-6 36 36-50H52z"/>',
    "cloud": '<path d="M28 76a21 21 0 0 1 0-42 26 26 0 0 1 48 4 19 19 0 0 1-2 38z"/>',
    "chip": '<rect x="24" y="24" width="52" height="52" rx="6"/>'
    '<path d="M38 24V8M62 24V8M38 92V76M62 92V76M24 38H8M24 62H8M92 38H76M92 62H76"/>',
}
STYLE = """
    * { margin: 0; box-sizing: border-box; }
    body { width: 800px; height: 800px; background: #1b1b1e; color: #fff; font-family: DejaVu Sans, Arial, sans-serif; }
    header { height: 300px; padding: 22px 34px; background: COLOUR; }
    h1 { font-size: 62px; line-height: 76px; letter-spacing: -1px; white-space: nowrap; }
    p { font-size: 35px; line-height: 46px; white-space: nowrap; }
    nav { display: flex; gap: 26px; margin-top: 6px; }
    svg { width: 118px; fill: none; stroke: #fff; stroke-width: 7; stroke-linecap: round; stroke-linejoin: round; }
    .full, text { fill: #fff; stroke: none; }
    text { font-size: 29px; font-weight: bold; text-anchor: middle; }
    .large { font-size: 52px; }
    img { width: 800px; height: 500px; object-fit: contain; }
"""


def page_of(name: str, graph: bytes) -> str:
    """Returns the card of a graph as a web page of 800x800 pixels, around a PNG of the graph.

    Raises:
        KeyError: The graph has no card yet.
    """
    card = CARDS[name]
    symbols = "".join(f'<svg viewBox="0 0 100 100">{SYMBOLS[symbol]}</svg>' for symbol in card.symbols)
    picture = base64.b64encode(graph).decode()
    return (
        f"<style>{STYLE.replace('COLOUR', card.colour)}</style><header><h1>{html.escape(card.title)}</h1>"
        f"<p>{html.escape(card.words)}</p><nav>{symbols}</nav></header><img src='data:image/png;base64,{picture}'>"
    )
