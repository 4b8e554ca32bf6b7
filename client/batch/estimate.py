"""What a study will take, as far as that is known: `--dry-run`."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..errors import ClientError
from . import plan
from .board import Pace, duration
from .engine import Engine, needs_of
from .folder import opened
from .graphs import Graph
from .plan import Job, Offer, cost
from .study import Study
from .trouble import FILE


def estimate(said: Study, folder: Path, engine: Engine, start: int = 0) -> str:
    """Says how many jobs a study has, how long they take and what they cost, as far as that is known.

    Args:
        said: The study.
        folder: Of its results, which may hold some already.
        engine: Is asked for prices.
        start: How many ComfyUIs are to be started; 0 for those of the engine.
    """
    graphs: dict[str, Graph] = {}
    done: set[str] = set()
    measured: dict[str, tuple[int, float]] = {}
    if (folder / FILE).is_file():
        with opened(folder) as table:
            jobs = list(plan.jobs(said, graphs, table.digest_of))
            done, measured = {row["digest"] for row in table.wanted() if row["state"] == "done"}, table.measured()
    else:
        jobs = list(plan.jobs(said, graphs, cache(plan.bytes_digest)))
    left = [job for job in jobs if job.digest not in done]
    lines = [f"{said.name}: {len(jobs)} jobs, {len(jobs) - len(left)} done, {len(left)} left."]
    by_variant = Counter(job.variant for job in left)
    for variant, count in by_variant.items():
        timed = measured.get(variant)
        took = f"{timed[1]:.1f} s each, by {timed[0]} that were timed" if timed else "not timed yet"
        lines.append(f"    {count} x {variant}: {took}")
    count = start or len(engine.places())
    seconds = Pace(by_variant, measured).seconds(count)
    where = f"on {count} server{'s' * (count > 1)}"
    lines.append(
        "Time: not known before a job was timed." if seconds is None else f"Time: about {duration(seconds)} {where}."
    )
    lines.append(cost_of(left, graphs, engine, said.max_usd))
    return "\n".join(lines)


def cost_of(left: list[Job], graphs: Mapping[str, Graph], engine: Engine, limit: float | None) -> str:
    """Says what jobs cost, by what a server says of the prices."""
    paid = [job for job in left if job.offers]
    if not paid:
        return "Cost: nothing; no job is hosted."
    prices: Mapping[Offer, float] = {}
    why = ""
    for place in engine.places():
        try:
            prices = engine.open(place, needs_of(paid, graphs)).prices
            break
        except ClientError as error:
            why = f" {error}"
    known = [usd for job in paid if (usd := cost(job, prices)) is not None]
    text = f"Cost: ${sum(known):.2f} for {len(known)} hosted clips."
    if len(known) < len(paid):
        text += f" Of {len(paid) - len(known)} more nobody names the price.{why}"
    if limit is not None:
        text += f" The study's ceiling is ${limit:.2f}."
    return text
