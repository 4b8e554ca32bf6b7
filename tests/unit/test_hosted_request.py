"""What a hosted request must keep to before anything is sent, and what is sent."""

import inspect
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pack.hosted.errors import RequestError
from pack.hosted.providers import HIGH, LOW, OFFERS, PLAIN, PROVIDERS
from pack.hosted.request import MAX_SEED, Lora, Picture, Request, check_settings
from pack.tests.toy.hosted import picture
from pack.tests.toy.providers import PROVIDERS as DOCUMENTED
from PIL import Image

W = "WaveSpeed: wan-2.2/image-to-video"
LORA = Lora("https://lora.example/a.safetensors", 1.0, "both")
CIVITAI = "https://civitai.com/api/download/models/7?type=Model&token=civitai-secret-1"


def request(offer=W, **changes):
    return replace(Request(offer, "A cat turns its head.", picture()), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offer": "WaveSpeed: wan-9"}, "The hosted model must be one of WaveSpeed: wan-2.2/image-to-video, "),
        ({"prompt": " \n"}, "A hosted model needs a prompt, got none."),
        ({"seed": MAX_SEED + 1}, "takes a seed of 0 to 2147483647, got 2147483648."),
        ({"seed": -1}, "takes a seed of 0 to 2147483647, got -1."),
        ({"duration": 6}, "takes duration 5 or 8, got 6."),
        ({"resolution": "1080p"}, "takes resolution 480p or 720p, got 1080p."),
        ({"offer": "WaveSpeed: wan-2.2/i2v-480p", "resolution": "720p"}, "takes resolution 480p, got 720p."),
        ({"loras": (LORA,)}, "takes no LoRAs, got one for both. Choose a model whose name ends in -lora"),
        ({"offer": f"{W}-lora", "loras": (LORA,) * 4}, "A model takes 3 LoRAs in loras, got 4."),
        ({"offer": f"{W}-lora", "loras": (replace(LORA, scale=9.0),)}, "takes a scale of 0 to 4, got 9."),
        ({"offer": f"{W}-lora", "loras": (replace(LORA, scale=float("nan")),)}, "takes a scale of 0 to 4, got nan."),
        (
            {"offer": "AtlasCloud: wan-2.2/image-to-video", "last_image": picture(1)},
            "takes no last_image, got one. Disconnect it",
        ),
        (
            {"offer": "AtlasCloud: wan-2.2-turbo/image-to-video", "negative_prompt": "blur"},
            "takes no negative prompt, got one. Clear it",
        ),
        (
            {"offer": "WaveSpeed: wan-2.2/i2v-5b-720p-lora", "resolution": "720p",
             "loras": (replace(LORA, expert="high"),)},
            "takes loras, got one for high. Set expert to both.",
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_value(changes, message):
    with pytest.raises(RequestError) as refused:
        request(**changes).check()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://lora.example/a.safetensors", "ftp://lora.example/a", "a.safetensors", "",
        "/tmp/a", "C:\\loras\\a.safetensors", "https://127.0.0.1/a.safetensors", "https://localhost/a",
        "https://10.0.0.8/a", "https://[::1]/a", "https://nas.local/a", "https://router/a", "https://169.254.169.254/x",
        "https://me:pass@lora.example/a", "https://lora.example", "https://lora.example/a b", "javascript:alert(1)",
        "data:text/plain,a", "../../owner/repo", "owner/repo/more", "https://lora.example/a\nHost: b",
        "https://lora.example/a#token=t", "https://[64:ff9b::7f00:1]/a", "https://[2002:7f00:1::]/a",
        "https://[::7f00:1]/a", "https://224.0.0.1/a", "https://127.1/a", "https://\uff11\uff12\uff17.1/a",
        "https://nas.local./a", "https://NAS.Internal/a",
    ],
)  # fmt: skip
def test_a_lora_must_be_at_a_public_https_address(url):
    with pytest.raises(RequestError, match=r"needs the public https address of a \.safetensors file"):
        replace(LORA, url=url).check()


