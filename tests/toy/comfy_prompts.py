"""The prompts of loopback ComfyUIs, the nodes that these know, and the clips that they make of them."""

import json
import struct
from typing import Any

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "Your picture"}},
    "7": {"class_type": "Sample", "inputs": {"images": ["1", 0], "seed": 0, "steps": 4}, "_meta": {"title": "Sampler"}},
    "9": {"class_type": "Save", "inputs": {"images": ["7", 0], "crf": 18}, "_meta": {"title": "Save"}},
}
HOSTED: dict[str, Any] = {
    "1": PROMPT["1"],
    "7": {
        "class_type": "Wan22Turbo_Hosted",
        "inputs": {
            "image": ["1", 0],
            "prompt": "x",
            "model": "Toy: i2v",
            "resolution": "480p",
            "duration": 5,
            "seed": 0,
        },
        "_meta": {"title": "Hosted"},
    },
    "9": PROMPT["9"],
}
INFO: dict[str, Any] = {
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}, "output_node": False},
    "Sample": {
        "input": {
            "required": {
                "images": ["IMAGE"],
                "seed": ["INT", {"min": 0, "max": 2**53}],
                "steps": ["INT", {"min": 1, "max": 8}],
            }
        },
        "output_node": False,
    },
    "Save": {"input": {"required": {"images": ["IMAGE"], "crf": ["INT", {"min": 1, "max": 51}]}}, "output_node": True},
    "Wan22Turbo_Hosted": {
        "input": {
            "required": {
                "image": ["IMAGE"],
                "prompt": ["STRING", {}],
                "model": [["Toy: i2v", "Toy: unpriced"], {}],
                "resolution": [["480p", "720p"], {}],
                "duration": ["INT", {"min": 5, "max": 8, "step": 3}],
                "seed": ["INT", {"min": 0, "max": 2**31}],
            }
        },
        "output_node": False,
    },
}
PRICES = {"480p": 0.1, "720p": 0.2}


def box(kind: bytes, content: bytes = b"") -> bytes:
    """A part of an MP4."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def clip(prompt: dict[str, Any], size: int = 0) -> bytes:
    """An MP4 without pictures, which tells what it was made of, and is so large."""
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov") + box(b"mdat", key(prompt).encode() + bytes(size))


def key(prompt: dict[str, Any]) -> str:
    """What tells one job from another."""
    return json.dumps([node["inputs"] for node in prompt.values()], sort_keys=True)
