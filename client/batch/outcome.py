"""What came of a run: its clips, the time of each stage, what it cost, and what the server measured of it."""

import math
import time
from collections.abc import Callable

from .. import explain
from ..answers import Json, ShapeError, parsed
from ..errors import ClientError, RunError, SaveError, UnreachableError
from ..job import texts
from ..printable import short
from ..progress import Display
from ..prompts import Prompt
from ..save import BrokenFileError, save_all
from ..server import Server
from ..shapes import amount, finite, messages
from .engine import Order
from .plan import HOSTED
from .store import keep
from .table import Result
from .tables import bare


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
    return Result(
        clips=place.clips,
        size=place.size,
        waited=watched.waited,
        seconds=seconds(record),
        stages=dict(watched.seconds),
        usd=cost(prompt, record, order.carried),
        numbers=numbers(record),
        texts=tuple(bare(server.address.mask(text)) for text in texts(prompt, record)),
    )


def cost(prompt: Prompt, record: Json, carried: bool = False) -> float | None:
    """Returns what a job cost in US dollars; None where a hosted node that ran does not say.

    A node that ComfyUI remembers cost nothing now. If the sum stands for an earlier try as well, that may have paid it.
    """
    old = set() if carried else cached(record)
    said = {key: explain.listed(results.get("usd")) for key, results in record["outputs"].items() if key not in old}
    paid = [amount(usd) for each in said.values() for usd in each]
    silent = any(node["class_type"] == HOSTED and key not in old and not said.get(key) for key, node in prompt.items())
    known = [usd for usd in paid if usd is not None]
    return None if silent or len(known) < len(paid) else math.fsum(known)


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
    """Returns what nodes measured of the clip: the numbers in `numbers`, a JSON object as text, of any of them.

    Where several nodes tell numbers, each name has that of its node before it.
    """
    found: dict[str, dict[str, float]] = {}
    for node, results in record["outputs"].items():
        for said in explain.listed(results.get("numbers")):
            try:
                each = parsed(said) if isinstance(said, str) else said
            except ShapeError:
                continue
            if isinstance(each, dict):
                known = {short(name): value for name, value in each.items() if finite(value) is not None}
                found[node] = found.get(node, {}) | known
    before = {node: f"{short(node)}." if len(found) > 1 else "" for node in found}
    return {before[node] + name: value for node, each in found.items() for name, value in each.items()}


def unsaved(error: SaveError) -> ClientError:
    """Returns the error that tells why a clip is not here: this disk, the network, or somebody who deleted it there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return error
        if isinstance(cause, (UnreachableError, BrokenFileError)):
            return UnreachableError(str(error))
        cause = cause.__cause__
    return RunError(str(error))
