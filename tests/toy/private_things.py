"""Graphs and prompts with what nobody means to share, and what the share check says of them."""

import json
from pathlib import Path

from share_check import clean, findings

ROOT = Path(__file__).parents[2]
NAMED = ("x-token", "x-key", "x-signature", "x-credential", "sig", "secret", "password", "auth")  # in addresses
WORDS = "My neighbour waves from her garden."
SECRETS = [
    "C:\\Users\\ada\\models\\cat.safetensors",
    "/home/ada/pictures/cat.png",
    "hf_0123456789abcdef",
    "token=s3cret",
]
GRAPH = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["/home/ada/pictures/cat.png", "image"]},
        {"id": 2, "type": "UNETLoader", "widgets_values": ["C:\\Users\\ada\\models\\cat.safetensors"]},
        {
            "id": 3,
            "type": "Wan22Turbo_HostedLora",
            "widgets_values": ["https://x.org/a.safetensors?type=M&token=s3cret"],
        },
        {"id": 4, "type": "CLIPTextEncode", "widgets_values": [WORDS]},
        {"id": 5, "type": "MarkdownNote", "widgets_values": ["A note for everybody who opens this."]},
        {"id": 6, "type": "Other", "widgets_values": ["sent as Bearer hf_0123456789abcdef", 7, None, True]},
    ],
    "extra": {"api_key": "plain words", "nested": json.dumps({"file": "/mnt/disk/x.png"})},
}
PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
    "2": {"class_type": "Wan22Turbo_Lora", "inputs": {"prompt": WORDS, "trigger_words": "ada", "strength_high": 1.0}},
}


def kinds(value, **options):
    return sorted(finding.kind for finding in findings(value, **options))


HEX = "0123456789abcdef0123456789abcdef"
UUID = "12345678-90ab-cdef-1234-567890abcdef"


def cleaned(value, prompts=False):
    return clean(value, prompts, lambda _: None)


def node(values, *names, kind="Other", slots="inputs"):
    """A node of a graph, with an input that has no widget before those that have one."""
    widgets = [{"name": name, "type": "STRING", "widget": {"name": name}} for name in names]
    return {"id": 1, "type": kind, slots: [{"name": "image", "type": "IMAGE"}, *widgets], "widgets_values": values}
