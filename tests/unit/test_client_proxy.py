"""A proxy between client and server: what it says in the server's place is not believed, and a prompt goes out once."""

import gzip
import json
import zlib
from http.server import BaseHTTPRequestHandler

import pytest
from pack.client import answers, job, save, server, transport
from pack.client import cancel as cancel_module
from pack.client.cancel import cancel
from pack.client.errors import CancelledError, RefusedError, SaveError, UnreachableError, UsageError
from pack.client.follow import Follower
from pack.client.progress import Silent
from pack.tests.unit import test_client_network
from pack.tests.unit.test_client_network import CLIP, PROMPT, RECORD

comfy, said, client = test_client_network.comfy, test_client_network.said, test_client_network.client

# 520 to 524 and 530 are Cloudflare's; the others any proxy's.
BUSY = ["408", "425", "429", "502", "503", "504", "520", "521", "522", "523", "524", "530"]
OTHER = ["301", "302", "400", "401", "403", "404", "418", "500", "page"]  # of a login, a firewall, a page that waits
WORDS = [
    "502",
    "403",
    *(pytest.param(word, marks=pytest.mark.slow) for word in BUSY + OTHER if word not in ("502", "403")),
]


def prompts_posted(comfy):
    return [body for path, body in comfy.posted if path == "/prompt"]


@pytest.mark.parametrize("word", WORDS)
def test_a_prompt_that_arrived_is_found_whatever_the_proxy_says(comfy, client, word):
    comfy.trouble = [f"took {word}"]
    assert client.submit(PROMPT, "id-1", "me") == {"prompt_id": "id-1"}
    assert len(prompts_posted(comfy)) == 1


def test_a_prompt_that_is_found_late_or_after_more_trouble_is_followed_too(comfy, client):
    comfy.trouble = ["took 524", "502", "page", "401", "520"]
    comfy.history["id-1"] = RECORD
    assert client.submit(PROMPT, "id-1", "me") == {"prompt_id": "id-1"}
    comfy.running.clear()
    assert Follower(client, "me", Silent()).follow("id-1", PROMPT) == RECORD
    assert len(prompts_posted(comfy)) == 1


@pytest.mark.parametrize("silence", ["500", "401", "404", "redirect", "lost"])
def test_what_stays_unknown_is_said_with_the_id_and_is_not_sent_again(comfy, client, silence):
    comfy.trouble = [silence]
    with pytest.raises((UnreachableError, RefusedError)) as error:
        client.submit(PROMPT, "id-1", "me")
    assert "It was not sent a second time, as the first may yet arrive." in str(error.value)
    assert "python client fetch id-1" in str(error.value)
    assert len(prompts_posted(comfy)) == 1


def test_a_server_that_is_gone_after_the_prompt_leaves_the_id(comfy, client):
    client.locate("id-0")
    client.patience = 0.05
    comfy.trouble = ["took 524", *["502"] * 500]
    with pytest.raises(UnreachableError, match="Whether job id-1 arrived is not known, so it was not sent a second"):
        client.submit(PROMPT, "id-1", "me")
    assert len(prompts_posted(comfy)) == 1


def test_what_cannot_have_been_sent_is_tried_again(comfy, client, monkeypatch):
    client.locate("id-0")
    reach, attempts = client.transport.ask, []

    def ask(method, path, *arguments, **content):
        attempts.append(path)
        if len(attempts) < 3:
            raise server.httpx.ConnectError("[Errno 111] Connection refused")
        return reach(method, path, *arguments, **content)

    monkeypatch.setattr(client.transport, "ask", ask)
    assert client.submit(PROMPT, "id-1", "me")["prompt_id"] == "id-1"
    assert attempts == ["/prompt"] * 3
    assert len(prompts_posted(comfy)) == 1


def test_a_partial_refusal_that_got_lost_with_the_answer_is_still_said(comfy, client):
    two = {**PROMPT, "10": {"class_type": "Save", "inputs": {}, "_meta": {"title": "Second"}}}
    comfy.trouble = ["took 524"]
    sentence = "The server leaves out Second. Why, it said in the answer that got lost."
    assert job.submit(client, two, "me", Silent(), strict=False)[1] == sentence
    comfy.trouble, comfy.stops = ["took 524"], True
    with pytest.raises(RefusedError, match=sentence):
        job.submit(client, two, "me", Silent(), strict=True)
    assert comfy.posted[-1][0] == "/interrupt"
    comfy.makes = ["9", "10"]
    comfy.trouble = ["took 524"]
    assert job.submit(client, two, "me", Silent(), strict=True)[1] == ""


