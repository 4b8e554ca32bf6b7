"""A job is followed to its end however much else the websocket tells. The other side is a real one, on loopback."""

import json
import socket
import threading
from contextlib import contextmanager
from http import HTTPStatus

import pytest
from pack.client import address, follow, server
from pack.client.progress import Silent
from websockets.exceptions import ConnectionClosed
from websockets.server import ServerProtocol
from websockets.sync.server import serve

PROMPT = {"9": {"class_type": "Save", "inputs": {}, "_meta": {"title": "Save"}}}
RECORD = {"prompt": [0, "id-1", PROMPT], "outputs": {}, "status": {}}
MONITOR = json.dumps({"type": "crystools.monitor", "data": {"cpu_utilization": 12.5}})
OTHER_JOB = json.dumps({"type": "progress", "data": {"prompt_id": "id-2", "value": 1, "max": 4}})
PREVIEW = b"\0\0\0\1picture"
PATIENCE = 400  # messages, one every 20 ms, after which a follower that hears nothing else is let go


class Chatty:
    """A ComfyUI that tells every websocket something all the time. The job is done after some questions about it."""

    def __init__(self, messages, first=()):
        self.messages, self.first, self.told, self.asked, self.ended = messages, first, 0, 0, threading.Event()

    def chat(self, socket):
        try:
            for message in self.first:
                socket.send(message)
            while self.told < PATIENCE and not self.ended.wait(0.02):
                for message in self.messages:
                    socket.send(message)
                self.told += 1
            self.ended.wait(20)
        except ConnectionClosed:
            pass

    def answer(self, connection, request):
        """Plain HTTP for all but the websocket."""
        if request.path.startswith("/ws"):
            return None
        said = {"queue_running": [], "queue_pending": []}
        if request.path.startswith("/queue"):
            self.asked += 1
            if self.asked == 1:
                said["queue_running"] = [[0, "id-1", PROMPT, {}, []]]
        else:
            said = {"id-1": RECORD}
        return connection.respond(HTTPStatus.OK, json.dumps(said))


@contextmanager
def serving(chatty):
    with serve(chatty.chat, "127.0.0.1", 0, process_request=chatty.answer) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        client = server.Server(address.parse(f"127.0.0.1:{running.socket.getsockname()[1]}"))
        try:
            yield client
        finally:
            client.close()
            chatty.ended.set()
            running.shutdown()
            thread.join()


def last_words(kind):
    return json.dumps({"type": kind, "data": {"prompt_id": "id-1"}})


@pytest.mark.parametrize(
    ("messages", "first", "asked"),
    [
        ([MONITOR], [], 2),
        ([OTHER_JOB, PREVIEW], [], 2),
        ([MONITOR], [last_words("execution_start")], 2),
        ([MONITOR], [last_words("execution_success")], 1),  # then the history is asked, not the queue
    ],
    ids=["a monitor", "another job", "after the start", "after the end"],
)
def test_what_others_are_told_does_not_keep_a_job_from_its_end(messages, first, asked, monkeypatch):
    monkeypatch.setattr(follow, "SILENCE", 0.3)
    chatty = Chatty(messages, first)
    with serving(chatty) as client:
        follower = follow.Follower(client, "me", Silent())
        assert follower.socket is not None
        assert follower.follow("id-1", PROMPT) == RECORD
        follower.disconnect()
    assert chatty.asked == asked
    assert chatty.told < PATIENCE  # it was still talking


class Stages(Silent):
    """Keeps what was at work."""

    def __init__(self):
        self.seen = []

    def stage(self, title):
        self.seen.append(title)


def test_what_a_job_told_that_ended_at_once_is_heard_and_its_place_in_the_queue_is_not_asked():
    told = [{"prompt_id": "id-1", "node": node} for node in ("9", None)]
    chatty, stages = Chatty([], [json.dumps({"type": "executing", "data": each}) for each in told]), Stages()
    with serving(chatty) as client:
        follower = follow.Follower(client, "me", stages)
        assert follower.follow("id-1", PROMPT, posted=True) == RECORD
        follower.disconnect()
    assert (stages.seen, chatty.asked) == (["Save"], 0)


def pinged_until_nobody_reads(listener):
    """Accepts a websocket and sends pings, whose answers it does not read, until the other side is stuck in one."""
    line, _ = listener.accept()
    protocol = ServerProtocol()
    while not (requests := protocol.events_received()):
        protocol.receive_data(line.recv(4096))
    protocol.send_response(protocol.accept(requests[0]))
    protocol.send_ping(b"x" * 125)
    said, line_is_taken = protocol.data_to_send(), True
    line.sendall(b"".join(said))
    line.settimeout(0.5)
    while line_is_taken:
        try:
            line.sendall(said[-1] * 1000)
        except TimeoutError:
            line_is_taken = False
    return line


def test_a_server_that_asks_and_reads_no_answers_does_not_hold_the_client_back():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []
        thread = threading.Thread(target=lambda: held.append(pinged_until_nobody_reads(listener)))
        thread.start()
        client = server.Server(address.parse(f"127.0.0.1:{listener.getsockname()[1]}"))
        follower = follow.Follower(client, "me", Silent())
        thread.join()
        leaving = threading.Thread(target=follower.disconnect, daemon=True)
        leaving.start()
        leaving.join(30)
        stuck = leaving.is_alive()
        held[0].close()
        client.close()
        assert not stuck
