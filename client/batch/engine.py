"""Where jobs run. `runner` hands them out and keeps the table; an engine knows the machines.

An engine has places, each a ComfyUI with its own queue. What it raises says what is to be done with the job:

    RunError            it failed there
        SpentError          and what it cost there is lost
    UsageError,
    RefusedError        it is refused, here and elsewhere
    JobLostError        nothing of it is there any more, so it may be sent again
    UnreachableError    whether it is there is not known
    SaveError           its clip is made, and stays there until there is room for it here
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import ClientError
from ..follow import DAY
from ..progress import Display
from ..prompts import Prompt
from .graphs import Graph
from .plan import Job, Offer
from .table import Known, Result

CHECKED = 100  # values of one setting that are looked at on every server before the first job


@dataclass(frozen=True)
class Rules:
    """How a study is run.

    Args:
        tries: How often a job is tried whose node fails.
        max_usd: What all jobs may cost together.
        target: Where the clips go.
        patience: Seconds that a place may be away before others get its jobs.
        timeout: Seconds that a job may take.
    """

    tries: int = 1
    max_usd: float | None = None
    target: str = ""
    patience: float = 60.0
    timeout: float = DAY


@dataclass(frozen=True)
class Order:
    """A job on its way to a place.

    Args:
        job: With its values.
        prompt: Its graph, as the study has it.
        prompt_id: Under which it is posted.
        posted: It may have been posted under that before: what became of it is fetched, or it is lost.
        target: Folder of the clips, or an address that fsspec takes.
        timeout: Seconds that it may take.
        again: It was sent before. What the place remembers of its clips may be deleted, so they get other names.
        carried: It was sent before, so that what the place remembers of it may have been paid then.
    """

    job: Job
    prompt: Prompt
    prompt_id: str
    posted: bool
    target: str
    timeout: float
    again: bool = False
    carried: bool = False


@dataclass(frozen=True)
class Needs:
    """What a study needs of a place.

    Args:
        graphs: By the names in the study.
        values: Of each graph, by setting; the first of them, and no texts.
        offers: Of providers, whose prices are asked.
    """

    graphs: Mapping[str, Prompt]
    values: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()


class Found(NamedTuple):
    """What a place says of itself, as far as it can.

    Attributes:
        prices: What the offers cost there.
        versions: Of ComfyUI, Python and PyTorch, and its devices.
    """

    prices: Mapping[Offer, float]
    versions: Mapping[str, str]


@dataclass
class Place:
    """A place, and what is known of it now.

    Args:
        state: "new" while it is asked, for as long as it takes to start.
        bound: Jobs that only it may take: posted there, or perhaps paid there.
        heard: When it was last heard of, on a monotonic clock; None before the first time.
        error: Why it is away, or cannot do the study.
    """

    name: str
    depth: int
    state: Literal["new", "up", "away", "unfit"] = "new"
    bound: deque[Known] = field(default_factory=deque)
    prices: Mapping[Offer, float] = field(default_factory=dict)
    heard: float | None = None
    error: ClientError | None = None
    opening: threading.Lock = field(default_factory=threading.Lock)


class Engine(Protocol):
    """Machines on which jobs run."""

    def places(self) -> dict[str, int]:
        """Returns how many jobs each place takes at once, one of them running. Names are kept in the table.

        Raises:
            ClientError: There can be none.
        """
        ...

    def open(self, place: str, needs: Needs) -> Found:
        """Waits for a place, and returns what it says of itself.

        Raises:
            UnreachableError: It is away.
            RefusedError, UsageError: It lacks a node, or is of another version.
        """
        ...

    def run(self, place: str, order: Order, display: Display) -> Result:
        """Runs a job to its end, from several threads at a time; see above for what it raises."""
        ...

    def close(self) -> None:
        """Ends what it started, and nothing else. Jobs that run elsewhere go on."""
        ...


def needs_of(jobs: Iterable[Job], graphs: Mapping[str, Graph]) -> Needs:
    """Returns what some jobs need of a place."""
    values: dict[str, dict[str, dict[Any, None]]] = {}
    offers: dict[Offer, None] = {}
    texts = {name: {each.name for each in graph.known if is_text(each)} for name, graph in graphs.items()}
    for job in jobs:
        offers.update(dict.fromkeys(job.offers))
        of_graph = values.setdefault(job.graph, {})
        for name, value in job.values.items():
            some = of_graph.setdefault(name, {})
            if len(some) < (1 if name in texts[job.graph] else CHECKED):
                some[value] = None
    return Needs(
        {name: graphs[name].prompt for name in values},
        {graph: {name: tuple(some) for name, some in each.items()} for graph, each in values.items()},
        tuple(offers),
    )


def is_text(setting: Any) -> bool:
    """Returns whether any text will do, or a file, so that one value of it tells as much as all."""
    return setting.files != "" or (setting.kind == "string" and setting.options is None)