@pytest.mark.parametrize("url", ["https://huggingface.co/o/r/resolve/main/a.safetensors", "owner/repo-1", CIVITAI])
def test_forms_that_providers_fetch_are_taken(url):
    replace(LORA, url=url).check()


def test_a_token_is_passed_on_and_shown_nowhere():
    asked = request(f"{W}-lora", loras=(replace(LORA, url=CIVITAI),))
    asked.check()
    assert asked.fields("i", None)["loras"] == [{"path": CIVITAI, "scale": 1.0}]
    assert "civitai-secret-1" not in repr(asked)
    with pytest.raises(RequestError) as refused:
        replace(LORA, url=CIVITAI.replace("https", "http")).check()
    assert "civitai-secret-1" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("civitai.com/api/download/models/1?token=SECRET", "something else"),
        ("//civitai.com/x?token=SECRET", "something else"),
        ("http:/civitai.com/x?token=SECRET", "something else"),
        ("ftp://u:SECRET@host.example/x", "one at ftp://host.example"),
        ("https://civitai.com/token SECRET", "one at https://civitai.com"),
        ("https://civitai.com/x#token=SECRET", "one at https://civitai.com"),
        ("https://[bad/x?token=SECRET", "something else"),
        ("https://u:SECRET/token@host.example/x", "something else"),
        ("civitai.com/x?token=***&key=SECRET", "something else"),
    ],
)
def test_a_refused_address_is_notread_price(url, named):
    lora = replace(LORA, url=url)
    with pytest.raises(RequestError, match=f"got {named}\\.") as refused:
        lora.check()
    assert "SECRET" not in f"{refused.value} {lora!r}"


def test_an_address_from_a_shared_clip_asks_for_its_token_again():
    with pytest.raises(RequestError, match=r"was masked, got one at https://civitai\.com\. Paste the address again"):
        replace(LORA, url="https://civitai.com/x?token=***").check()


@pytest.mark.parametrize(
    ("offer", "expert", "arrays"),
    [
        (f"{W}-lora", "both", [PLAIN]),
        (f"{W}-lora", "high", [HIGH]),
        ("WaveSpeed: wan-2.2-spicy/image-to-video-lora (unrestricted)", "both", [HIGH, LOW]),
        ("AtlasCloud: wan-2.2-turbo-spicy/image-to-video-lora (unrestricted)", "both", [HIGH, LOW]),
        ("AtlasCloud: alibaba/wan-2.2-spicy/image-to-video-lora (unrestricted)", "both", [PLAIN]),
        ("AtlasCloud: wan-2.2-turbo-spicy/image-to-video-lora (unrestricted)", "low", [LOW]),
    ],
)
def test_a_lora_goes_where_the_model_takes_it(offer, expert, arrays):
    assert list(request(offer, loras=(replace(LORA, expert=expert),)).lora_arrays()) == arrays


@pytest.mark.parametrize("offer", OFFERS)
def test_every_model_is_sent_what_its_documentation_lists_and_no_more(offer):
    provider, model = OFFERS[offer]
    documented = DOCUMENTED[provider.name].models[model.id]
    experts = ("both", "high", "low") if set(model.lora_arrays) == {PLAIN, HIGH, LOW} else ()
    fullest = request(
        offer,
        resolution=model.resolutions[-1],
        loras=tuple(replace(LORA, expert=expert) for expert in experts),
        negative_prompt="blur" if model.takes_negative_prompt else "",
        last_image=picture(1) if model.takes_last_image else None,
    )  # fmt: skip
    fullest.check()
    sent = set(fullest.fields("https://a", "https://b" if model.takes_last_image else None))
    assert sent <= documented
    # Of spicy-lora on WaveSpeed, nobody documents that the plain array is applied.
    assert documented - sent <= ({PLAIN, HIGH, LOW} if len(model.lora_arrays) < 3 else set())


def test_every_documented_model_is_offered():
    assert [provider.name for provider in PROVIDERS] == list(DOCUMENTED)
    for provider in PROVIDERS:
        assert {model.id for model in provider.models} == set(DOCUMENTED[provider.name].models)


