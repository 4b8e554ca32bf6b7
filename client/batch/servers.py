"""Jobs on ComfyUIs that run already: the client's own way of running one prompt, many times at once."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from .. import address, answers, explain, settings, shapes
from ..address import Address
from ..answers import ForeignError, ShapeError
from ..cancel import cancel_or_say
from ..errors import (
    ClientError,
    JobLostError,
    NotTakenError,
    RefusedError,
    RunError,
    TooLongError,
    UnreachableError,
    UsageError,
)
from ..follow import Follower
from ..job import prepare, settings_on, submit
from ..printable import short
from ..progress import Display
from ..prompts import Prompt
from ..server import Server
from ..settings import Setting
from ..shapes import amount
from ..transport import BrokenError
from ..values import read
from .engine import Found, Needs, Order
from .outcome import Watched, result
from .plan import Job, Offer, bytes_digest
from .table import Result

SYSTEM = "/system_stats"
VERSIONS = {"ComfyUI": "comfyui_version", "Python": "python_version", "PyTorch": "pytorch_version"}
PRICE = "/wan22_turbo/hosted"  # the pack's own route, which says what a hosted clip costs


class Servers:
    """ComfyUIs by their addresses.

    Args:
        addresses: Where they are.
        depths: How many jobs each may have at once, the running one included.
        patience: Seconds that one may be away in the middle of a job.
        say: Takes a sentence for the user.
    """

    def __init__(
        self, addresses: Sequence[Address], depths: Sequence[int], patience: float, say: Callable[[str], None]
    ):
        self.addresses = {str(each): each for each in addresses}
        if len(self.addresses) < len(addresses):
            raise UsageError("The same server is named twice. To give it more jobs at once, use --depth.")
        self.depths = dict(zip(self.addresses, depths, strict=True))
        self.patience = patience
        self.say = say
        self.closed = False
        self.free: dict[str, list[Server]] = defaultdict(list)
        self.known: dict[str, dict[str, list[Setting]]] = {}
        self.sent: dict[str, dict[str, str]] = defaultdict(dict)

    def places(self) -> dict[str, int]:
        """Returns the addresses, without what is secret in them, and how many jobs each takes."""
        return self.depths

    def open(self, place: str, needs: Needs) -> Found:
        """Asks a server what it can do, and refuses one that cannot do what the study needs."""
        self.sent.pop(place, None)  # it may have been emptied meanwhile
        with self.connection(place) as server:
            try:
                known = {name: settings_on(server, prompt) for name, prompt in needs.graphs.items()}
                for name, values in needs.values.items():
                    check(known[name], values)
            except (RefusedError, UsageError) as error:
                raise type(error)(
                    f"{place} cannot do this study: {error} It may have another version of this pack, or none."
                ) from error
            self.known[place] = known
            try:
                asked = {offer: price(server, offer) for offer in needs.offers}
            except UnreachableError as error:
                raise UnreachableError(
                    f"{place} does not tell what hosted clips cost: {error} It may have another version of this pack."
                ) from error
            return Found({offer: usd for offer, usd in asked.items() if usd is not None}, versions(server))

    def run(self, place: str, order: Order, display: Display) -> Result:
        """Posts a job, or looks for one that may be there already, and returns what became of it."""
        with self.connection(place) as server:
            watched = Watched(display)
            ready = order.prompt if order.posted else self.ready(place, server, order)
            follower = Follower(server, order.prompt_id, watched, order.timeout)  # an id that a later run knows again
            try:
                if not order.posted:
                    submit(server, ready, order.prompt_id, watched, strict=True, prompt_id=order.prompt_id)
                record = follower.follow(order.prompt_id, ready, posted=not order.posted)
            except JobLostError:
                self.sent.pop(place, None)  # who forgets a job may have lost its pictures as well
                raise
            except TooLongError as error:
                said = cancel_or_say(server, order.prompt_id)
                raise RunError(f"It took longer than {order.timeout:g} seconds. {said}") from error
            finally:
                follower.disconnect()
            explain.check_end(ready, record)
            return result(server, order, ready, record, watched)

    def ready(self, place: str, server: Server, order: Order) -> Prompt:
        """Returns the prompt to post, with its pictures on the server.

        Raises:
            NotTakenError: A value or a picture cannot be used, or that is another one than the study began with.
        """
        known, sent = self.known[place][order.job.graph], self.sent[place]
        new = dict(sent)
        try:
            check_files(order.job, sent)
            ready = prepare(server, order.prompt, order.job.values, self.say, known, new)
            check_files(order.job, sent)  # again: what was saved meanwhile may be what was sent
        except (RefusedError, UsageError) as error:
            raise NotTakenError(str(error)) from error
        sent |= new
        return saved_anew(ready, order.prompt_id) if order.again else ready

    def close(self) -> None:
        """Ends the connections, those that are in use when they are given back."""
        self.closed = True
        for servers in self.free.values():
            while servers:
                servers.pop().close()

    @contextmanager
    def connection(self, place: str) -> Iterator[Server]:
        """Gives a connection that nobody else uses meanwhile, and keeps it for the next job if all goes well."""
        free = self.free[place]
        try:
            server = free.pop()
        except IndexError:
            server = Server(self.addresses[place], self.patience, self.say, known=place in self.known)
        try:
            with address.masked(server.address):
                yield server
        except BaseException:
            server.close()
            raise
        if self.closed:
            server.close()
        else:
            free.append(server)


def check(known: list[Setting], values: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuses what a server does not take in a graph.

    Raises:
        UsageError: A name or value does not fit.
    """
    for name, some in values.items():
        setting = settings.find(known, name)
        for value in some if setting.files != "upload" else ():
            read(setting, value)


def saved_anew(prompt: Prompt, prompt_id: str) -> Prompt:
    """Returns a prompt whose clips ComfyUI saves although it remembers them: under names that it has not had yet."""
    made = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in prompt.items()}
    for node in made.values():
        prefix = node["inputs"].get("filename_prefix")
        if isinstance(prefix, str):
            node["inputs"]["filename_prefix"] = f"{prefix}_{prompt_id[:8]}"
    return made


def check_files(job: Job, sent: Container[str]) -> None:
    """Refuses a file that is not sent yet, and is another one than the job was planned with.

    Raises:
        UsageError: There is one.
    """
    for name, digest in job.files.items():
        path = str(job.values[name])
        if path not in sent and bytes_digest(Path(path)) != digest:
            raise UsageError(
                f"{short(Path(path).name)} has changed since the study began. Run the same command again: what it "
                "makes of the picture as it is now is another job."
            )


def price(server: Server, offer: Offer) -> float | None:
    """Asks what a hosted clip costs; None where nobody names a price."""
    model, resolution, duration = offer
    asked = urlencode({"model": model, "resolution": resolution, "duration": duration})
    return server.get(f"{PRICE}?{asked}", lambda said: amount(said.get("usd")))


def versions(server: Server) -> dict[str, str]:
    """Asks once what runs there; nothing where it does not say."""
    try:
        said = answers.own(server.address, server.transport.ask("GET", SYSTEM))
        system, devices = shapes.mapping(said["system"]), said.get("devices") or []
        told = {name: system.get(key) for name, key in VERSIONS.items()}
        told |= {f"device {number}": shapes.mapping(each).get("name") for number, each in enumerate(devices)}
    except (httpx.TransportError, BrokenError, ForeignError, ShapeError, ClientError, KeyError, TypeError):
        return {}
    return {name: short(server.address.mask(value)) for name, value in told.items() if isinstance(value, str)}
