"""Jobs on ComfyUIs that run already: the client's own way of running one prompt, many times at once."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from .. import address, explain, settings
from ..address import Address
from ..answers import Json, ShapeError, parsed
from ..cancel import cancel_or_say
from ..errors import ClientError, RefusedError, RunError, SaveError, TooLongError, UnreachableError, UsageError
from ..follow import Follower
from ..job import prepare, settings_on, submit, texts
from ..progress import Display
from ..prompts import Prompt
from ..save import BrokenFileError, save_all
from ..server import Server
from ..settings import Setting
from ..shapes import finite, messages
from ..values import read
from .engine import Needs, Order
from .plan import Offer
from .store import keep
from .table import Result

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
        self.free: dict[str, list[Server]] = defaultdict(list)
        self.known: dict[str, dict[str, list[Setting]]] = {}
        self.sent: dict[str, dict[str, str]] = defaultdict(dict)

    def places(self) -> dict[str, int]:
        """Returns the addresses, without what is secret in them, and how many jobs each takes."""
        return self.depths

    def open(self, place: str, needs: Needs) -> dict[Offer, float]:
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
            asked = {offer: price(server, offer) for offer in needs.offers}
        return {offer: usd for offer, usd in asked.items() if usd is not None}

    def run(self, place: str, order: Order, display: Display) -> Result:
        """Posts a job, unless it is there already, and returns what became of it."""
        with self.connection(place) as server:
            watched = Watched(display)
            there = order.posted and server.locate(order.prompt_id).state != "unknown"
            ready = order.prompt if there else self.ready(place, server, order)
            follower = Follower(server, order.prompt_id, watched, order.timeout)  # an id that a later run knows again
            try:
                if not there:
                    submit(server, ready, order.prompt_id, watched, strict=True, prompt_id=order.prompt_id)
                record = follower.follow(order.prompt_id, ready)
            except TooLongError as error:
                said = cancel_or_say(server, order.prompt_id)
                raise RunError(f"It took longer than {order.timeout:g} seconds. {said}") from error
            finally:
                follower.disconnect()
            explain.check_end(ready, record)
            return result(server, order, ready, record, watched)

    def ready(self, place: str, server: Server, order: Order) -> Prompt:
        """Returns the prompt to post, with its pictures on the server."""
        known = self.known[place][order.job.graph]
        return prepare(server, order.prompt, order.job.values, self.say, known, self.sent[place])

    def close(self) -> None:
        """Ends the connections."""
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
            server = Server(self.addresses[place], self.patience, self.say)
        try:
            with address.masked(server.address):
                yield server
        except BaseException:
            server.close()
            raise
        free.append(server)


class Watched:
    """A display that passes on what it is told, and keeps how long each stage took."""

    def __init__(self, display: Display, clock: Callable[[], float] = time.monotonic):
        self.display = display
        self.clock = clock
        self.began = clock()
        self.first: float | None = None
        self.seconds: dict[str, float] = {}
        self.now = ("", 0.0)

    def say(self, text: str) -> None:
        """Passes a sentence on."""
        self.display.say(text)

    def stage(self, title: str) -> None:
        """Ends the stage before."""
        self.end_stage()
        self.now = (title, self.clock())
        self.first = self.now[1] if self.first is None else self.first
        self.display.stage(title)

    def step(self, done: int, total: int) -> None:
        """Passes it on."""
        self.display.step(done, total)

    def end(self) -> None:
        """Ends the last stage."""
        self.end_stage()
        self.display.end()

    def end_stage(self) -> None:
        """Adds the time of the stage up to now."""
        title, began = self.now
        if title:
            self.seconds[title] = round(self.seconds.get(title, 0.0) + self.clock() - began, 3)
        self.now = ("", 0.0)

    @property
    def waited(self) -> float | None:
        """Seconds before the first stage."""
        return None if self.first is None else round(self.first - self.began, 3)


def check(known: list[Setting], values: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuses what a server does not take in a graph.

    Raises:
        UsageError: A name or value does not fit.
    """
    for name, some in values.items():
        setting = settings.find(known, name)
        for value in some if setting.files != "upload" else ():
            read(setting, value)


def price(server: Server, offer: Offer) -> float | None:
    """Asks what a hosted clip costs; None where nobody names a price."""
    model, resolution, duration = offer
    asked = urlencode({"model": model, "resolution": resolution, "duration": duration})
    return server.get(f"{PRICE}?{asked}", lambda said: finite(said.get("usd")))


def result(server: Server, order: Order, prompt: Prompt, record: Json, watched: Watched) -> Result:
    """Fetches what a job made, and reads what is known of its run.

    Raises:
        SaveError: It cannot be written here.
        UnreachableError: It did not come whole.
        RunError: The server does not have it any more.
    """
    try:
        with keep(order.target, order.job.name) as place:
            place.files = save_all(server, record, place.folder, overwrite=True)
    except SaveError as error:
        raise unsaved(error) from error
    fresh = [results for node, results in record["outputs"].items() if node not in cached(record)]
    paid = [finite(usd) for results in fresh for usd in explain.listed(results.get("usd"))]
    return Result(
        clips=place.clips,
        size=place.size,
        waited=watched.waited,
        seconds=seconds(record),
        stages=dict(watched.seconds),
        usd=sum(usd for usd in paid if usd is not None) if paid else None if order.job.offers else 0.0,
        numbers=numbers(record),
        texts=tuple(server.address.mask(text) for text in texts(prompt, record)),
    )


def cached(record: Json) -> set[str]:
    """Returns the nodes of a job that ComfyUI did not run, as it had run them before."""
    said = [data.get("nodes") for kind, data in messages(record.get("status") or {}) if kind == "execution_cached"]
    return {node for nodes in said if isinstance(nodes, list) for node in nodes if isinstance(node, str)}


def seconds(record: Json) -> float | None:
    """Returns how long a run took, by the server's clock."""
    at = {kind: finite(data.get("timestamp")) for kind, data in messages(record.get("status") or {})}
    began, ended = at.get("execution_start"), at.get("execution_success")
    return None if began is None or ended is None or ended < began else round((ended - began) / 1000, 3)


def numbers(record: Json) -> dict[str, float]:
    """Returns what nodes measured of the clip: the numbers in `numbers`, a JSON object as text, of any of them."""
    found: dict[str, float] = {}
    for results in record["outputs"].values():
        for said in explain.listed(results.get("numbers")):
            try:
                each = parsed(said) if isinstance(said, str) else said
            except ShapeError:
                continue
            if isinstance(each, dict):
                found |= {str(name): value for name, value in each.items() if finite(value) is not None}
    return found


def unsaved(error: SaveError) -> ClientError:
    """Says whose fault it is that a clip is not here: this disk's, the network's, or that of who deleted it there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return error
        if isinstance(cause, (UnreachableError, BrokenFileError)):
            return UnreachableError(str(error))
        cause = cause.__cause__
    return RunError(str(error))
