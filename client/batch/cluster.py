"""ComfyUIs on a Ray cluster: one for each GPU, or for each so many cores, in an actor that Ray starts again if it dies.

Ray places them, watches them and shows them on its dashboard.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import errors
from ..errors import UnreachableError, UsageError
from ..progress import Display
from . import store
from .actor import Worker
from .engine import Found, Needs, Order
from .machine import Recipe
from .table import CLIPS, Result

ROOT = Path(__file__).resolve().parents[2]
LOCAL = "local"
LOOK = 2.0  # seconds between two looks at a job's stage
OWN = "wan22_turbo"  # the namespace in Ray


class Seat(NamedTuple):
    """Room for a ComfyUI: the name of the host, which of those on it this is, and Ray's name of the node."""

    host: str
    number: int
    node: str


class Cluster:
    """ComfyUIs on a Ray cluster.

    Args:
        address: Of the cluster; "local" starts one on this machine.
        recipe: How each is started; its folders are those of the nodes.
        study: What tells the study from every other one.
        depth: Jobs that each has at once.
        cores: That each gets; 0 for one GPU each.
        most: How many there may be; 0 for as many as fit.

    Raises:
        UsageError: There is no Ray here, or nothing in the cluster to run on.
        UnreachableError: The cluster cannot be reached.
    """

    def __init__(self, address: str, recipe: Recipe, study: str, depth: int, cores: int, most: int):
        try:
            import ray  # pyright: ignore[reportMissingImports]  # an optional extra
        except ModuleNotFoundError as error:
            raise UsageError('--ray needs the package ray. Run: pip install "ray>=2.9"') from error
        self.ray: Any = ray
        self.join(address)
        self.depth = depth
        self.sent: dict[str, Any] = {}
        try:
            self.actors = self.spread(recipe, study, cores, most)
        except BaseException:
            ray.shutdown()
            raise

    def join(self, address: str) -> None:
        """Connects to the cluster, or starts one. Its nodes get this client's code."""
        local = address == LOCAL
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        code = {"env_vars": {"PYTHONPATH": path}} if local else {"py_modules": [str(ROOT / "client")]}
        try:
            self.ray.init(
                address=None if local else address, runtime_env=code, namespace=OWN, log_to_driver=False,
                logging_level="ERROR", ignore_reinit_error=True,
            )  # fmt: skip
        except Exception as error:  # of whatever kind: RuntimeError, ConnectionError, ValueError
            raise UnreachableError(f"The Ray cluster cannot be reached ({error}). Start it, or check --ray.") from error

    def spread(self, recipe: Recipe, study: str, cores: int, most: int) -> dict[str, Any]:
        """Makes the actors, each on its node, named by its host and number there."""
        worker = self.ray.remote(Worker)
        made: dict[str, Any] = {}
        for seat in seats(self.ray.nodes(), cores, most):
            there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(seat.node, soft=False)
            made[f"{seat.host} {seat.number}"] = worker.options(
                num_cpus=cores or 1, num_gpus=0 if cores else 1, max_restarts=-1,
                max_concurrency=self.depth + 2, scheduling_strategy=there,
            ).remote(recipe, study, seat.number, self.depth)  # fmt: skip
        return made

    def places(self) -> dict[str, int]:
        """Returns the actors, by host and number, and how many jobs each takes."""
        return dict.fromkeys(self.actors, self.depth)

    def open(self, place: str, needs: Needs) -> Found:
        """Waits until the ComfyUI of an actor runs, and asks it."""
        return self.heard(place, self.actors[place].open.remote(needs))

    def run(self, place: str, order: Order, display: Display) -> Result:
        """Runs a job in an actor, and puts its clips into the study's folder."""
        actor = self.actors[place]
        files = {path: self.put(path) for path in (order.job.values[name] for name in order.job.files)}
        ref = actor.run.remote(order, files)
        shown = ""
        while not self.ray.wait([ref], timeout=LOOK)[0]:
            title, done, total = self.heard(place, actor.stage.remote(order.prompt_id), plain=True)
            if title and title != shown:
                display.stage(title)
                shown = title
            if total:
                display.step(done, total)
        display.end()
        result, clips = self.heard(place, ref)
        for name, content in clips.items():
            store.write(Path(order.target) / CLIPS / name, content)
        return result

    def put(self, path: str) -> bytes:
        """Returns the bytes of a file, once read."""
        if path not in self.sent:
            try:
                self.sent[path] = Path(path).read_bytes()
            except OSError as error:
                raise UsageError(f"{Path(path).name} cannot be read: {error.strerror}.") from error
        return self.sent[path]

    def heard(self, place: str, ref: Any, plain: bool = False) -> Any:
        """Returns what an actor says.

        Raises:
            UnreachableError: It is dead, or its node is.
            ClientError: What it says is an error.
        """
        try:
            answer = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            why = str(error).splitlines()[0]
            raise UnreachableError(f"The worker {place} has died, or its node has ({why}).") from error
        if plain:
            return answer
        kind, value = answer
        if kind != "done":
            raise getattr(errors, kind)(value)
        return value

    def close(self) -> None:
        """Ends the actors, and with them their ComfyUIs."""
        for actor in self.actors.values():
            self.ray.kill(actor)
        self.ray.shutdown()


def seats(nodes: Iterable[Mapping[str, Any]], cores: int, most: int) -> list[Seat]:
    """Returns where a ComfyUI finds room: on each GPU of each node, or on each so many of its cores.

    Args:
        nodes: As `ray.nodes()` lists them.
        cores: That each gets; 0 for one GPU each.
        most: How many there may be; 0 for as many as fit.

    Raises:
        UsageError: Nowhere.
    """
    found: list[Seat] = []
    hosts: Counter[str] = Counter()
    alive = [node for node in nodes if node["Alive"]]
    for node in sorted(alive, key=lambda node: (node["NodeManagerHostname"], node["NodeID"])):
        has, host = node["Resources"], node["NodeManagerHostname"]
        for _ in range(int(has.get("CPU", 0) // cores) if cores else int(has.get("GPU", 0))):
            hosts[host] += 1
            found.append(Seat(host, hosts[host], node["NodeID"]))
    if not found:
        has = "no node has so many cores" if cores else "no node has a GPU"
        raise UsageError(f"Nothing in the cluster can run a ComfyUI: {has}. Say how many each gets: --cores 8.")
    return found[: most or None]
