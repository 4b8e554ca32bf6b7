"""A job is followed to its end however much else the websocket tells. The other side is a real one, on loopback."""

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus

import pytest
from pack.client import address, follow, server
from pack.client.progress import Silent
from websockets.exceptions import ConnectionClosed
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
    ("messages", "first"),
    [
        ([MONITOR], []),
        ([OTHER_JOB, PREVIEW], []),
        ([MONITOR], [last_words("execution_start")]),
        ([MONITOR], [last_words("execution_success")]),
    ],
    ids=["a monitor", "another job", "after the start", "after the end"],
)
def test_what_others_are_told_does_not_keep_a_job_from_its_end(messages, first, monkeypatch):
    monkeypatch.setattr(follow, "SILENCE", 0.3)
    chatty = Chatty(messages, first)
    with serving(chatty) as client:
        follower = follow.Follower(client, "me", Silent())
        assert follower.socket is not None
        assert follower.follow("id-1", PROMPT) == RECORD
        follower.disconnect()
    assert chatty.asked == 2
    assert chatty.told < PATIENCE  # it was still talking
