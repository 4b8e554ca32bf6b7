"""Posts a prompt to a ComfyUI and follows it to its end."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Prompt = dict[str, dict[str, Any]]


@dataclass
class Run:
    """What a finished run leaves: per node id its outputs, and the seconds it took."""

    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """Where a run is: the node at work, and how far it is if it says so."""

    node_id: str
    value: int = 0
    total: int = 0


class PromptError(Exception):
    """ComfyUI refused a prompt, or a node of it failed. The text names the node and its message."""


async def run_prompt(address: str, prompt: Prompt, on_progress: Callable[[Progress], None]) -> Run:
    """Runs a prompt and returns when its last node has ended.

    Raises:
        PromptError: The prompt was refused, or a node failed, or somebody interrupted it.
    """
    client = uuid.uuid4().hex
    async with (
        aiohttp.ClientSession(address) as session,
        session.ws_connect("/ws", params={"clientId": client}, max_msg_size=0) as socket,
    ):
        async with session.post("/prompt", json={"prompt": prompt, "client_id": client}) as answer:
            accepted = await answer.json()
        if accepted.get("node_errors") or "prompt_id" not in accepted:  # a part of it may run with status 200
            raise PromptError(explain_refusal(prompt, accepted))
        return await follow(socket, prompt, accepted["prompt_id"], on_progress)


async def follow(
    socket: aiohttp.ClientWebSocketResponse, prompt: Prompt, prompt_id: str, on_progress: Callable[[Progress], None]
) -> Run:
    """Reads the messages of one prompt until it ends."""
    follower = Follower(prompt, on_progress)
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue  # a preview picture
        event = json.loads(message.data)
        if event["data"].get("prompt_id") == prompt_id and follower.take(event["type"], event["data"]):
            return follower.run
    raise PromptError("ComfyUI closed the connection before the run had ended. Look at its log.")


class Follower:
    """Gathers what a run says of itself."""

    def __init__(self, prompt: Prompt, on_progress: Callable[[Progress], None]):
        self.prompt = prompt
        self.on_progress = on_progress
        self.run = Run()
        self.at_work = ""
        self.since = time.monotonic()

    def take(self, kind: str, data: dict[str, Any]) -> bool:
        """Takes one message, and says whether it was the last."""
        if kind == "executing":
            self.turn_to(data["node"] or "")
        elif kind == "progress":
            self.on_progress(Progress(data["node"], data["value"], data["max"]))
        elif kind == "executed":
            self.run.outputs[data["node"]] = data["output"] or {}  # null where an equal node has just run
        elif kind == "execution_error":
            raise PromptError(f"{title(self.prompt, data['node_id'])}: {data['exception_message'].strip()}")
        elif kind == "execution_interrupted":
            raise PromptError("The run was interrupted.")
        elif kind == "execution_success":
            self.turn_to("")
            return True
        return False

    def turn_to(self, node_id: str) -> None:
        """Notes that another node is at work, none if empty; ComfyUI repeats itself here."""
        if node_id == self.at_work:
            return
        now = time.monotonic()
        if self.at_work:
            self.run.seconds[self.at_work] = self.run.seconds.get(self.at_work, 0.0) + now - self.since
        self.at_work, self.since = node_id, now
        if node_id:
            self.on_progress(Progress(node_id))


def title(prompt: Prompt, node_id: str) -> str:
    """Returns a node's title in the prompt, else its class."""
    node = prompt.get(node_id, {})
    return node.get("_meta", {}).get("title") or node.get("class_type", node_id)


def explain(error: dict[str, Any]) -> str:
    """Says one error of a node; a check of ours comes once per input that it covers, after the input's name."""
    details = error["details"]
    ours = error["type"] == "custom_validation_failed" and " - " in details
    return details.partition(" - ")[2] if ours else f"{error['message']}: {details}"


def explain_refusal(prompt: Prompt, answer: dict[str, Any]) -> str:
    """Puts ComfyUI's answer to a refused prompt into lines."""
    lines = [
        f"{title(prompt, node_id)}: {explain(error)}"
        for node_id, node in (answer.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    return "\n".join(dict.fromkeys(lines)) or str(answer.get("error", answer))
