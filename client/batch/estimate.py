"""What a run with the same options would do, as far as that is known: `--dry-run`."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from rich.console import Console

from ..errors import ClientError
from .board import Pace, Quiet, duration
from .desk import CENT, Desk
from .engine import Engine, Place, Rules, needs_of
from .folder import Copy
from .machine import MACHINE, names
from .plan import Job, Offer, cost
from .prepare import Prepared, prepared
from .study import Study
from .table import Known, Table


def estimate(
    said: Study,
    folder: Path,
    engine: Engine,
    refused: bool = False,
    missing: bool = False,
    start: int = 0,
    ray: bool = False,
) -> str:
    """Returns how many jobs a study has, how long they take and what they cost, as far as that is known.

    All of it is asked of a copy of the table, which is written as at the beginning of a run.

    Args:
        said: The study.
        folder: Of its results, which may hold some already.
        engine: Is asked for prices.
        refused: Also what was refused is tried again.
        missing: Also clips are got again that are no longer in the folder.
        start: How many ComfyUIs are to be started; 0 for those of the engine.
        ray: They are on a cluster, where any that has a job is taken to be.

    Raises:
        ClientError: The run could not begin.
    """
    with closing(Copy(folder)) as table:
        ready = prepared(said, table, refused, missing)
        left = table.left()
        places = on_clusters(left) if ray else names(start) if start else list(engine.places())
        count = start or 1 if ray else len(places)  # how many a cluster has, only that can tell
        desk = Desk(table, dict.fromkeys(places, 1), ready.jobs, Rules(max_usd=said.max_usd), Quiet(Console()))
        lines = number_of(said.name, table, ready, missing) + time_of(table, ready, left, count)
        return "\n".join([*lines, " ".join(cost_of(desk, ready, engine)), *elsewhere(desk)])


def on_clusters(left: Iterable[Known]) -> list[str]:
    """Returns the places on clusters that have jobs: not an address, nor a ComfyUI that a study started by itself."""
    has = dict.fromkeys(known.server for known in left if known.server)
    return [place for place in has if place.rpartition(" ")[0] not in ("", MACHINE)]


def number_of(name: str, table: Table, ready: Prepared, missing: bool) -> list[str]:
    """Returns how many jobs there are, of each state, and how many clips are gone."""
    counts = table.counts()
    left = counts.pop("open", 0) + counts.pop("posted", 0)
    ended = "".join(f", {counts[state]} {state}" for state in ("failed", "refused") if state in counts)
    lines = [f"{name}: {len(ready.jobs)} jobs, {counts.get('done', 0)} done{ended}, {left} left."]
    if ready.lost and missing:
        lines.append(
            f"Of these, {ready.lost} have clips that are no longer in the folder. They are fetched from where they "
            "were made, or else made again."
        )
    elif ready.lost:
        lines.append(ready.told())
    return lines


def time_of(table: Table, ready: Prepared, left: Iterable[Known], count: int) -> list[str]:
    """Returns how long the jobs of each variant take, and all of them in so many places."""
    measured, by_variant = table.measured(), Counter(ready.jobs[known.digest].variant for known in left)
    lines = []
    for variant, number in by_variant.items():
        timed = measured.get(variant)
        took = f"{timed[1]:.1f} s each, by {timed[0]} that were timed" if timed else "not timed yet"
        lines.append(f"    {number} x {variant}: {took}")
    seconds = Pace(by_variant, measured).seconds(count)
    where = f"on {count} server{'s' * (count > 1)}"
    known = "not known before a job was timed." if seconds is None else f"about {duration(seconds)} {where}."
    return [*lines, f"Time: {known}"]


def cost_of(desk: Desk, ready: Prepared, engine: Engine) -> Iterator[str]:
    """Yields what jobs cost, by what a server says of the prices, and how many of them the ceiling stops."""
    lines = [*(place.bound for place in desk.places.values()), desk.open]
    paid = [known for line in lines for known in line if ready.jobs[known.digest].offers]
    if not paid and not desk.elsewhere:
        yield "Cost: nothing; no job that is left is hosted."
        return
    prices, why = asked(engine, [ready.jobs[known.digest] for known in paid], ready)
    usd = {known.number: cost(ready.jobs[known.digest], prices) for known in paid}
    spent = desk.spent
    yield from of_new(desk, [known for known in paid if known.state != "posted"], prices, usd, why)
    yield from of_posted([known for known in paid if known.state == "posted"], usd)
    yield from of_ceiling(desk, spent)


def of_new(
    desk: Desk, new: list[Known], prices: Mapping[Offer, float], usd: Mapping[int, float | None], why: str
) -> Iterator[str]:
    """Yields what jobs cost that are sent, of those what may be paid already, and how many have no price."""
    taken = new if why else ordered(desk, new, prices)
    priced = {known.number: each for known in taken if (each := usd[known.number]) is not None}
    yield f"Cost: ${sum(priced.values()):.2f} for {len(priced)} hosted clips."
    tried = sum(known.usd or 0.0 for known in new if known.number in priced)
    if tried:
        yield f"Of that, ${tried:.2f} may be paid already, by tries that failed."
    unpriced = sum(usd[known.number] is None for known in new)
    if unpriced:
        limited = desk.rules.max_usd is not None and not why
        stopped = " They would be refused, as the study has a ceiling." if limited else ""
        yield f"Of {unpriced} more nobody names the price.{why}{stopped}"


def of_posted(posted: list[Known], usd: Mapping[int, float | None]) -> Iterator[str]:
    """Yields what jobs cost that are at a server, and what clips may cost that are fetched again."""
    there = [known.usd or 0.0 for known in posted if known.clips is None]
    if there:
        yield f"Beside these, {len(there)} are ordered already, for ${sum(there):.2f}."
    lost = [usd[known.number] or known.usd or 0.0 for known in posted if known.clips]
    if lost:
        yield f"Up to ${sum(lost):.2f} more for {len(lost)}, if their clips are gone from where they were made."


def of_ceiling(desk: Desk, before: float) -> Iterator[str]:
    """Yields what the study may cost, what of that it has cost before, and how many jobs are left for that reason."""
    if desk.rules.max_usd is not None:
        spent = f", of which ${before:.2f} are spent or ordered" if before > CENT else ""
        passes = f" {desk.dear} jobs would pass it, and are left." if desk.dear else ""
        yield f"The study's ceiling is ${desk.rules.max_usd:.2f}{spent}.{passes}"


def asked(engine: Engine, jobs: list[Job], ready: Prepared) -> tuple[Mapping[Offer, float], str]:
    """Asks the first place that answers for the prices of jobs. Returns them, or why nobody answers."""
    why = ""
    for place in engine.places() if jobs else ():
        try:
            return engine.open(place, needs_of(jobs, ready.graphs)).prices, ""
        except ClientError as error:
            why = f" {error}"
    return {}, why


def ordered(desk: Desk, jobs: list[Known], prices: Mapping[Offer, float]) -> list[Known]:
    """Returns those of some jobs that the study can pay for, as a run takes them."""
    place, waiting, taken = Place("", 1, prices=prices), deque(jobs), []
    while known := desk.affordable(place, waiting):
        taken.append(desk.post(place, known))
    return taken


def elsewhere(desk: Desk) -> list[str]:
    """Returns how many jobs would wait for places that are not named."""
    count = sum(desk.elsewhere.values())
    named = ", ".join(desk.elsewhere)
    return [f"{count} of the jobs that are left were ordered at {named}, and wait for it to be named."] if count else []
