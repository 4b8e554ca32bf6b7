"""ComfyUI's answers in sentences, and addresses without their secrets."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from pack.client import address, cli, errors, explain, save
from pack.client.errors import RunError, SaveError, UsageError
from pack.client.progress import Stage, left_in_words

PROMPT = {
    "7": {"class_type": "Wan22Turbo_Sampler", "inputs": {}, "_meta": {"title": "rCM Sampler"}},
    "9": {"class_type": "Wan22Turbo_SaveMp4", "inputs": {}, "_meta": {"title": "Save MP4"}},
}


def error(kind, name="", details="", message="Message", **more):
    return {"type": kind, "message": message, "details": details, "extra_info": {"input_name": name, **more}}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            error("value_bigger_than_max", "cfg", input_config=["FLOAT", {"max": 100.0}], received_value=101.0),
            "rCM Sampler, input 'cfg': It must be at most 100.0, got 101.0.",
        ),
        (
            error("value_smaller_than_min", "crf", input_config=["INT", {"min": 1}], received_value=0),
            "rCM Sampler, input 'crf': It must be at least 1, got 0.",
        ),
        (
            error("value_not_in_list", "mode", input_config=["COMBO", {"options": ["a", "b"]}], received_value="c"),
            "rCM Sampler, input 'mode': It must be one of a, b, got 'c'.",
        ),
        (
            error("value_not_in_list", "mode", input_config=None, received_value="c"),
            "rCM Sampler, input 'mode': It must be one of the choices that the server has, got 'c'.",
        ),
        (
            error("required_input_missing", "latent", "latent"),
            "rCM Sampler, input 'latent': It is needed, and neither set nor connected.",
        ),
        (
            error("custom_validation_failed", "image", "image - Invalid image file: x.png"),
            "rCM Sampler, input 'image': Invalid image file: x.png",
        ),
        (
            error("return_type_mismatch", "vae", "vae, received_type(CLIP) mismatch input_type(VAE)"),
            "rCM Sampler, input 'vae': What is connected does not fit: received_type(CLIP) mismatch input_type(VAE).",
        ),
        (error("something_new", "x", "details"), "rCM Sampler, input 'x': Message: details"),
        ({"type": "exception_during_validation", "message": "Bad", "details": "why"}, "rCM Sampler: Bad: why"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_an_error_names_the_node_and_the_input(given, sentence):
    answer = {"node_errors": {"7": {"errors": [given], "dependent_outputs": ["9"]}}}
    assert explain.refusal(PROMPT, answer) == [sentence]
    assert explain.skipped(PROMPT, answer) == ["Save MP4"]


def test_one_sentence_for_several_inputs_is_said_once_and_names_none():
    errors = [error("custom_validation_failed", name, f"{name} - Too many.") for name in ("steps", "schedule")]
    assert explain.of_node("rCM Sampler", errors) == ["rCM Sampler: Too many."]


def test_errors_of_the_whole_prompt_are_said_too():
    answer = {
        "error": error("missing_node_type", node_id="7", class_type="Wan22Turbo_Sampler", node_title="rCM Sampler"),
        "node_errors": {},
    }
    assert explain.refusal(PROMPT, answer)[0].startswith("rCM Sampler: the server has no node of the class")
    assert explain.refusal(PROMPT, {"error": {"type": "x", "message": "No prompt", "details": ""}}) == ["No prompt"]
    assert explain.refusal(PROMPT, {"error": "text"}) == ["text"]
    assert explain.refusal(PROMPT, {"prompt_id": "x", "node_errors": {}}) == []


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([["execution_error", {"node_id": "7", "exception_message": "No.\n"}]], "rCM Sampler failed: No."),
        ([["execution_interrupted", {"node_id": "7"}]], "Somebody interrupted the run on the server, at rCM Sampler."),
        ([], "The run failed on the server, which does not say why."),
    ],
)
def test_a_failed_run_names_its_node(messages, sentence):
    with pytest.raises(RunError) as failed:
        explain.check_end(PROMPT, {"status": {"status_str": "error", "messages": messages}})
    assert str(failed.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        (" http://localhost:8188/ ", "http://localhost:8188"),
        ("https://gpu.example/comfy/?token=abc", "https://gpu.example/comfy"),
        ("https://me:word@gpu.example", "https://gpu.example"),
        ("http://[::1]:8188", "http://[::1]:8188"),
        ("http://[fe80::1%25eth0]:8188", "http://[fe80::1%25eth0]:8188"),
        ("http://bücher.example:8188/ü", "http://bücher.example:8188/ü"),
    ],
)
def test_addresses_as_people_write_them(text, base):
    assert str(address.parse(text)) == base


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://host", "http://", "http://host:port", "http://[::1", "http://a..b", f"http://{'a' * 64}.example",
        "http://ü..b", "http://☃☃.example:8188/\u2028", "http://host/\x01",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_repeating_it(text):
    with pytest.raises(UsageError, match="The server must be named as"):
        address.parse(text)


def test_secrets_go_to_the_server_and_are_never_shown():
    server = address.parse("https://me:w%C3%B6rd@gpu.example/x?token=a%2Fb", token="not-used")
    assert server.headers["Authorization"].startswith("Basic ")
    websocket = urlsplit(server.websocket("me"))
    assert (websocket.scheme, websocket.path) == ("wss", "/x/ws")
    assert parse_qs(websocket.query) == {"token": ["a/b"], "clientId": ["me"]}
    shown = f"{server} {server!r} " + server.mask("wörd w%C3%B6rd a/b a%2Fb not-used")
    for secret in ("wörd", "w%C3%B6rd", "a/b", "a%2Fb", "not-used", server.headers["Authorization"][6:]):
        assert secret not in shown


def test_a_token_becomes_a_header():
    server = address.parse("http://gpu.example", token="abc")
    assert server.headers == {"Authorization": "Bearer abc"}
    assert "abc" not in repr(server)
    assert address.parse("http://gpu.example", token=" abc\r\n") == server  # as it stands in a file


@pytest.mark.parametrize("token", ["secr\xe9t", "sec\nret", "sec\x00ret", "sec\u200bret"])
def test_a_token_that_no_header_can_hold_is_refused_without_repeating_it(token):
    with pytest.raises(UsageError, match=r"^The token must be of plain letters, .* Copy it again\.$") as error:
        address.parse("http://gpu.example", token)
    assert "sec" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("clip.mp4", "clip.mp4"), ("../../x.mp4", "x.mp4"), ("a\\b.mp4", "b.mp4"), (".hidden", "hidden")],
)
def test_a_servers_file_name_cannot_lead_out_of_the_folder(name, plain):
    assert save.plain_name(name) == plain


def test_a_file_without_a_name_is_refused():
    with pytest.raises(SaveError, match="without a name"):
        save.plain_name("..")


def test_the_time_left_follows_the_pace_so_far():
    assert Stage("x", began=10.0).left(20.0) is None
    assert Stage("x", began=10.0, done=1, total=4).left(20.0) == 30.0
    assert Stage("x", began=10.0, done=4, total=4).left(20.0) is None
    assert left_in_words(125.0) == ", about 2 min 05 s left"
    assert left_in_words(None) == ""


def test_the_help_names_every_exit_code():
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ClientError)
    }
    assert codes <= {int(code) for code in re.findall(r"\b(\d+) [a-z]", cli.__doc__)}
