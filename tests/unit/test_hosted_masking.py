"""Secrets in text: hidden where people will see it."""

import json

import pytest
from pack.hosted.masking import mask, without_tokens


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no https://cdn.example/a.mp4?sig=abc&x=1 here", "no https://cdn.example/a.mp4?*** here"),
        ("'https://user:pw@lora.example/a'", "'https://lora.example/a'"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("bad key sk-abcdef123456.", "bad key sk-***"),
        ("data:image/png;base64,iVBORw0KGgo=", "data:***"),
        ("my own secret is S3CRET", "my own secret is ***"),
        ("https://civitai.com/api/download/models/7?token=t", "https://civitai.com/api/download/models/7?***"),
        ("https://lora.example/a?b=c#token=t and", "https://lora.example/a?***#*** and"),
        ("plain text? yes: 5 s", "plain text? yes: 5 s"),
    ],
)
def test_mask(text, shown):
    assert mask(text, "S3CRET", "") == shown


def test_a_graph_keeps_everything_but_the_tokens():
    graph = {
        "nodes": [{"widgets_values": ["https://civitai.com/x?type=Model&token=abc&format=F", 1.0, None, True]}],
        "note": "see https://example.com/watch?v=1, key=5",
        "fragment": "https://lora.example/a#access_token=abc",
        "password": "https://me:secret@lora.example/a",
    }
    kept = without_tokens(graph)
    assert "abc" not in json.dumps(kept)
    assert "me:secret" not in json.dumps(kept)
    assert kept["nodes"][0]["widgets_values"] == [
        "https://civitai.com/x?type=Model&token=***&format=F",
        1.0,
        None,
        True,
    ]
    assert kept["note"] == graph["note"]
