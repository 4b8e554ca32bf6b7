"""Pictures and graphs with a canary in one of the many places where a file can hold what nobody looks at."""

import json
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

CANARY = "hf_canary0123456789abcdef"
WORDS = "the canary of Ada"  # known for private by nothing but its place
GRAPH = {"nodes": [{"id": 1, "type": "LoadImage", "pos": [0, 0], "widgets_values": ["cat.png"]}], "links": []}


# Pictures.
def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(info: PngInfo | None = None, **options: Any) -> bytes:
    file = BytesIO()
    text = info or PngInfo()
    text.add_text("workflow", json.dumps(GRAPH))
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(file, "PNG", pnginfo=text, **options)
    return file.getvalue()


def behind_header(added: bytes) -> bytes:
    content = picture()
    return content[:33] + added + content[33:]


def with_pixels(change: Any) -> bytes:
    """Returns a picture whose packed pixels were changed."""
    content = picture()
    at = content.index(b"IDAT") - 4
    size = int.from_bytes(content[at : at + 4], "big")
    return content[:at] + chunk(b"IDAT", change(content[at + 8 : at + 8 + size])) + content[at + 12 + size :]


def text(name: str, value: str, **options: Any) -> bytes:
    info = PngInfo()
    info.add_text(name, value, **options)
    return picture(info)


def international(name: str, value: str, **options: Any) -> bytes:
    info = PngInfo()
    info.add_itxt(name, value, **options)
    return picture(info)


def pictures() -> dict[str, Any]:
    """Returns what makes a picture, by the place of the canary in it."""
    secret = CANARY.encode()
    exif = Image.Exif()
    exif[0x010E] = CANARY
    return {
        "tEXt": lambda: text("Comment", CANARY),
        "zTXt": lambda: text("Comment", CANARY, zip=True),
        "iTXt": lambda: international("Comment", CANARY),
        "iTXt, packed": lambda: international("Comment", CANARY, zip=True),
        "the language of iTXt": lambda: international("workflow", json.dumps(GRAPH), lang=CANARY),
        "the name in its language": lambda: international("workflow", json.dumps(GRAPH), tkey=CANARY),
        "the name of a text": lambda: text(CANARY, "1"),
        "an earlier workflow": lambda: text("workflow", CANARY),
        "XMP": lambda: international("XML:com.adobe.xmp", f"<x>{CANARY}</x>"),
        "ImageMagick's EXIF": lambda: text("Raw profile type exif", f"\nexif\n {len(secret)}\n{secret.hex()}\n"),
        "EXIF": lambda: picture(exif=exif),
        "a colour profile": lambda: behind_header(chunk(b"iCCP", b"x\0\0" + zlib.compress(secret))),
        "the name of a colour profile": lambda: behind_header(chunk(b"iCCP", secret + b"\0\0" + zlib.compress(b"x"))),
        "a palette to suggest": lambda: behind_header(chunk(b"sPLT", secret + b"\0\x08")),
        "a chunk of one's own": lambda: behind_header(chunk(b"adAa", secret)),
        "a chunk that is too long": lambda: behind_header(chunk(b"pHYs", bytes(9) + secret)),
        "behind the end": lambda: picture() + secret,
        "a chunk behind the end": lambda: picture() + chunk(b"tEXt", b"Comment\0" + secret),
        "behind the packed pixels": lambda: with_pixels(lambda data: data + secret),
        "behind the last row": lambda: with_pixels(lambda data: zlib.compress(zlib.decompress(data) + secret)),
    }


# Graphs.
def graphs() -> dict[str, Any]:
    """Returns a graph, or an API prompt, by the place of the canary in it; the places that a graph does not need."""

    def graph(**more: Any) -> dict[str, Any]:
        return {**GRAPH, **more}

    def node(**more: Any) -> dict[str, Any]:
        return graph(nodes=[{**GRAPH["nodes"][0], **more}])

    def slot(**more: Any) -> dict[str, Any]:
        return node(inputs=[{"name": "image", "type": "IMAGE", "link": None, **more}])

    subgraph = {"id": "1b", "name": "Part", "nodes": [], "inputNode": {"id": -10}, "outputNode": {"id": -20}}

    def part(**more: Any) -> dict[str, Any]:
        return graph(definitions={"subgraphs": [{**subgraph, **more}]})

    link = {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"}
    call = {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}
    return {
        "the top": graph(mine=WORDS),
        "the version": graph(version=WORDS),
        "a counter's name": graph(state={WORDS: 1}),
        "the counters": graph(state={"lastNodeId": 1, "mine": WORDS}),
        "the switches": graph(config={"links_ontop": WORDS}),
        "extra": graph(extra={"mine": WORDS}),
        "extra, an API prompt": graph(extra={"prompt": {"1": {**call, "inputs": {"text": WORDS}}}}),
        "the view": graph(extra={"ds": {"scale": 1, "offset": WORDS}}),
        "definitions": graph(definitions={"mine": WORDS}),
        "a subgraph": part(mine=WORDS),
        "a subgraph's edge": part(inputNode={"id": -10, "mine": WORDS}),
        "a subgraph's extra": part(extra={"mine": WORDS}),
        "a node": node(mine=WORDS),
        "a node's place": node(pos=[0, WORDS]),
        "a node's flags": node(flags={"collapsed": True, "mine": WORDS}),
        "a node's mode": node(mode=WORDS),
        "an input": slot(mine=WORDS),
        "an input's tooltip": slot(tooltip=WORDS),
        "an input's link": slot(link=WORDS),
        "an input's widget": slot(widget={"name": "image", "config": WORDS}),
        "a link": graph(links=[[1, 1, 0, 2, 0, "IMAGE", WORDS]]),
        "within a link": graph(links=[[1, 1, 0, 2, {"mine": WORDS}, "IMAGE"]]),
        "a link of a subgraph": part(links=[{**link, "mine": WORDS}]),
        "a loose link": graph(floatingLinks=[{**link, "mine": WORDS}]),
        "a reroute": graph(reroutes=[{"id": 1, "pos": [0, 0], "mine": WORDS}]),
        "a group": graph(groups=[{"title": "Group", "bounding": [0, 0, 1, 1], "mine": WORDS}]),
        "a group's size": graph(groups=[{"title": "Group", "bounding": [0, 0, 1, WORDS]}]),
        "a model": graph(models=[{"name": "a", "url": "https://x.org/a", "directory": "vae", "mine": WORDS}]),
        "a prompt's node": {"1": {**call, "mine": WORDS}},
        "a prompt's title": {"1": {**call, "_meta": {"title": "Load Image", "mine": WORDS}}},
        "ComfyUI's note": {"1": {**call, "is_changed": [WORDS]}},
    }


def interlaced() -> bytes:
    """Returns an interlaced picture, 11x13 in RGB: seven passes, each as a small picture of its own."""
    pixels = np.random.default_rng(2).integers(0, 255, (13, 11, 3), dtype=np.uint8)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = [row.tobytes() for x, y, right, down in passes for row in pixels[y::down, x::right] if len(row)]
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    head = struct.pack(">IIBBBBB", 11, 13, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
