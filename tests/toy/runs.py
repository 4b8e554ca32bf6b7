"""Prompts run on a ComfyUI by the client."""

import uuid

from pack.client import address, explain, job
from pack.client.follow import Follower
from pack.client.progress import Display, Silent
from pack.client.server import Server


class Steps(Silent):
    """Keeps the steps that a run counts, in order: title of the node, done, total."""

    def __init__(self):
        self.title = ""
        self.seen = []

    def of(self, title):
        """The steps of a node: done, total."""
        return [(done, total) for name, done, total in self.seen if name == title]

    def stage(self, title):
        self.title = title

    def step(self, done, total):
        self.seen.append((self.title, done, total))


def run(server, prompt, display: Display | None = None):
    """Runs a prompt to its end and returns what its nodes gave, by id. All of it runs, or nothing.

    Raises:
        ClientError: It was refused, or a node failed, or somebody interrupted it.
    """
    client_id, display = uuid.uuid4().hex, display or Silent()
    connection = Server(address.parse(server.address))
    follower = Follower(connection, client_id, display)
    try:
        prompt_id, _ = job.submit(connection, prompt, client_id, display, strict=True)
        record = follower.follow(prompt_id, prompt)
    finally:
        follower.disconnect()
        connection.close()
    explain.check_end(prompt, record)
    return record["outputs"]
