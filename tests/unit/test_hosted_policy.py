"""What the operator decides, what a guest cannot do, and where keys and clips may come from and go to."""

import asyncio
import re
import sys
import threading

import pytest
from pack.hosted import download, errors
from pack.hosted.client import Client
from pack.hosted.errors import HostedError, PolicyError
from pack.hosted.ledger import Ledger
from pack.hosted.polling import Status
from pack.hosted.request import Lora
from pack.hosted.settings import Settings
from pack.tests.toy.faults import says
from pack.tests.toy.hosted import QUICK, client, outcome, picture, request
from pack.tests.toy.loopback import KEY

SPICY = "WaveSpeed: wan-2.2-spicy/image-to-video (unrestricted)"


def test_unrestricted_models_wait_for_the_operators_permission(wavespeed, running, tmp_path):
    asked = request("wavespeed", offer=SPICY)
    refused = outcome(client(tmp_path, running), asked)
    assert refused.name == "PolicyError"
    assert "WAN22_TURBO_ALLOW_UNRESTRICTED=1" in refused.text
    assert not wavespeed.requests
    assert outcome(client(tmp_path, running, WAN22_TURBO_ALLOW_UNRESTRICTED="1"), asked).name == "clip"
    for almost in ("0", "true", "yes", ""):
        assert outcome(client(tmp_path, running, WAN22_TURBO_ALLOW_UNRESTRICTED=almost), asked).name == "PolicyError"


def test_the_operator_may_allow_some_models_only(wavespeed, running, tmp_path):
    only = {"WAN22_TURBO_HOSTED_MODELS": "AtlasCloud: *, WaveSpeed: wan-2.2/image-to-video-lora"}
    refused = outcome(client(tmp_path, running, **only), request("wavespeed"))
    assert refused.name == "PolicyError"
    assert "The models allowed here are AtlasCloud: *, WaveSpeed: wan-2.2/image-to-video-lora, got" in refused.text
    allowed = request("wavespeed", offer="WaveSpeed: wan-2.2/image-to-video-lora")
    assert outcome(client(tmp_path, running, **only), allowed).name == "clip"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("WAN22_TURBO_HOSTED_MAX_USD_A_DAY", "WAN22_TURBO_HOSTED_MAX_USD_PER_DAY"),
        ("WAN22_TURBO_HOSTED_MAX_USE", "WAN22_TURBO_HOSTED_MAX_USD"),
        ("WAN22_TURBO_HOSTED_MODEL", "WAN22_TURBO_HOSTED_MODELS"),
    ],
)
def test_a_limit_under_a_name_that_nobody_reads_is_not_taken_for_none(typed, meant, wavespeed, running, tmp_path):
    refused = outcome(client(tmp_path, running, **{typed: "0.1"}), request("wavespeed"))
    assert refused.name == "PolicyError"
    assert f"There is no variable {typed}, and a limit may be meant by it. Whoever runs this ComfyUI" in refused.text
    assert f"The nearest that there is: {meant}." in refused.text
    assert not wavespeed.requests
    assert outcome(client(tmp_path, running, **{typed: " "}), request("wavespeed")).name == "clip"


def test_a_run_keeps_the_operators_ceiling_over_all_its_nodes(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD="0.40")
    names = [outcome(maker, request("wavespeed", seed=seed), run_id="one run").name for seed in range(4)]
    assert names == ["clip", "clip", "PolicyError", "PolicyError"]
    assert len(wavespeed.jobs) == 2
    assert outcome(maker, request("wavespeed", seed=0), run_id="one run").name == "clip"  # paid already
    assert outcome(maker, request("wavespeed", seed=9), run_id="another run").name == "clip"


def test_a_refused_job_does_not_count_towards_the_ceiling(wavespeed, running, tmp_path):
    maker = client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD="0.20")
    wavespeed.break_next("submit", says(422, "no")(wavespeed))
    assert outcome(maker, request("wavespeed", seed=1), run_id="refused first").name == "RefusedError"
    assert outcome(maker, request("wavespeed", seed=1), run_id="refused first").name == "clip"


