"""Secrets in text: hidden where people will see it. Of an address, query, fragment and user part are hidden whole."""

import json

import pytest
from pack.common.redact import mask, without_tokens
from pack.hosted.request import Lora


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
        ("https://lora.example/a#token=t and", "https://lora.example/a#*** and"),
        ("plain text? yes: 5 s", "plain text? yes: 5 s"),
        ("see (https://lora.example/a?b=c), then go", "see (https://lora.example/a?***), then go"),
    ],
)
def test_mask(text, shown):
    assert mask(text, "S3CRET", "") == shown


SECRET = "0a1b2c3d4e"
NAMES = (
    "hdnts", "hdnea", "__token__", "st", "h", "Policy", "AWSAccessKeyId", "Key-Pair-Id", "Signature", "Expires",
    "token", "sig", "se", "sv", "X-Amz-Security-Token", "X-Goog-Signature", "GoogleAccessId", "verify", "hash", "e",
    "md5", "t", "auth_key", "wsSecret", "q-ak", "OSSAccessKeyId", "response-content-disposition", "jwt", "code", "p",
    "\u5bc6\u94a5",
)  # fmt: skip
PLACES = [
    *(f"https://lora.example/a.safetensors?{name}={SECRET}" for name in NAMES),
    *(f"https://lora.example/a.safetensors?type=Model&{name}={SECRET}&format=F" for name in NAMES),
    f"https://lora.example/a?{SECRET}", f"https://lora.example/a?{SECRET}&b", f"https://lora.example?{SECRET}",
    f"https://lora.example/a?x=it's&{SECRET}", f'https://lora.example/a?x="&{SECRET}', f"HTTPS://LORA.EXAMPLE/A?{SECRET}",
    f"https://lora.example/a#{SECRET}", f"https://lora.example/a#x?{SECRET}", f"https://lora.example/a??{SECRET}",
    f"https://{SECRET}@lora.example/a", f"https://me:{SECRET}@lora.example/a", f"https://me@x:{SECRET}@lora.example/a",
    f"https://me:{SECRET}/x@lora.example/a", f"https://lora.example/exp=1~acl=x~hmac={SECRET}/a.safetensors",
    f"https://lora.example/a;jsessionid={SECRET}", f"https://lora.example/a;{SECRET}/b",
    f"s3://bucket/a?X-Amz-Signature={SECRET}", f"ftp://me:{SECRET}@lora.example/a", f"wss://lora.example/a?t={SECRET}",
    f"//lora.example/a?t={SECRET}", f"lora.example/a?t={SECRET}", f"civitai.com/api/models/1#t={SECRET}",
    f"https:\\/\\/lora.example\\/a?t={SECRET}", f"https://lora.example/a?type=M\\u0026t={SECRET}",
    f'{{"url": "https://lora.example/a?type=M\\u0026t={SECRET}"}}', f"[a](https://lora.example/a?t={SECRET})",
    f"first https://lora.example/a?t={SECRET}, then https://lora.example/b?t={SECRET}.", f"  https://x.org/?{SECRET}\n",
    f"https://p.example/https%3A%2F%2Flora.example%2Fa%3Ft%3D{SECRET}", f"https://p.example/?u=https%3A%2F%2F{SECRET}",
    f"https%3A%2F%2Flora.example%2Fa%3ft%3d{SECRET}", f"a HTTPS%3a%2f%2Fme%3A{SECRET}%40lora.example%2Fa b",
    f"https%3A%2F%2Flora.example%2Fa%23{SECRET}", f"https%253A%252F%252Flora.example%252Fa%253Ft%253D{SECRET}",
    f"https%3A//lora.example/a%3Ft%3D{SECRET}", f"https%3A//me%3A{SECRET}%40lora.example/a",  # as Python's quote writes
    f"https%3A//lora.example/a?t={SECRET}", f"u=https%3A%2F%2Fme:{SECRET}@lora.example%2Fa",
    f"https:%2F%2Flora.example%2Fa%3Ft%3D{SECRET}", f"https%253A//lora.example/a%253Ft%253D{SECRET}",
    f"https://[2606:4700::1]:8443/a?t={SECRET}", f"https://lora.example:8443/a?t={SECRET}",
]  # fmt: skip


