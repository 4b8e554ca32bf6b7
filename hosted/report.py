"""What a person reads of a hosted clip: where it was made, what it cost, what the provider thinks of it."""

from dataclasses import dataclass
from pathlib import Path

from ..common.redact import mask
from .ledger import Row
from .prices import Price, dollars
from .request import Request


@dataclass(frozen=True)
class Clip:
    """A finished clip.

    Attributes:
        path: Of the MP4, in a folder that ComfyUI empties when it starts.
        row: Of its job, with what the provider said of the clip.
        resumed: It was paid in an earlier run.
    """

    path: Path
    row: Row
    resumed: bool
    seconds: float

    def report(self, request: Request) -> str:
        """Returns a few lines about the clip, without a token or a signed address."""
        took = f"{self.seconds:.0f} s"
        lines = [
            f"{request.offer} | {request.resolution}, {request.duration} s, seed {request.seed}",
            f"Job {self.row.job_id} | {'picked up again in' if self.resumed else 'took'} {took}",
            self._price(),
            f"Content flag of {request.provider.title}: {self._flag()}",
        ]
        if request.loras:
            lines.append(f"LoRAs: {'; '.join(map(str, request.loras))}")
        return mask("\n".join(lines))

    def _price(self) -> str:
        price = str(Price(self.row.usd, self.row.asked))
        if self.row.charged is not None:
            price = f"{dollars(self.row.charged)} charged"
        return f"Price: {price}{', paid by an earlier run' if self.resumed else ''}"

    def _flag(self) -> str:
        return {True: "FLAGGED", False: "none", None: "not given"}[self.row.flagged]
