"""A ComfyUI server over HTTP. Questions are repeated until ComfyUI itself answers; a prompt is never posted twice.

A prompt has an id of our own. So whatever became of the answer to it, queue and history tell whether it arrived.
"""

import io
import json
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import httpx

from . import answers, shapes
from .address import Address
from .answers import ForeignError, Json, ShapeError
from .errors import ClientError, TooMuchError, UnreachableError, UsageError
from .prompts import Prompt
from .shapes import Job
from .transport import Answer, BrokenError, Transport

PAUSES = (0.5, 1.0, 2.0, 3.0)  # seconds between attempts; the last one for all that follow
REFUSALS = {"error", "node_errors"}
UNSURE_SECONDS = 30.0  # how long a prompt whose answer got lost may take to appear in the queue

T = TypeVar("T")


class Server:
    """What a client asks of a ComfyUI.

    Args:
        address: Where it is.
        patience: Seconds that a server may be away, for example to restart, before this gives up.
        say: Takes a sentence for the user.
        known: It was there before, so that it is worth waiting for also where nobody answers the first question.
    """

    def __init__(
        self, address: Address, patience: float = 60.0, say: Callable[[str], None] = lambda text: None,
        known: bool = False,
    ):  # fmt: skip
        self.address = address
        self.patience = patience
        self.say = say
        self.known = known
        self.heard = False  # whether it has said a word of its own
        self.crowded = False  # whether its queue is too long to be read
        if address.secrets:
            for library in ("httpx", "httpcore", "websockets"):  # they log whole URLs and headers
                logging.getLogger(library).setLevel(logging.WARNING)
        self.transport = Transport(address)

    def close(self) -> None:
        """Ends the connections."""
        self.transport.close()

    def object_info(self, classes: Iterable[str]) -> Json:
        """Returns what the server says of some node classes; one that it lacks is left out."""
        info: Json = {}
        for name in dict.fromkeys(classes):
            path = f"/object_info/{quote(name, safe='')}"
            info |= self.get(path, lambda said, name=name: shapes.described(said, name))
        return info

    def upload(self, path: Path, content: bytes | None = None) -> str:
        """Sends a file into the server's input folder and returns the name by which a node finds it there.

        Args:
            path: The file.
            content: What to send under its name in place of what is in it.

        A file that is there already, byte for byte, is not stored again; another one of its name is left alone and
        this one gets a number. So this may be repeated.
        """

        def send() -> Answer:
            with path.open("rb") if content is None else io.BytesIO(content) as file:
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                return self.transport.ask("POST", "/upload/image", size, files={"image": (path.name, file)})

        try:
            return self.asked(send, shapes.stored)
        except OSError as error:
            raise UsageError(f"{path.name} cannot be read: {error.strerror}.") from error

    def submit(self, prompt: Prompt, prompt_id: str, client_id: str) -> Json:
        """Posts a prompt, once, and returns the answer, also where it is a refusal.

        Returns:
            ComfyUI's answer; {prompt_id} alone, without node_errors, where that got lost and the server has the job.

        Raises:
            ClientError: It is not known whether the prompt arrived, and the server does not know of it.
        """
        try:
            body = json.dumps({"prompt": prompt, "prompt_id": prompt_id, "client_id": client_id}, allow_nan=False)
        except ValueError as error:
            raise UsageError("A prompt must hold finite numbers, and this one holds NaN or Infinity.") from error
        try:
            answer = self.patiently(lambda: self.post_once(body.encode()), posting=True)
        except ForeignError as error:
            return self.look_for(prompt_id, error.error)
        said = answer.get("prompt_id", prompt_id)
        if said != prompt_id:
            other = f"Look at it with: python client fetch {said}" if isinstance(said, str) and len(said) < 80 else ""
            raise UnreachableError(
                f"{self.address} gave the job another id than the one it was sent with, so it is no ComfyUI of 0.16.3 "
                f"or newer, or something between us changes it. The job may run. {other}".strip()
            )
        return answer

    def post_once(self, body: bytes) -> Json:
        """POSTs a prompt. Whatever may have reached the server and has no answer of its own is a ForeignError."""
        headers = {"Content-Type": "application/json"}
        try:
            answer = self.transport.ask("POST", "/prompt", size=len(body), content=body, headers=headers)
            said = answers.own(self.address, answer, (200, 400))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise  # nothing was sent
        except (httpx.TransportError, BrokenError, TooMuchError) as error:
            raise ForeignError(UnreachableError("The connection broke while the prompt was sent.")) from error
        if ("prompt_id" in said) == (answer.status == 200) and (answer.status == 200 or said.keys() & REFUSALS):
            return said
        raise answers.foreign(self.address, answer.status, answer.headers)

    def look_for(self, prompt_id: str, why: ClientError) -> Json:
        """Finds out whether a prompt arrived whose answer got lost."""
        self.say("The answer to the prompt got lost. Asking the server whether it has the job.")
        self.heard = True  # from here on it is worth waiting for, whoever answers in its place
        deadline = time.monotonic() + UNSURE_SECONDS
        later = f"To look again: python client fetch {prompt_id}"
        try:
            while self.locate(prompt_id).state == "unknown":
                if time.monotonic() > deadline:
                    raise type(why)(
                        f"{why} {self.address} has no job {prompt_id}. It was not sent a second time, as the first may "
                        f"yet arrive. {later}. If the server still has no such job then, run the command again."
                    )
                time.sleep(PAUSES[0])
        except UnreachableError as error:
            if prompt_id in str(error):
                raise
            raise UnreachableError(
                f"Whether job {prompt_id} arrived is not known, so it was not sent a second time. {error} {later}."
            ) from error
        return {"prompt_id": prompt_id}

    def locate(self, prompt_id: str, ended: bool = False) -> Job:
        """Asks where a job is. The queue first: a job that ends between the two questions is then in the history.

        Of one that is said to have ended, the history is asked before, as it is likely there.
        """
        job = self.remembered(prompt_id) if ended else Job("unknown")
        if job.state == "unknown":
            job = self.alone(prompt_id) if self.crowded else self.among(prompt_id)
        return self.remembered(prompt_id) if job.state == "unknown" else job

    def remembered(self, prompt_id: str) -> Job:
        """Looks for a job in the history."""
        return self.get(f"/history/{quote(prompt_id, safe='')}", lambda said: shapes.in_history(said, prompt_id))

    def among(self, prompt_id: str) -> Job:
        """Looks for a job in the queue, as long as that is short enough to be read."""
        try:
            return self.get("/queue", lambda said: shapes.in_queue(said, prompt_id))
        except TooMuchError:  # hundreds of large graphs
            self.crowded = True
            return self.alone(prompt_id)

    def alone(self, prompt_id: str) -> Job:
        """Asks for one job without the others. How many come first is not said then, nor what runs."""
        return self.get(f"/api/jobs/{quote(prompt_id, safe='')}", shapes.by_itself, (200, 404))

    def interrupt(self, prompt_id: str) -> None:
        """Stops a running job, and no other."""
        self.post("/interrupt", {"prompt_id": prompt_id})

    def remove(self, prompt_id: str) -> None:
        """Takes a pending job out of the queue."""
        self.post("/queue", {"delete": [prompt_id]})

    def view(self, file: dict[str, str]) -> AbstractContextManager[httpx.Response]:
        """Opens one of the server's files: {filename, subfolder, type}."""
        return self.transport.open("GET", f"/view?{urlencode(file)}")

    def get(self, path: str, read: Callable[[Json], T], statuses: tuple[int, ...] = (200,)) -> T:
        """Returns what the answer to a GET says, asked again until it is ComfyUI's own."""
        return self.asked(lambda: self.transport.ask("GET", path), read, statuses)

    def asked(self, send: Callable[[], Answer], read: Callable[[Json], T], statuses: tuple[int, ...] = (200,)) -> T:
        """Sends what may be repeated, until ComfyUI itself answers."""

        def ask() -> T:
            answer = send()
            try:
                return read(answers.own(self.address, answer, statuses))
            except ShapeError as error:
                raise answers.foreign(self.address, answer.status, answer.headers) from error

        return self.patiently(ask)

    def post(self, path: str, body: Json) -> None:
        """POSTs a wish that may be repeated; ComfyUI's answer to it is empty."""

        def send() -> None:
            answer = self.transport.ask("POST", path, json=body)
            if answer.status != 200 or answer.body:
                answers.own(self.address, answer)

        self.patiently(send)

    def patiently(self, send: Callable[[], T], posting: bool = False) -> T:
        """Sends until there is an answer from ComfyUI itself, or patience ends.

        Before it has said a word, this waits only where somebody says that it is away: the address may be wrong.

        Args:
            send: Sends, and returns what came or raises.
            posting: Repeat only what surely was not sent; other trouble is raised as a ForeignError.
        """
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                said = send()
            except ForeignError as error:
                if posting:
                    raise
                trouble, wait = error.error, error.wait
                worth = (error.away or self.heard) and not isinstance(trouble, UsageError)
            except (httpx.TransportError, BrokenError) as error:
                trouble, wait = answers.unreachable(self.address, error), 0.0
                worth = (self.known or self.heard) and answers.tls_error(error) is None
            else:
                self.heard = True
                return said
            left = began + self.patience - time.monotonic()
            if left <= 0 or not worth:
                raise trouble
            if attempt == 1:
                self.say(f"{self.address} does not answer. Waiting for it, up to {self.patience:.0f} seconds.")
            time.sleep(min(max(wait, PAUSES[min(attempt, len(PAUSES) - 1)]), left))
            attempt += 1
