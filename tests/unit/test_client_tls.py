"""Addresses that lead elsewhere, and certificates of one's own: the reason, the target, and what helps."""

import shutil
import ssl
import subprocess

import pytest
from pack.client import address, answers, follow, server
from pack.client.errors import UnreachableError
from pack.client.progress import Silent
from pack.tests.unit import test_client_network
from pack.tests.unit.test_client_follow import PROMPT, RECORD, Chatty, last_words
from pack.tests.unit.test_client_network import Comfy
from websockets.sync.server import serve

comfy = test_client_network.comfy
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")


@pytest.fixture
def certificate(tmp_path):
    """Makes a certificate of one's own, and returns its file and how a server shows it."""

    def make(names="IP:127.0.0.1", days="2"):
        key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", key, "-out", file, "-days", days, "-subj", "/CN=mine", "-addext", f"subjectAltName={names}"],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        return file, context

    return make


@pytest.fixture
def secure(certificate):
    """Starts a ComfyUI behind such a certificate."""
    running = []

    def start(**options):
        file, context = certificate(**options)
        comfy = Comfy()
        running.append(comfy)
        comfy.http.socket = context.wrap_socket(comfy.http.socket, server_side=True, do_handshake_on_connect=False)
        return file, comfy

    yield start
    for comfy in running:
        comfy.close()


def question(text, token=""):
    """Asks the first question of a run."""
    client = server.Server(address.parse(text, token), patience=20.0)
    try:
        return client.object_info(["Save"])
    finally:
        client.close()


def refusal(text, token=""):
    with pytest.raises(UnreachableError) as error:
        question(text, token)
    return str(error.value)


@openssl
def test_a_certificate_of_ones_own_is_named_with_the_variable_that_helps_and_it_does(secure, monkeypatch):
    file, comfy = secure()
    where = comfy.address.replace("http:", "https:")
    said = refusal(where)
    assert said.startswith(f"{where} shows a certificate that this machine does not trust (self-signed certificate).")
    assert said.endswith("name its file, in PEM format, in the variable SSL_CERT_FILE.")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert "Save" in question(where)


@openssl
def test_a_certificate_for_another_name_is_not_helped_by_a_variable(secure, monkeypatch):
    file, comfy = secure(names="DNS:gpu.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    said = refusal(comfy.address.replace("http:", "https:"))
    assert "does not trust (IP address mismatch" in said
    assert said.endswith("Name the server as its certificate does.")


@openssl
def test_http_where_https_is_spoken_and_the_other_way_round(comfy, secure):
    _, behind = secure()
    assert "if it speaks https, its address begins with https://" in refusal(behind.address)
    said = refusal(comfy.address.replace("http:", "https:"))
    assert "cannot be spoken to over https (" in said
    assert said.endswith("If it has no certificate, its address begins with http://.")


@openssl
def test_the_websocket_takes_the_same_certificate(certificate, monkeypatch):
    file, context = certificate()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    chatty = Chatty([], [last_words("execution_success")])
    with serve(chatty.chat, "127.0.0.1", 0, process_request=chatty.answer, ssl=context) as running:
        thread = test_client_network.threading.Thread(target=running.serve_forever)
        thread.start()
        client = server.Server(address.parse(f"https://127.0.0.1:{running.socket.getsockname()[1]}"), known=True)
        try:
            follower = follow.Follower(client, "me", Silent())
            assert follower.socket is not None
            assert follower.follow("id-1", PROMPT) == RECORD
            follower.disconnect()
        finally:
            client.close()
            chatty.ended.set()
            running.shutdown()
            thread.join()


def test_a_redirect_to_a_login_tells_the_target_without_its_secrets_and_what_to_give(comfy):
    comfy.trouble = ["302"]
    comfy.leads_to = "https://me:secret-word@login.example/sign-in/abc%20d?next=/&state=secret-word#secret-word"
    said = refusal(f"{comfy.address}?token=secret-word", "secret-word")
    assert said == (
        f"{comfy.address} leads to https://login.example/sign-in/abc%20d (HTTP 302), and no redirect is followed. "
        "If that is ComfyUI's new address, name it with --server; if it is a login, give a token that the server takes "
        "in WAN22_TURBO_TOKEN."
    )


@pytest.mark.parametrize("status", ["301", "302", "307", "308"])
def test_a_redirect_to_https_names_the_address_to_use(comfy, status):
    comfy.trouble, comfy.leads_to = [status], "https://127.0.0.1/object_info/Save?token=secret-word"
    said = refusal(f"{comfy.address}/comfy")
    assert said.endswith("Name that: --server https://127.0.0.1/comfy")
    assert f"leads to https://127.0.0.1/comfy (HTTP {status})" in said


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("", "leads to http://gpu.example/ (HTTP 302)"),
        ("/login", "leads to http://gpu.example/login (HTTP 302)"),
        ("//other.example/x", "leads to http://other.example/x (HTTP 302)"),
        ("http://[::1]:9/x", "leads to http://[::1]:9/x (HTTP 302)"),
        ("http://[::1", "leads nowhere (HTTP 302 without an address)"),
        ("http://x:99999999/", "leads nowhere (HTTP 302 without an address)"),
        ("mailto:x", "leads nowhere (HTTP 302 without an address)"),
        ("http://other.example/\x1b[31m" + "a" * 9000, "leads to http://other.example/aaa"),
    ],
)
def test_wherever_a_redirect_leads_it_is_said_shortly(location, words):
    said = answers.elsewhere(address.parse("http://gpu.example"), 302, location)
    assert words in said
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.parametrize("path", ["", "/x?y=secret-word"])
def test_a_token_in_the_path_of_a_target_is_masked(path):
    where = address.parse("http://gpu.example?token=secret-word")
    assert "secret-word" not in answers.elsewhere(where, 302, f"https://gpu.example/secret-word{path}")