@pytest.mark.parametrize("text", PLACES)
def test_nothing_of_an_address_is_left_but_host_and_path(text):
    for seen in (mask(text), json.dumps(without_tokens({"a": [text], text: 1}))):
        assert SECRET not in seen
        assert "lora.example" in seen.lower() or "lora.example" not in text.lower() or "/x@" in text


@pytest.mark.parametrize("text", [each for each in PLACES if each.startswith("https://lora.example/a")])
def test_a_lora_never_shows_the_rest_of_its_address(text):
    assert SECRET not in repr(Lora(text, 1.0, "both"))


def test_a_graph_keeps_everything_but_the_rest_of_its_addresses():
    graph = {
        "nodes": [{"widgets_values": ["https://civitai.com/x?type=Model&token=abc&format=F", 1.0, None, True]}],
        "note": "A [video](https://example.com/watch?v=1), at /home/x? Yes: and/or, 5 = five. key=5 https://a.org/b/c.d",
        "fragment": "https://lora.example/a#access_token=abc",
        "password": "https://me:secret@lora.example/a",
        "huggingface": "https://huggingface.co/o/r/resolve/main/a.safetensors",
        "nested": json.dumps({"url": "https://lora.example/a?token=abc", "b": 1}),
        "people": "https://medium.com/@someone/a-post",
        "picture": "data:image/png;base64,iVBORw0KGgo=",
    }
    kept = without_tokens(graph)
    assert "abc" not in json.dumps(kept)
    assert "me:secret" not in json.dumps(kept)
    assert kept["nodes"][0]["widgets_values"] == ["https://civitai.com/x?***", 1.0, None, True]
    assert kept["note"] == graph["note"].replace("?v=1", "?***")
    assert kept["fragment"] == "https://lora.example/a#***"
    assert json.loads(kept["nested"]) == {"url": "https://lora.example/a?***", "b": 1}
    assert all(kept[name] == graph[name] for name in ("huggingface", "people", "picture"))
    assert without_tokens(kept) == kept


@pytest.mark.parametrize(
    "text",
    ["://" * 100_000, "a://" * 100_000, "https://" + "a@" * 100_000, "a." * 100_000, "https://x/" + "a=" * 100_000,
     "https://a?" * 50_000, "bearer " + " " * 200_000, "data:" * 50_000, "x?=" * 100_000, "https://x/" + ";" * 200_000,
     "a%3A%2F%2F" * 20_000, "https%3A%2F%2F" + "%40" * 50_000, "https%3A%2F%2F" + "%3F" * 50_000,
     "a%3A//" * 20_000, "https%3A//" + "@" * 100_000, "https%3A//" + "a" * 200_000,
     "https://x/" + "%3D" * 50_000, "https://x/?" + ")" * 200_000, "a.bc/(" * 100_000,
     "a.bc/" + "x.bc/:" * 100_000, "(a.bc:1/" * 100_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_long_text_of_any_kind_is_read_in_one_pass(text):
    """A pattern that tries again from each letter would take minutes here."""
    for whole in (text, f"=/ {text}"):  # some are no text in which an address could hide, until something else is
        masked, without = mask(whole), without_tokens(whole)
        assert mask(masked) == masked
        assert without_tokens(without) == without


@pytest.mark.parametrize("kind", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_graph_of_any_depth_can_be_saved(kind):
    graph = "https://lora.example/a?secret"
    for _ in range(900):
        graph = kind(graph)
    assert json.dumps(without_tokens(graph)).count("***") == 1
    assert "secret" not in json.dumps(without_tokens(graph))