@pytest.mark.parametrize("name", ["atlascloud", "api302"])  # no price query there, and no price in the table
def test_with_a_ceiling_a_price_that_nobody_names_is_too_high(name, running, tmp_path):
    maker = client(tmp_path, running, WAN22_TURBO_HOSTED_MAX_USD="100")
    got = outcome(maker, request(name))
    assert got.name == "PolicyError"
    assert "nobody names the price of this model" in got.text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WAN22_TURBO_HOSTED_MAX_USD": "cheap"}, "WAN22_TURBO_HOSTED_MAX_USD must be a number"),
        ({"WAN22_TURBO_WAVESPEED_JOBS": "-1"}, "WAN22_TURBO_WAVESPEED_JOBS must be a number of 0 or more"),
        ({"WAN22_TURBO_WAVESPEED_URL": "http://192.168.0.2/api"}, "WAN22_TURBO_WAVESPEED_URL must be an https address"),
        ({"WAN22_TURBO_WAVESPEED_URL": "http://localhost:8000"}, "http://127.0.0.1:8000, not localhost"),
        ({"WAN22_TURBO_WAVESPEED_URL": "https://localhost"}, "http://127.0.0.1:8000, not localhost"),
        ({"WAN22_TURBO_WAVESPEED_URL": "ftp://127.0.0.1"}, "WAN22_TURBO_WAVESPEED_URL must be an https address"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(variables, message, running, tmp_path):
    got = outcome(client(tmp_path, running, **variables), request("wavespeed"))
    assert (got.name, message in got.text) == ("PolicyError", True), got.text


# The audit hook is Python's own (PEP 578) and cannot be taken away, so there is one for all tests.
_contacted: list[str] = []
_listening = threading.Event()


def _note(event, arguments):
    if _listening.is_set() and event in ("socket.getaddrinfo", "socket.connect"):
        _contacted.append(str(arguments[0] if event == "socket.getaddrinfo" else arguments[1]))


sys.addaudithook(_note)


@pytest.fixture
def contacted():
    """The names and addresses that this process asks for or connects to meanwhile."""
    _contacted.clear()
    _listening.set()
    yield _contacted
    _listening.clear()


def test_nothing_fetches_what_a_guest_names(contacted, wavespeed, running, tmp_path):
    urls = ["https://guest.example/a.safetensors", "https://1.1.1.1/a.safetensors", "guest/repository"]
    loras = tuple(Lora(url, 1.0, "high") for url in urls)
    asked = request("wavespeed", offer="WaveSpeed: wan-2.2/image-to-video-lora", loras=loras)
    assert outcome(client(tmp_path, running), asked).name == "clip"
    assert [item["path"] for item in next(iter(wavespeed.jobs.values())).inputs["high_noise_loras"]] == urls
    assert contacted
    assert all("127.0.0.1" in place for place in contacted), contacted


@pytest.mark.parametrize(
    "url",
    ["http://example.com/a.mp4", "https://127.0.0.1:1/a.mp4", "https://[::ffff:10.0.0.1]/a.mp4", "https://10.1.1.1/",
     "https://169.254.169.254/latest", "https://[fe80::1%25eth0]/a", "file:///etc/passwd", "https://user@example.com/a",
     "https://[64:ff9b::7f00:1]/a", "https://[2002:7f00:1::]/a", "https://0.0.0.0/a", "https://224.0.0.1/a", "//x", "",
     "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
     "https://\u246027.1/a", "https://127\u30020\u30020\u30021/a", "https://[::7f00:1]/a", "https://127.1/a",
     "https://2130706433/a", "https://127.0.0.1./a", "http://user@127.0.0.1:5/a", "https://1.1.1.1.1/a",
     "https://router/a", "https://nas.local/a", "https://nas.internal./a", "https://localhost/a"],
)  # fmt: skip
def test_a_clip_comes_from_public_https_addresses_only(url, contacted, tmp_path):
    with pytest.raises(HostedError, match="from public https addresses only"):
        asyncio.run(download.fetch(url, tmp_path / "a.mp4", "http://127.0.0.1:5", QUICK))
    assert contacted == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["0x7f.1", "0x7f.0x0.0x0.0x1"])
def test_a_name_that_leads_to_this_machine_is_not_connected_to(name, contacted, wavespeed, tmp_path):
    port = wavespeed.origin.rsplit(":", 1)[1]
    with pytest.raises(HostedError):
        asyncio.run(download.fetch(f"https://{name}:{port}/files/a.mp4", tmp_path / "a.mp4", None, QUICK))
    assert not [place for place in contacted if port in place and "(" in place]


def test_the_key_goes_nowhere_but_to_the_provider(provider, running, tmp_path):
    outcome(client(tmp_path, running), request(provider.name))
    assert provider.leaks == []
    wrong = outcome(client(tmp_path, running, key="canary-wrong-key-1"), request(provider.name, image=picture(1)))
    assert wrong.name == "AuthError"
    assert "canary-wrong-key-1" not in wrong.text  # the provider echoes it
    assert "***" in wrong.text


def families(kind):
    """Yields the name of every error below one, with its parent's."""
    for child in kind.__subclasses__():
        yield child.__name__, kind.__name__
        yield from families(child)


def test_the_tree_of_errors_is_whole():
    listed, parent = set(), ""
    for bar, name in re.findall(r"^(│?) *[├└]── (\w+)", errors.__doc__, re.MULTILINE):
        listed.add((name, parent if bar else "HostedError"))
        parent = parent if bar else name
    assert listed == set(families(HostedError))


def test_settings_cannot_be_told_by_a_request(tmp_path):
    maker = Client(KEY, Ledger(tmp_path), tmp_path, Settings({}), QUICK)
    with pytest.raises(PolicyError):
        asyncio.run(maker.run(request("wavespeed", offer=SPICY), Status()))
