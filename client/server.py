"""A ComfyUI server over HTTP. Reads are repeated while it is away; a prompt is posted once and never again."""

import json
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx

from .address import Address
from .errors import RefusedError, UnreachableError, UsageError
from .prompts import Prompt

TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds; a server that loads models may answer late
AWAY = {502, 503, 504}  # what a proxy answers while the server behind it is away
PAUSES = (0.5, 1.0, 2.0, 3.0)  # seconds between attempts; the last one for all that follow
UNSURE_SECONDS = 5.0  # how long a prompt whose answer got lost may take to appear in the queue

State = Literal["pending", "running", "done", "unknown"]


@dataclass(frozen=True)
class Job:
    """What the server knows of a job.

    Args:
        state: Where it is.
        ahead: While it is pending, how many come before it.
        prompt: What runs.
        record: Once it is done, its entry in the history.
    """

    state: State
    ahead: int = 0
    prompt: Prompt = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


class Server:
    """Speaks to the one server that the user named: no redirect is followed, no proxy asked.

    Args:
        address: Where it is.
        patience: Seconds that a server may be away, for example to restart, before this gives up.
        say: Takes a sentence for the user.
    """

    def __init__(self, address: Address, patience: float = 60.0, say: Callable[[str], None] = lambda text: None):
        self.address = address
        self.patience = patience
        self.say = say
        if address.secrets:
            for library in ("httpx", "httpcore", "websockets"):  # they log whole URLs and headers
                logging.getLogger(library).setLevel(logging.WARNING)
        self.tls = ssl.create_default_context()  # reads SSL_CERT_FILE
        self.http = httpx.Client(
            headers={**address.headers, "Accept-Encoding": "identity"},
            params=list(address.query), timeout=TIMEOUT, verify=self.tls, trust_env=False, follow_redirects=False,
        )  # fmt: skip

    def close(self) -> None:
        """Ends the connections."""
        self.http.close()

    def object_info(self, classes: Iterable[str]) -> dict[str, Any]:
        """Returns what the server says of some node classes; one that it lacks is left out. Fails at once."""
        info: dict[str, Any] = {}
        for name in dict.fromkeys(classes):
            info |= self.get(f"/object_info/{quote(name, safe='')}", patience=0.0)
        return info

    def upload(self, path: Path) -> str:
        """Sends a file into the server's input folder and returns the name by which a node finds it there.

        A file that is there already, byte for byte, is not stored again; another one of its name is left alone and
        this one gets a number. So this may be repeated.
        """

        def send() -> httpx.Response:
            with path.open("rb") as file:
                return self.http.post(self.url("/upload/image"), files={"image": (path.name, file)})

        try:
            stored = self.answer(self.patiently(send, self.patience))
        except OSError as error:
            raise UsageError(f"{path.name} cannot be read: {error.strerror}.") from error
        return "/".join(part for part in (stored["subfolder"].strip("/"), stored["name"]) if part)

    def submit(self, prompt: Prompt, prompt_id: str, client_id: str) -> dict[str, Any]:
        """Posts a prompt, once, and returns the answer, also where it is a refusal.

        Raises:
            UnreachableError: It is not known whether the prompt arrived, and the server does not know of it.
        """
        body = {"prompt": prompt, "prompt_id": prompt_id, "client_id": client_id}
        try:
            response = self.http.post(self.url("/prompt"), json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self.away(error) from error  # nothing was sent
        except httpx.TransportError:
            return self.look_for(prompt_id)
        if response.status_code in AWAY:
            return self.look_for(prompt_id)
        return self.answer(response, refusals=True)

    def look_for(self, prompt_id: str) -> dict[str, Any]:
        """Finds out whether a prompt arrived whose answer got lost."""
        self.say("The answer to the prompt got lost. Asking the server whether it has the job.")
        deadline = time.monotonic() + UNSURE_SECONDS
        while self.locate(prompt_id).state == "unknown":
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"The connection broke while the prompt was sent, and {self.address} has no job {prompt_id}. "
                    "It was not sent a second time, as the first may yet arrive. Look into the server's queue; "
                    "if it is not there, run the command again."
                )
            time.sleep(PAUSES[0])
        return {"prompt_id": prompt_id}

    def locate(self, prompt_id: str) -> Job:
        """Asks where a job is. The queue first: a job that ends between the two questions is then in the history."""
        queue = self.get("/queue")
        for item in queue["queue_running"]:
            if item[1] == prompt_id:
                return Job("running", prompt=item[2])
        for item in queue["queue_pending"]:
            if item[1] == prompt_id:
                before = sum(other[0] < item[0] for other in queue["queue_pending"])
                return Job("pending", before + len(queue["queue_running"]), item[2])
        record = self.get(f"/history/{prompt_id}").get(prompt_id)
        return Job("done", prompt=record["prompt"][2], record=record) if record else Job("unknown")

    def interrupt(self, prompt_id: str) -> None:
        """Stops a running job, and no other."""
        self.post("/interrupt", {"prompt_id": prompt_id})

    def remove(self, prompt_id: str) -> None:
        """Takes a pending job out of the queue."""
        self.post("/queue", {"delete": [prompt_id]})

    def view(self, file: dict[str, str]) -> AbstractContextManager[httpx.Response]:
        """Opens one of the server's files: {filename, subfolder, type}."""
        query = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
        return self.http.stream("GET", self.url("/view"), params=query)

    def get(self, path: str, patience: float | None = None) -> Any:
        """Returns the JSON answer to a GET, repeated while the server is away."""
        wait = self.patience if patience is None else patience
        return self.answer(self.patiently(lambda: self.http.get(self.url(path)), wait))

    def post(self, path: str, body: dict[str, Any]) -> None:
        """POSTs a wish that may be repeated."""
        response = self.patiently(lambda: self.http.post(self.url(path), json=body), self.patience)
        if response.status_code != 200:
            self.answer(response)

    def patiently(self, send: Callable[[], httpx.Response], patience: float) -> httpx.Response:
        """Sends until there is an answer from ComfyUI, or patience ends."""
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                response = send()
                if response.status_code not in AWAY:
                    return response
                trouble: Exception = UnreachableError(f"HTTP {response.status_code}")
            except httpx.TransportError as error:
                trouble = error
            if time.monotonic() - began >= patience:
                raise self.away(trouble) from trouble
            if attempt == 1:
                self.say(f"{self.address} does not answer. Waiting for it, up to {patience:.0f} seconds.")
            time.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    def answer(self, response: httpx.Response, refusals: bool = False) -> Any:
        """Returns the JSON of an answer. A refused prompt comes with status 400 and is one too, if those are wanted."""
        status = response.status_code
        if status in (401, 403):
            raise UnreachableError(
                f"{self.address} does not let us in (HTTP {status}). Give the token in WAN22_TURBO_TOKEN, "
                "or as the address asks for it."
            )
        if status == 413:
            raise UsageError("The server takes no file so large (HTTP 413). Send a smaller picture.")
        if status == 500:
            raise RefusedError(f"{self.address} failed at this request itself (HTTP 500). Its log says why.")
        try:
            if status == 200 or (refusals and status == 400):
                return response.json()
        except json.JSONDecodeError:
            pass
        raise UnreachableError(f"{self.address} does not answer as a ComfyUI does (HTTP {status}). Check the address.")

    def away(self, error: Exception) -> UnreachableError:
        """Says that nobody answers."""
        why = self.address.mask(str(error)) or type(error).__name__
        return UnreachableError(f"No ComfyUI answers at {self.address} ({why}). Start it, or check the address.")

    def url(self, path: str) -> str:
        """Returns a whole URL, without what is secret."""
        return self.address.base + path