def test_unrestricted_models_say_so():
    assert all(("spicy" in label) == label.endswith(" (unrestricted)") for label in OFFERS)
    assert sum("spicy" in label for label in OFFERS) == 8


def test_the_same_inputs_are_the_same_job_and_any_other_input_is_another():
    base = request(f"{W}-lora")
    others = [
        replace(base, prompt="x"), replace(base, seed=1), replace(base, duration=8), replace(base, resolution="720p"),
        replace(base, image=picture(91)), replace(base, last_image=picture()), replace(base, negative_prompt="blur"),
        replace(base, loras=(LORA,)), replace(base, offer=W),
        replace(base, offer="302.AI: wan-2.2/image-to-video-lora"),
    ]  # fmt: skip
    digests = [each.digest() for each in (base, *others)]
    assert base.digest() == request(f"{W}-lora").digest()
    assert len(set(digests)) == len(digests)


def test_a_picture_arrives_as_it_was():
    pixels = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(Picture(pixels).png()))) == pixels).all()


def test_a_picture_that_no_provider_takes_is_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (2600, 2700, 3), dtype=np.uint8)
    with pytest.raises(RequestError, match=r"may have 20 MB as PNG, got 21 MB at 2700x2600\. Put Fit to 720p before"):
        Picture(pixels).png()


RULES_ALONE = """
import sys
sys.path.append(sys.argv[1] + "/tools")
import pack.hosted.request
print(*sorted(name for name in ("aiohttp", "pack.hosted.polling", "pack.hosted.transport") if name in sys.modules))
"""


def test_the_rules_of_a_request_bring_no_network_with_them():
    command = [sys.executable, "-c", RULES_ALONE, str(Path(__file__).parents[2])]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "\n"


def test_what_is_not_known_yet_is_not_checked():
    check_settings()
    check_settings(W)
    check_settings(resolution="1080p", duration=7, negative_prompt="x")


LONG = "\x1b[2J\u202e" + "a/" * 10**6 + "x.safetensors"
ODD = [5, True, None, 1e400, [], {}, [[]] * 999, LONG, "\x00", 10**4000, float("nan")]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(type(value)))
@pytest.mark.parametrize(
    "name", ["url", "scale", "expert", "trigger_words", *inspect.signature(check_settings).parameters]
)
def test_what_strangers_send_ends_in_a_short_sentence(name, value):
    told = refusal(name, value)
    if told is None:
        taken = {"seed": (5, True), "duration": (5,), "scale": ()}.get(name, ())
        assert (
            value is None or value in taken or (name == "trigger_words" and value == "\x00") or name.endswith("prompt")
        )
        return
    assert len(told) < 400 + (len(", ".join(OFFERS)) if name == "offer" else 0)
    assert told.isprintable()


def refusal(name, value):
    try:
        if name in ("url", "scale", "expert", "trigger_words"):
            replace(LORA, **{name: value}).check()
        else:
            check_settings(**{"offer": f"{W}-lora", name: value})
    except RequestError as refused:  # any other error would end the test
        return str(refused)
    return None


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_a_text_has_an_end(name):
    check_settings(W, **{name: "a" * 20_000})
    with pytest.raises(RequestError, match=r"may have 20000 letters, got 20001\. Shorten it"):
        check_settings(W, **{name: "a" * 20_001})


def test_an_address_and_trigger_words_have_an_end():
    replace(LORA, url="https://lora.example/" + "a" * 4000, trigger_words="a, " * 1000).check()
    with pytest.raises(RequestError, match=r"address of a LoRA may have 4096 letters, got 5021\."):
        replace(LORA, url="https://lora.example/" + "a" * 5000).check()
    with pytest.raises(RequestError, match=r"Trigger words of a hosted LoRA may have 5000 letters, got 5001\."):
        replace(LORA, trigger_words="a" * 5001).check()
    assert len(repr(replace(LORA, url=LONG))) < 200
