"""Threads that take jobs from the desk to their places: one for each job that a place has at once."""

import threading
import time

from ..errors import CancelledError, CeilingError, ClientError, RefusedError, RunError, UnreachableError, UsageError
from .desk import Desk
from .engine import Engine, Needs, Order, Place
from .table import Known

LOOK_AGAIN = 1.0  # seconds between two looks at a place that is away
LAST_WORDS = 2.0  # seconds for threads that are not at work to end
BLINK = 0.2  # seconds: how soon Ctrl-C is heard


def run(desk: Desk, engine: Engine, needs: Needs) -> None:
    """Runs what is left of a study.

    Raises:
        ClientError: Not all is done. The text says what is not, and why.
    """
    workers = [
        threading.Thread(target=work, args=(desk, engine, needs, place, slot), daemon=True)
        for slot in range(max(place.depth for place in desk.places.values()))
        for place in desk.places.values()
        if slot < place.depth
    ]
    try:
        for worker in workers:
            worker.start()
        with desk.change:
            while not desk.over():
                desk.change.wait(BLINK)
    except KeyboardInterrupt:
        raise stopped(desk) from None
    finally:
        with desk.change:
            desk.closed = True  # what still comes of jobs at work, the next run asks for
            desk.change.notify_all()
    deadline = time.monotonic() + LAST_WORDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    error = desk.error or verdict(desk)
    if error is not None:
        raise error


def work(desk: Desk, engine: Engine, needs: Needs, place: Place, slot: int) -> None:
    """Takes one job after another for a place."""
    try:
        while not desk.closed:
            if not ready(desk, engine, needs, place):
                continue
            with desk.change:
                known = desk.take(place)
            if known is not None:
                one(desk, engine, needs, place, slot, known)
    except BaseException as error:  # noqa: BLE001  # `run` raises it
        with desk.change:
            desk.error = desk.error or error
            desk.change.notify_all()


def ready(desk: Desk, engine: Engine, needs: Needs, place: Place) -> bool:
    """Returns whether a place can be used. One of its threads asks, the others wait for what it hears."""
    with place.opening:
        with desk.change:
            if place.state in ("away", "unfit"):
                desk.change.wait_for(lambda: desk.closed, None if place.state == "unfit" else LOOK_AGAIN)
            if desk.closed or place.state == "up":
                return not desk.closed
            place.state = "new"
        try:
            found = engine.open(place.name, needs)
        except (UnreachableError, RefusedError, UsageError) as error:
            with desk.change:
                desk.went(place, error)
            return False
        with desk.change:
            desk.came(place, found)
        return True


def one(desk: Desk, engine: Engine, needs: Needs, place: Place, slot: int, known: Known) -> None:
    """Runs a job, and has written down what became of it."""
    job, rules = desk.jobs[known.digest], desk.rules
    order = Order(
        job, needs.graphs[job.graph], known.prompt_id or "", known.state == "posted", rules.target, rules.timeout,
        again=known.tries + known.lost > 0, carried=known.carried,
    )  # fmt: skip
    try:
        result = engine.run(place.name, order, desk.board.worker(place.name, slot, job.name))
    except ClientError as error:
        with desk.change:
            desk.failed(place, known, error)
            desk.free(known)
    else:
        with desk.change:
            desk.done(place, known, result)
            desk.free(known)


def verdict(desk: Desk) -> ClientError | None:
    """Returns the error that tells what of a study is not done, and why; None where all is."""
    counts = desk.table.counts()
    left, waiting = counts.get("open", 0) + counts.get("posted", 0), sum(desk.elsewhere.values())
    if desk.dear:
        return CeilingError(
            f"{desk.dear} jobs are left that would cost more than the study may, ${desk.rules.max_usd:.2f}, of which "
            f"${desk.spent:.2f} are spent or ordered. Raise max_usd, and run the same command again."
        )
    if waiting:
        return UnreachableError(
            f"{waiting} jobs were ordered at {', '.join(desk.elsewhere)}, which is not named now. They may be paid "
            "there, so they go nowhere else. Name it among the servers, and run the command again."
        )
    if left:
        why = "\n".join(dict.fromkeys(str(place.error) for place in desk.places.values() if place.error))
        kind = UnreachableError if any(place.state == "away" for place in desk.places.values()) else RefusedError
        return kind(f"{left} jobs are left.\n{why}\nThe same command goes on where this one stopped.")
    if counts.get("failed"):
        return RunError(f"{counts['failed']} jobs failed. The table says why; a larger --tries tries again.")
    if counts.get("refused"):
        return RefusedError(f"{counts['refused']} jobs were refused. The table says why; --refused tries them again.")
    return None


def stopped(desk: Desk) -> CancelledError:
    """Returns the error that tells what is where, after Ctrl-C."""
    counts = desk.table.counts()
    there = counts.get("posted", 0)
    said = f" {there} are at the servers, where they may go on." if there else ""
    return CancelledError(
        f"Stopped. {counts.get('done', 0)} jobs are done.{said} The same command goes on, and does nothing twice."
    )