@pytest.mark.parametrize("word", WORDS)
def test_one_answer_of_a_proxy_costs_nothing(comfy, client, tmp_path, word, monkeypatch):
    monkeypatch.setattr(cancel_module, "PAUSE", 0.01)
    monkeypatch.setattr(save, "PAUSE", 0.01)
    client.locate("id-0")  # ComfyUI's own word, once
    comfy.history = {"id-1": RECORD}
    comfy.trouble = [word]
    assert client.locate("id-1").state == "done"
    comfy.trouble = [word]
    assert client.object_info(["Save"])["Save"]["output_node"] is True
    comfy.trouble = [word]
    (path,) = save.save_all(client, RECORD, tmp_path, overwrite=False)
    assert path.read_bytes() == CLIP
    (picture := tmp_path / "cat.png").write_bytes(b"picture")
    comfy.trouble = [word]
    assert client.upload(picture) == "cat.png"
    assert [path for path, _ in comfy.posted] == ["/upload/image"] * 2
    comfy.pending = [[1, "id-2", PROMPT, {}, []]]
    comfy.trouble = [word]
    assert cancel(client, "id-2") == "Cancelled: job id-2 left the queue unrun."


@pytest.mark.parametrize("word", ["502", "524", "429"])
def test_a_server_that_starts_is_waited_for_from_the_first_question_on(comfy, client, word):
    comfy.trouble = [word] * 3
    assert "Save" in client.object_info(["Save"])


@pytest.mark.parametrize("word", ["404", "page", "401"])
def test_a_wrong_address_is_said_at_the_first_question(comfy, client, word):
    comfy.trouble = [word] * 3
    with pytest.raises(UnreachableError):
        client.object_info(["Save"])
    assert len(comfy.trouble) == 2


def test_a_picture_that_the_proxy_finds_too_large_is_not_sent_again(comfy, client, tmp_path):
    (picture := tmp_path / "cat.png").write_bytes(b"picture")
    client.locate("id-0")
    comfy.trouble = ["413"] * 3
    with pytest.raises(UsageError, match=r"takes nothing so large \(HTTP 413\)\. Send a smaller picture\."):
        client.upload(picture)
    assert len(comfy.trouble) == 2


def test_a_cancel_that_cannot_be_confirmed_says_so_and_keeps_its_exit_code(comfy, client, monkeypatch):
    client.locate("id-0")
    client.patience = 0.05
    comfy.running = [[1, "id-1", PROMPT, {}, []]]
    follower = Follower(client, "me", Silent())

    def interrupted(*_):
        comfy.trouble = ["502"] * 500
        raise KeyboardInterrupt

    monkeypatch.setattr(follower, "hear", interrupted)
    with pytest.raises(CancelledError, match="Whether job id-1 was cancelled is not known, and it may still run"):
        job.finish(client, follower, "id-1", PROMPT, None, False, Silent())


def test_retry_after_is_heeded_in_both_its_forms_and_within_bounds(comfy, client, monkeypatch):
    headers = server.httpx.Headers
    monkeypatch.setattr(answers.time, "time", lambda: 784111777.0)  # Sun, 06 Nov 1994 08:49:37 GMT
    said = ["7", "Sun, 06 Nov 1994 08:49:47 GMT", "999999999", "Sun, 06 Nov 1994 08:49:07 GMT", "-5", "soon", "9" * 500]
    waits = [answers.retry_after(headers({"Retry-After": one})) for one in said]
    assert waits == [7.0, 10.0, 30.0, 0.0, 0.0, 0.0, 30.0]
    monkeypatch.undo()
    slept = []
    monkeypatch.setattr(server.time, "sleep", slept.append)
    comfy.retry_after, comfy.trouble = "3", ["429"]
    assert client.locate("id-1").state == "unknown"
    assert [round(seconds) for seconds in slept] == [3]


def test_patience_ends_also_where_a_proxy_wants_more_of_it(comfy, client, monkeypatch):
    client.locate("id-0")
    comfy.retry_after, comfy.trouble = "999", ["429"] * 2
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        client.patience = 0.0  # as if that time had passed

    monkeypatch.setattr(server.time, "sleep", sleep)
    with pytest.raises(UnreachableError, match=r"HTTP 429"):
        client.locate("id-1")
    assert len(slept) == 1
    assert slept[0] <= 5.0  # what was left of the patience, and not 999 seconds


