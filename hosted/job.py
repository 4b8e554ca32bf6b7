"""One request on its way to a clip: what its steps share, and what people see of it."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from .ledger import Ledger, Row
from .providers import Provider
from .request import Request
from .settings import Settings
from .timing import Timing
from .transport import Wire


@dataclass
class Status:
    """Where a job is, for whoever watches; the client writes it."""

    words: str = "starting"
    job_id: str | None = None
    posting: bool = False  # an order may have arrived, and its job's id is not known
    made: bool = False  # the clip is at the provider, and only to be fetched
    ended: bool = False
    began: float = field(default_factory=time.monotonic)

    def farewell(self, request: Request) -> str | None:
        """Says what goes on at the provider when nobody waits for it any more; None if nothing does."""
        title, again = request.provider.title, f"Run the same again, with seed {request.seed}, to pick it up."
        if self.ended or not (self.job_id or self.posting):
            return None
        if self.job_id is None:
            return f"{title}: a job was sent and may go on, and be charged. {again}"
        if self.made:
            return f"{title}: job {self.job_id} is done and charged. {again}"
        return f"{title}: job {self.job_id} goes on and is charged. {again}"


@dataclass(frozen=True)
class Job:
    """What the steps share.

    Attributes:
        clips: Folder for finished clips.
    """

    request: Request
    status: Status
    wire: Wire
    ledger: Ledger
    clips: Path
    settings: Settings

    @property
    def provider(self) -> Provider:
        """Who makes the clip."""
        return self.request.provider

    @property
    def timing(self) -> Timing:
        """How long to wait."""
        return self.wire.timing

    def say(self, words: str, row: Row | None = None) -> None:
        """Tells whoever watches where the job is."""
        self.status.words = words
        if row:
            self.status.job_id = row.job_id
