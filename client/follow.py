"""Follows a job to its end. The websocket tells how far it is; whether it has ended, the queue and the history tell.

So a websocket that breaks, a message that gets lost, or a server that is away for a while costs the bars, not the job.
"""

import logging
import socket
import time
from contextlib import suppress
from typing import Any

import websockets.exceptions
import websockets.sync.client as websocket

from .answers import Json, ShapeError, parsed
from .errors import JobLostError, TooLongError
from .progress import Display
from .prompts import Prompt, title
from .server import Server
from .shapes import Job, finite

SILENCE = 5.0  # seconds without a message about the job after which the server is asked
ASK_ANYWAY = 60.0  # seconds after which it is asked, whatever the websocket tells
POLL = 1.0  # seconds between two questions without a websocket
CONNECT_AGAIN = 5.0  # seconds between two attempts at a websocket
DAY = 86_400.0  # seconds
LAST_WORDS = {"execution_success", "execution_error", "execution_interrupted"}
BROKEN = (OSError, TimeoutError, EOFError, websockets.exceptions.WebSocketException)
LARGEST = 8_000_000  # bytes of a message; a preview picture has some hundred thousand
QUEUED = 4  # messages that may wait to be read
# A connection that breaks is no news here; without a handler the library would print a traceback of each.
logging.getLogger("websockets").addHandler(logging.NullHandler())


class Follower:
    """Listens to one job. Make it before the prompt is posted, so that nothing is missed.

    Args:
        server: That runs it.
        client_id: The one that the prompt is posted with, or the messages go elsewhere.
        display: Shows it.
        timeout: Seconds that the job may take from now on, waiting in the queue included.
    """

    def __init__(self, server: Server, client_id: str, display: Display, timeout: float = DAY):
        self.server = server
        self.client_id = client_id
        self.display = display
        self.timeout = timeout
        self.began = time.monotonic()
        self.socket: websocket.ClientConnection | None = None
        self.tried = 0.0
        self.without = False
        self.stage = ""
        self.waiting = -2  # how many were said to come before it
        self.connect()

    def follow(self, prompt_id: str, prompt: Prompt, posted: bool = False) -> dict[str, Any]:
        """Returns the job's entry in the history once it has ended.

        Args:
            prompt_id: The job.
            prompt: What it runs.
            posted: The server has just taken it, so that what its websocket tells is heard before it is asked.

        Raises:
            JobLostError: The server no longer knows it.
            TooLongError: It has not ended in time.
            UnreachableError: The server stayed away.
        """
        ended = posted and self.socket is not None and self.hear(prompt_id, prompt)
        while True:
            job = self.server.locate(prompt_id, ended)
            if job.state == "done":
                self.display.end()
                return job.record
            if job.state == "unknown":
                raise self.lost(prompt_id)
            if self.left() <= 0:
                raise self.late(prompt_id)
            self.show_place(job)
            if self.socket is None and time.monotonic() - self.tried > CONNECT_AGAIN:
                self.connect()
            ended = self.hear(prompt_id, prompt)

    def left(self) -> float:
        """Returns the seconds that the job may still take."""
        return self.began + self.timeout - time.monotonic()

    def hear(self, prompt_id: str, prompt: Prompt) -> bool:
        """Shows what the websocket tells, until it tells of the end, says nothing of this job for a while, or breaks.

        Returns whether it told of the end.

        What others are told does not count: some packs tell every websocket something each second, for ever. Nor does
        what is no event of ComfyUI's.
        """
        if self.socket is None:
            time.sleep(min(POLL, max(self.left(), 0.0)))
            return False
        silence, ended = SILENCE, False
        last = time.monotonic() + min(ASK_ANYWAY, max(self.left(), 0.0))
        until = time.monotonic() + silence
        while (left := min(until, last) - time.monotonic()) > 0:
            try:
                message = self.socket.recv(timeout=left)
            except TimeoutError:
                break
            except BROKEN:
                self.disconnect()
                self.say_without()
                break
            kind, data = event(message)
            if data.get("prompt_id") != prompt_id:
                continue
            if kind == "executing" and data.get("node") is None:
                return True
            if kind in LAST_WORDS:
                silence, ended = POLL / 4, True  # the history has it in a moment
            until = time.monotonic() + silence
            self.show(kind, data, prompt)
        return ended

    def show(self, kind: str, data: Json, prompt: Prompt) -> None:
        """Shows one message."""
        node = data.get("display_node") or data.get("node")
        if kind in ("executing", "progress") and isinstance(node, str) and node and node != self.stage:
            self.stage = node
            self.display.stage(self.server.address.mask(title(prompt, node)))
        done, total = finite(data.get("value")), finite(data.get("max"))
        if kind == "progress" and done is not None and total is not None and total >= 1:
            self.display.step(int(min(max(done, 0), total)), int(total))

    def show_place(self, job: Job) -> None:
        """Shows how many jobs come first, when that has changed."""
        if job.state == "pending" and job.ahead != self.waiting:
            self.waiting = job.ahead
            places = {-1: "Waiting in the queue.", 0: "Next in the queue."}
            self.display.say(places.get(job.ahead, f"Waiting in the queue, {job.ahead} before this one."))

    def connect(self) -> None:
        """Opens the websocket, or goes on without."""
        self.tried = time.monotonic()
        address = self.server.address
        try:
            self.socket = websocket.connect(
                address.websocket(self.client_id),
                additional_headers=address.headers,
                proxy=None,
                compression=None,
                max_size=LARGEST,
                max_queue=QUEUED,
                ssl=self.server.transport.tls if address.base.startswith("https") else None,
                open_timeout=10,
                close_timeout=1,
                ping_timeout=60,  # ComfyUI is deaf while a model loads
            ).__enter__()  # from 17.1 on websockets warns of a connection that no `with` holds
        except BROKEN:
            self.say_without()

    def say_without(self) -> None:
        """Shows once that there is no websocket."""
        if not self.without:
            self.display.say(
                "The server's websocket is out of reach. Asking it every second instead, without progress."
            )
        self.without = True

    def disconnect(self) -> None:
        """Closes the websocket, if it is open.

        The line is cut first: a server that goes on asking and reads no answer holds the thread that answers, and a
        polite close would wait for that thread without end.
        """
        if self.socket is not None:
            with suppress(OSError):  # it is cut already
                self.socket.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()
        self.socket = None

    def lost(self, prompt_id: str) -> JobLostError:
        """Returns the error for a job that the server does not know any more."""
        return JobLostError(
            f"{self.server.address} no longer has job {prompt_id}, neither in its queue nor in its history: "
            "the server was restarted, or somebody removed the job. Nothing of it runs any more, so it is safe to run "
            "the same command again."
        )

    def late(self, prompt_id: str) -> TooLongError:
        """Returns the error for a job that takes longer than it may."""
        return TooLongError(
            f"Job {prompt_id} has not ended in {self.timeout:g} seconds, and goes on at the server. Fetch its clip "
            f"later with: python client fetch {prompt_id}, or stop it with: python client cancel {prompt_id}"
        )


def event(message: str | bytes) -> tuple[str, Json]:
    """Reads a message: what happened, and more about it. Empty for a preview picture and for what is none of ours."""
    if isinstance(message, bytes):
        return "", {}
    try:
        said = parsed(message)
    except ShapeError:
        return "", {}
    kind, data = (said.get("type"), said.get("data")) if isinstance(said, dict) else (None, None)
    return (kind, data) if isinstance(kind, str) and isinstance(data, dict) else ("", {})
