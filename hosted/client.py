"""Makes one hosted clip: picks up an earlier job of the same inputs, or starts one; waits; downloads.

checked ─> in the ledger? ─no─> upload ─> price ─> row on disk ─> POST, once ─> id on disk ─> polled ─> downloaded
                 └─yes─────────────────────────────────────────────────────────────────────────┘
"""

import time
from collections import defaultdict
from pathlib import Path

from . import polling as waiting
from . import starting, submission
from .errors import FlaggedError, HostedError
from .folders import FOLDER
from .job import Job, Status
from .ledger import Ledger, Row
from .report import Clip
from .request import Request
from .responses import Task
from .settings import Settings
from .timing import Slots, Timing, Turns
from .transport import Wire

DAY = 86_400  # seconds

# Of all graphs and nodes of this process.
_turns = Turns()
_slots: defaultdict[str, Slots] = defaultdict(Slots)


class Client:
    """Makes hosted clips.

    Args:
        key: Of the provider.
        ledger: Where jobs are written down.
        clips: Folder for finished clips.
        settings: The operator's.
    """

    def __init__(self, key: str, ledger: Ledger, clips: Path, settings: Settings, timing: Timing | None = None):
        self.key = key
        self.ledger = ledger
        self.clips = clips
        self.settings = settings
        self.timing = timing or Timing()

    async def run(self, request: Request, status: Status, run_id: str = "", stop_if_flagged: bool = False) -> Clip:
        """Returns the clip of a request: of an earlier job of the same inputs if there is one, else of a new one.

        Args:
            status: Is kept up to date.
            run_id: Of the graph's run, for the operator's ceiling.
            stop_if_flagged: A flagged clip is an error.

        Raises:
            HostedError: See the tree in errors.py.
        """
        try:
            return await self._run(request, status, run_id, stop_if_flagged)
        except OSError as error:
            raise HostedError(
                "A file of this ComfyUI could not be written or read "
                f"({error.strerror or type(error).__name__}). Make room on its disk, and let its user write into the "
                f"folders user/{FOLDER} and temp. Then run the same again: what is paid is picked up."
            ) from None

    async def _run(self, request: Request, status: Status, run_id: str, stop_if_flagged: bool) -> Clip:
        request.check()
        provider, began = request.provider, time.monotonic()
        self.settings.check_allowed(provider, request.model)
        base = self.settings.base(provider)
        status.words, digest = "waiting for the same job in another node", request.digest()
        async with _turns.of(digest), Wire(provider.title, base, self.key, self.timing) as wire:
            job = Job(request, status, wire, self.ledger, self.clips, self.settings)
            async with self.ledger.alone(digest, lambda: job.say("waiting for the same job in another ComfyUI")):
                row, task, resumed = await finish(job, run_id)
            status.made = True
            if stop_if_flagged:
                stop_flagged(job, row)
            path = await waiting.fetch(job, row, task)
        status.ended = True
        return Clip(path, row, resumed, time.monotonic() - began)


async def finish(job: Job, run_id: str) -> tuple[Row, Task, bool]:
    """Returns a job that has ended well, and whether an earlier run started it."""
    row = await find_earlier(job)
    if row is not None:
        job.say("picking up the earlier job", row)
        if is_here(job, row):
            return row, Task(), True
        return *await waiting.wait(job, row), True
    provider, settings = job.provider, job.settings
    limits = settings.jobs(provider), settings.starts_per_minute(provider)
    async with _slots[provider.name].taken(*limits, lambda: job.say("waiting for a free place")):
        row = await starting.start(job, run_id)
        return *await waiting.wait(job, row), False


async def find_earlier(job: Job) -> Row | None:
    """Returns the row of an earlier job of the same inputs that may lead to a clip."""
    digest = job.request.digest()
    job.status.posting = submission.is_under_way(digest)
    await submission.await_earlier(digest)
    row = job.ledger.find(digest)
    job.status.posting = row is not None and row.state == "claimed"
    if row is None:
        return None
    if row.state == "claimed":
        job.say("looking for an earlier job")
        job_id = await starting.look_up(job, row)
        if job_id:
            return job.ledger.change(row, state="sent", job_id=job_id)
    elif row.state != "failed" and (is_here(job, row) or not await is_gone(job, row)):
        return row
    if row.state == "claimed":
        job.ledger.remove(row)  # it never arrived, and cost nothing
    else:
        job.ledger.retire(row)
    job.status.posting = False
    return None


def is_here(job: Job, row: Row) -> bool:
    """Says whether the clip of a job is on disk, so that nobody need be asked."""
    return row.state == "done" and waiting.is_kept(job, row)


async def is_gone(job: Job, row: Row) -> bool:
    """Says whether the provider has deleted a job: by its own word, for this machine's clock may be wrong."""
    old = time.time() - row.posted > job.provider.keeps_days * DAY
    return (old or row.state == "missing") and await waiting.is_missing(job, row)


def stop_flagged(job: Job, row: Row) -> None:
    """Ends the run if the clip is flagged.

    Raises:
        FlaggedError: It is.
    """
    if row.flagged:
        job.status.ended = True
        raise FlaggedError(
            f"{job.provider.title} flagged the content of job {row.job_id}, and if_flagged is set to stop. The clip "
            "was not saved. Change picture or prompt; or set if_flagged to keep, which costs nothing more."
        )
