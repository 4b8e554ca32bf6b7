"""Follows a job to its end. The websocket tells how far it is; whether it has ended, the queue and the history tell.

So a websocket that breaks, a message that gets lost, or a server that is away for a while costs the bars, not the job.
"""

import json
import time
from typing import Any

import websockets.exceptions
import websockets.sync.client as websocket

from .errors import JobLostError
from .progress import Display
from .prompts import Prompt, title
from .server import Job, Server

SILENCE = 5.0  # seconds without a message about the job after which the server is asked
POLL = 1.0  # seconds between two questions without a websocket
CONNECT_AGAIN = 5.0  # seconds between two attempts at a websocket
LAST_WORDS = {"execution_success", "execution_error", "execution_interrupted"}
BROKEN = (OSError, TimeoutError, websockets.exceptions.WebSocketException)


class Follower:
    """Listens to one job. Make it before the prompt is posted, so that nothing is missed.

    Args:
        server: That runs it.
        client_id: The one that the prompt is posted with, or the messages go elsewhere.
        display: Shows it.
    """

    def __init__(self, server: Server, client_id: str, display: Display):
        self.server = server
        self.client_id = client_id
        self.display = display
        self.socket: websocket.ClientConnection | None = None
        self.tried = 0.0
        self.without = False
        self.stage = ""
        self.waiting = -1  # how many were said to come before it
        self.connect()

    def follow(self, prompt_id: str, prompt: Prompt) -> dict[str, Any]:
        """Returns the job's entry in the history once it has ended.

        Raises:
            JobLostError: The server no longer knows it.
            UnreachableError: The server stayed away.
        """
        while True:
            job = self.server.locate(prompt_id)
            if job.state == "done":
                self.display.end()
                return job.record
            if job.state == "unknown":
                raise self.lost(prompt_id)
            self.show_place(job)
            if self.socket is None and time.monotonic() - self.tried > CONNECT_AGAIN:
                self.connect()
            self.hear(prompt_id, prompt)

    def hear(self, prompt_id: str, prompt: Prompt) -> None:
        """Shows what the websocket tells, until it tells of the end, says nothing of this job for a while, or breaks.

        What others are told does not count: some packs tell every websocket something each second, for ever.
        """
        if self.socket is None:
            time.sleep(POLL)
            return
        silence = SILENCE
        until = time.monotonic() + silence
        while (left := until - time.monotonic()) > 0:
            try:
                message = self.socket.recv(timeout=left)
            except TimeoutError:
                return
            except BROKEN:
                self.disconnect()
                self.say_without()
                return
            event = {} if isinstance(message, bytes) else json.loads(message)  # bytes are a preview picture
            if not isinstance(event.get("data"), dict) or event["data"].get("prompt_id") != prompt_id:
                continue
            if event["type"] == "executing" and event["data"]["node"] is None:
                return
            if event["type"] in LAST_WORDS:
                silence = POLL / 4  # the history has it in a moment
            until = time.monotonic() + silence
            self.show(event["type"], event["data"], prompt)

    def show(self, kind: str, data: dict[str, Any], prompt: Prompt) -> None:
        """Shows one message."""
        node = data.get("display_node") or data.get("node")
        if kind in ("executing", "progress") and node and node != self.stage:
            self.stage = node
            self.display.stage(title(prompt, node))
        if kind == "progress" and data["max"]:
            self.display.step(int(data["value"]), int(data["max"]))

    def show_place(self, job: Job) -> None:
        """Says how many jobs come first, when that has changed."""
        if job.state == "pending" and job.ahead != self.waiting:
            self.waiting = job.ahead
            self.display.say(
                f"Waiting in the queue, {job.ahead} before this one." if job.ahead else "Next in the queue."
            )

    def connect(self) -> None:
        """Opens the websocket, or goes on without."""
        self.tried = time.monotonic()
        address = self.server.address
        try:
            self.socket = websocket.connect(
                address.websocket(self.client_id),
                additional_headers=address.headers,
                proxy=None,
                max_size=None,  # preview pictures
                ssl=self.server.tls if address.base.startswith("https") else None,
                open_timeout=10,
                close_timeout=1,
                ping_timeout=60,  # ComfyUI is deaf while a model loads
            ).__enter__()  # from 17.1 on websockets warns of a connection that no `with` holds
        except BROKEN:
            self.say_without()

    def say_without(self) -> None:
        """Says, once, that there is no websocket."""
        if not self.without:
            self.display.say(
                "The server's websocket is out of reach. Asking it every second instead, without progress."
            )
        self.without = True

    def disconnect(self) -> None:
        """Closes the websocket, if it is open."""
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def lost(self, prompt_id: str) -> JobLostError:
        """Says that the server does not know the job any more."""
        return JobLostError(
            f"{self.server.address} no longer has job {prompt_id}, neither in its queue nor in its history: "
            "the server was restarted, or somebody removed the job. Nothing of it runs any more, so it is safe to run "
            "the same command again."
        )
