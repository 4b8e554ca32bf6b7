"""Who may take which job of a study, and what becomes of it in the table. `runner` has the threads.

A job is in the table as posted before it is sent, under an id of our own. So after any end of this program the place
itself says what became of it. A job that may have been paid for goes to no other place than that which knows of it.
"""

import json
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import (
    ClientError,
    JobLostError,
    NotTakenError,
    RefusedError,
    RunError,
    SaveError,
    SpentError,
    UnreachableError,
    UsageError,
)
from .board import Board
from .engine import Found, Place, Rules
from .plan import Job, cost
from .table import SERVER, Known, Result, Table
from .tables import bare

CENT = 1e-9  # what sums of cents may be off by
MOST_LOST = 10  # times that a job may get lost before it is taken for the reason


class Desk:
    """The jobs that are left, and the places. Whoever calls holds `change`, which is told when something is new.

    Args:
        table: Of the study, planned.
        places: How many jobs each takes at once.
        jobs: By digest.
        rules: Of the run.
        board: Shows it.
    """

    def __init__(self, table: Table, places: Mapping[str, int], jobs: Mapping[str, Job], rules: Rules, board: Board):
        self.table, self.jobs, self.rules, self.board = table, jobs, rules, board
        self.change = threading.Condition()
        self.places = {name: Place(name, depth) for name, depth in places.items()}
        self.open: deque[Known] = deque()
        self.elsewhere: Counter[str] = Counter()  # perhaps paid jobs of places that are not named this time
        self.dear = 0  # jobs that cost more than is left
        self.at_work: dict[int, float] = {}  # what jobs may cost that are at their places now, by number
        self.spent = table.spent()  # or perhaps: what was posted counts until it is known that it cost less
        self.error: BaseException | None = None
        self.closed = False
        for known in table.left():
            self.put(known, known.server)
        for place in self.places.values():  # one that has jobs was there, and is waited for as in the middle of a run
            place.heard = time.monotonic() if place.bound else None

    def put(self, known: Known, server: str | None) -> None:
        """Puts a job where it may be taken from: one that is there, or perhaps paid, at its place alone."""
        may_be_paid = server is not None and bool(self.jobs[known.digest].offers)
        if server in self.places and (known.state == "posted" or may_be_paid):
            self.places[server].bound.append(known)
        elif may_be_paid:
            self.elsewhere[str(server)] += 1
        else:
            self.open.append(replace(known, state="open", server=None))

    def over(self) -> bool:
        """Returns whether nothing more can be done."""
        if self.error is not None or self.closed:
            return True
        self.release()
        if self.at_work:
            return False
        if any(place.state == "new" for place in self.places.values()):  # who starts may be waited for in vain
            return not self.open and not any(place.bound for place in self.places.values())
        alive = [place for place in self.places.values() if not self.gone(place)]
        return not any(place.bound for place in alive) and not (self.open and alive)

    def gone(self, place: Place) -> bool:
        """Returns whether a place is given up, for now: it never was there, or is away for too long."""
        if place.state == "away":
            return place.heard is None or time.monotonic() - place.heard > self.rules.patience
        return place.state == "unfit"

    def release(self) -> None:
        """Gives what nobody paid at places that are given up to the others."""
        for place in self.places.values():
            if place.bound and self.gone(place):
                moved = [known for known in place.bound if not self.jobs[known.digest].offers]
                place.bound = deque(known for known in place.bound if self.jobs[known.digest].offers)
                for known in moved:
                    self.back(known, f"{place.name} is away.")
                    self.open.append(replace(known, state="open", server=None))
                self.change.notify_all()

    def came(self, place: Place, found: Found) -> None:
        """Notes that a place can be used, and what runs there."""
        self.table.note({f"{SERVER}{place.name}": json.dumps(found.versions)})
        place.state, place.prices, place.error, place.heard = "up", found.prices, None, time.monotonic()
        self.change.notify_all()

    def went(self, place: Place, error: ClientError) -> None:
        """Notes that a place cannot be used."""
        if str(place.error) != str(error) and not self.closed:  # else it was starting, and has been ended
            self.board.say(str(error))
        place.state, place.error = "away" if isinstance(error, UnreachableError) else "unfit", error
        self.change.notify_all()

    def take(self, place: Place) -> Known | None:
        """Waits for a job that a place may take, written down as posted; None where it can take none any more."""
        while not self.closed and place.state == "up":
            if known := self.affordable(place, place.bound) or self.affordable(place, self.open):
                known = known if known.state == "posted" else self.post(place, known)
                self.at_work[known.number] = known.usd or 0.0
                return known
            self.change.wait()
        return None

    def post(self, place: Place, known: Known) -> Known:
        """Writes down that a job is about to be sent. What comes of it is sent under this id."""
        job = self.jobs[known.digest]
        usd = cost(job, place.prices) if job.offers else None
        posted = replace(known, server=place.name, prompt_id=str(uuid.uuid4()), usd=known.usd if usd is None else usd)
        self.table.posted(posted.number, place.name, posted.prompt_id or "", posted.usd)
        self.spent += (posted.usd or 0.0) - (known.usd or 0.0)
        return posted

    def affordable(self, place: Place, jobs: deque[Known]) -> Known | None:
        """Takes the first job that the study can pay for. What others at work leave over may still be enough."""
        later: list[Known] = []
        found = None
        while jobs and found is None:
            known = jobs.popleft()
            job, limit = self.jobs[known.digest], self.rules.max_usd
            if limit is None or not job.offers or known.state == "posted":
                found = known
                continue
            usd = cost(job, place.prices)
            total = self.spent - (known.usd or 0.0) + (usd or 0.0)
            if usd is None:
                self.settle(known, "refused", "Nobody names the price of this clip, and the study has a ceiling.")
            elif total <= limit + CENT:
                found = known
            elif total - sum(self.at_work.values()) > limit + CENT:
                self.dear += 1
            else:
                later.append(known)
        jobs.extendleft(reversed(later))
        return found

    def free(self, known: Known) -> None:
        """Notes that a place has ended with a job, whatever came of it."""
        del self.at_work[known.number]
        self.change.notify_all()

    def done(self, place: Place, known: Known, result: Result) -> None:
        """Writes down a job that ended well."""
        if self.closed:
            return
        usd = known.usd if result.usd is None else result.usd
        self.table.done(known.number, replace(result, usd=usd))
        self.spent += (usd or 0.0) - (known.usd or 0.0)
        place.heard = time.monotonic()
        self.board.settled(self.jobs[known.digest], "done", "", result.seconds)

    def failed(self, place: Place, known: Known, error: ClientError) -> None:
        """Writes down what went wrong with a job, and opens it again where that may help."""
        if self.closed:  # whatever the table says is true, and the next run asks the place
            return
        asked = known.state == "posted"  # only, as it had been sent before
        gone = asked and known.clips is not None and isinstance(error, (JobLostError, RunError))
        if gone or isinstance(error, SpentError):  # the next try pays anew
            failed_usd = known.failed_usd + (known.usd or 0.0)
            known = replace(known, usd=None, carried=False, failed_usd=failed_usd, clips=None)
        elif not isinstance(error, (UnreachableError, NotTakenError)):  # that is asked for again, or was not sent
            known = replace(known, carried=True)
        if isinstance(error, SaveError):
            self.error = SaveError(
                f"{error} Make room, and run the same command again: it fetches this clip and goes on."
            )
        elif gone or isinstance(error, (JobLostError, UnreachableError)):
            counted = asked and isinstance(error, JobLostError)  # as the break before; else this program had ended
            self.missed(place, replace(known, lost=max(known.lost, 1) if counted else known.lost + 1), error)
        elif isinstance(error, (RefusedError, UsageError)):
            known = self.untaken(known) if isinstance(error, NotTakenError) else known
            self.settle(known, "refused", str(error))
        elif known.tries + 1 < self.rules.tries:
            again = replace(known, state="open", tries=known.tries + 1)
            self.back(again, str(error))
            self.put(again, place.name)
        else:
            self.settle(replace(known, tries=known.tries + 1), "failed", str(error))

    def untaken(self, known: Known) -> Known:
        """Returns a job that nobody took: this time it cost nothing. One that never was sent may go anywhere."""
        if known.carried:
            return known
        self.spent -= known.usd or 0.0
        server = known.server if known.tries or known.lost else None
        return replace(known, server=server, prompt_id=None, usd=None)

    def missed(self, place: Place, known: Known, error: ClientError) -> None:
        """Goes on after a job whose place lost it, or is away."""
        if known.lost >= MOST_LOST:
            self.settle(known, "failed", f"{error} This was the {known.lost}th time, so the job may be the reason.")
            return
        away = isinstance(error, UnreachableError)
        again = replace(known, state="posted" if away else "open", server=place.name)
        self.back(again, str(error))
        self.put(again, place.name)
        if away:
            place.heard = time.monotonic()  # a job may take longer than a place may be away
            self.went(place, error)

    def back(self, known: Known, why: str) -> None:
        """Writes down that a job is not done, and goes on."""
        self.table.reopen(known, self.named(known, why))

    def settle(self, known: Known, state: Literal["failed", "refused"], why: str) -> None:
        """Writes down that a job is not done, and is not tried again in this run."""
        why = self.named(known, why)
        self.table.reopen(replace(known, state=state), why)
        self.board.settled(self.jobs[known.digest], state, why, None)

    def named(self, known: Known, text: str) -> str:
        """Returns a text with names in place of paths, the job's and the server's, which are nobody's business."""
        job = self.jobs[known.digest]
        for path in (str(job.values[name]) for name in job.files):
            text = text.replace(path, Path(path).name)
        return bare(text)