class Compressing(BaseHTTPRequestHandler):
    """A proxy that compresses although nobody asked it to."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        coding, data = self.server.comfy.coded
        self.send_response(200)
        self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(CLIP)),
        ("x-gzip", gzip.compress(CLIP)),
        ("GZIP", gzip.compress(CLIP[:99]) + gzip.compress(CLIP[99:])),
        ("deflate", zlib.compress(CLIP)),
        ("identity", CLIP),
    ],
    ids=["gzip", "x-gzip", "in two parts", "deflate", "not at all"],
)
def test_a_compressed_clip_is_saved_as_the_clip(comfy, client, tmp_path, coding, data):
    comfy.http.RequestHandlerClass = Compressing
    comfy.coded = coding, data
    (path,) = save.save_all(client, RECORD, tmp_path, overwrite=False)
    assert path.read_bytes() == CLIP


@pytest.mark.parametrize(
    ("coding", "data", "why"),
    [
        ("gzip", CLIP, "is said to be compressed and is not"),
        ("gzip", gzip.compress(CLIP)[:-9], "a compressed answer without its end"),
        ("br", CLIP, "in the encoding 'br', which was not asked for"),
        ("gzip, gzip", gzip.compress(gzip.compress(CLIP)), "in the encoding 'gzip, gzip'"),
        ("identity", gzip.compress(CLIP), "it is no MP4, as it begins with"),
        ("gzip", gzip.compress(b"<!DOCTYPE html>"), "it is no MP4, as it begins with '<!DOCTYPE html>'"),
    ],
    # The packed bytes hold the time, so they would be other names in each process.
    ids=["not packed", "cut", "another code", "packed twice", "packed and not said", "a page"],
)
def test_what_is_no_clip_is_not_saved_as_one(comfy, client, tmp_path, monkeypatch, coding, data, why):
    monkeypatch.setattr(save, "PAUSE", 0.0)
    comfy.http.RequestHandlerClass = Compressing
    comfy.coded = coding, data
    with pytest.raises(SaveError, match=why):
        save.save_all(client, RECORD, tmp_path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_compressed_answer_is_read_too(comfy, client):
    comfy.http.RequestHandlerClass = Compressing
    comfy.coded = (
        "gzip",
        gzip.compress(json.dumps({"queue_running": [[0, "id-1", PROMPT]], "queue_pending": []}).encode()),
    )
    assert client.locate("id-1").state == "running"


def test_whatever_it_unfolds_to_it_comes_in_small_pieces():
    pieces = list(transport.inflated(iter([gzip.compress(bytes(5_000_000))])))
    assert sum(map(len, pieces)) == 5_000_000
    assert max(map(len, pieces)) <= transport.PIECE


def test_of_several_files_those_that_come_are_saved_and_told(comfy, client, tmp_path):
    files = [{"filename": name, "subfolder": "", "type": "output"} for name in ("a.mp4", "setup.exe", "b.mp4")]
    record = {**RECORD, "outputs": {"9": {"images": files}}}
    with pytest.raises(SaveError, match=r"setup\.exe, which is no kind of file") as error:
        save.save_all(client, record, tmp_path, overwrite=False)
    assert [path.name for path in error.value.saved] == ["a.mp4", "b.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_queue_too_long_to_read_does_not_hide_the_job(comfy, client, monkeypatch):
    monkeypatch.setattr(transport, "MOST", 3000)
    comfy.pending = [[number, f"other-{number}", PROMPT, {}, []] for number in range(99)]
    comfy.alone = {"id-1": {"status": "in_progress"}}
    assert client.locate("id-1").state == "running"
    comfy.alone, comfy.history = {}, {"id-1": RECORD}
    assert client.locate("id-1").state == "done"
    comfy.history = {}
    assert client.locate("id-1").state == "unknown"


@pytest.mark.parametrize(
    ("cached", "words"),
    [
        (["1", "9"], "Set another filename_prefix, which saves it anew without sampling again; or another seed."),
        (["1"], "Somebody deleted or moved it there. Run the prompt again."),
    ],
)
def test_a_clip_that_was_deleted_on_the_server_is_said_with_what_helps(comfy, client, tmp_path, cached, words):
    comfy.trouble = ["gone"]
    status = {"messages": [["execution_cached", {"nodes": cached, "prompt_id": "id-1"}]]}
    with pytest.raises(SaveError) as error:
        save.save_all(client, {**RECORD, "status": status}, tmp_path, overwrite=False)
    assert str(error.value).endswith(words)
    assert list(tmp_path.iterdir()) == []
